"""The commands of uv that install what a project and its settings ask for."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from ..source.project import PACKAGE, REQUIREMENTS, UV_LOCK, Project

UV = "/usr/local/bin/uv"
EXPORTED = "exported.txt"
CONSTRAINTS = "constraints.txt"
PINS = "pins.txt"
LOCAL_REQUIREMENT = re.compile(r"^\s*(-e\b|--editable\b|\.{1,2}/|/|\S+\s*@\s*(file:|\.))", re.MULTILINE)


class InstallError(Exception):
    """The packages cannot be installed; the message says why."""


@dataclass(frozen=True)
class Installing:
    """What is installed into one virtual environment."""

    project: Project
    settings: dict[str, Any]
    interpreter: str
    # Lists that are only needed meanwhile.
    scratch: Path
    # Wheels that were shipped, where no index is asked.
    wheels: Path | None = None

    @property
    def pip(self) -> list[str]:
        """How every package is installed."""
        source = ["--no-index", "--find-links", str(self.wheels)] if self.wheels else []
        return [UV, "pip", "install", "--quiet", "--compile-bytecode", *source, "--python", self.interpreter]

    @property
    def extras(self) -> list[str]:
        """The project's extras, as options."""
        return [word for extra in self.settings["extras"] for word in ("--extra", extra)]

    @property
    def bracketed(self) -> str:
        """The project's extras, as they follow a name."""
        extras = ",".join(self.settings["extras"])
        return f"[{extras}]" if extras else ""

    @property
    def limits(self) -> list[str]:
        """The constraints, as options."""
        return ["-c", str(self.scratch / CONSTRAINTS)] if self.settings["constraints"] else []

    def commands(self) -> list[list[str]]:
        """Return the commands that install what the source asks for."""
        lock = self.project.lock()
        kind = lock.rpartition("/")[2] if lock else ""
        if kind == UV_LOCK:
            return self._locked()
        if kind == REQUIREMENTS:
            return self._listed()
        if kind:
            return self._declared()
        package = self.project.directory / PACKAGE
        if package.is_file():
            name, _, version = package.read_text().strip().partition("==")
            return [[*self.pip, *self.limits, f"{name}{self.bracketed}=={version}"]]
        wheel = next(self.project.directory.glob("*.whl"), None)
        if wheel is not None:
            return [[*self.pip, *self.limits, f"{wheel}{self.bracketed}"]]
        raise InstallError(
            "the source has neither uv.lock nor requirements.txt nor pyproject.toml, so its needs are "
            "unknown; "
            "set `subdir` to the project's directory, or add one, for example with "
            "`uv pip compile --generate-hashes requirements.in -o requirements.txt`"
        )

    def _locked(self) -> list[list[str]]:
        """Install what uv.lock says. It names its own index, so another one gets it as a list."""
        if not self.settings["index"] and not self.wheels:
            sync = [UV, "sync", "--quiet", "--frozen", "--no-dev", "--no-editable", "--compile-bytecode"]
            return [[*sync, *self.extras, "--python", self.interpreter]]
        exported = self.scratch / EXPORTED
        if self.wheels and (self.wheels / EXPORTED).is_file():
            return [[*self.pip, "-r", str(self.wheels / EXPORTED)], *self.own()]
        return [export(self.extras, exported), [*self.pip, "-r", str(exported)], *self.own()]

    def _listed(self) -> list[list[str]]:
        """Install what requirements.txt says."""
        text = (self.project.directory / REQUIREMENTS).read_text()
        hashed = re.search(r"--hash[= ]", text) is not None
        how = ["--require-hashes"] if hashed else self.limits
        return [[*self.pip, *how, "-r", REQUIREMENTS], *self.own()]

    def _declared(self) -> list[list[str]]:
        """Install what pyproject.toml says."""
        if not self.project.is_built:
            return [[*self.pip, *self.limits, *self.extras, "-r", "pyproject.toml"]]
        if self.wheels:
            return [[*self.pip, *self.limits, f"{self.project.distribution}{self.bracketed}"]]
        return [[*self.pip, *self.limits, f".{self.bracketed}"]]

    def own(self) -> list[list[str]]:
        """Install the packages that the source itself holds, and nothing that they need."""
        found = own_packages(self.project)
        if not found:
            return []
        names = [str(name) if self.wheels else str(project.directory) for name, project in found]
        return [[*self.pip, "--no-deps", "--reinstall", *names]]


def own_packages(project: Project) -> list[tuple[str | None, Project]]:
    """Return the packages that a source itself holds: the project, and what it needs of its workspace."""
    places = {project.name, *project.locals().values()}
    projects = (Project(project.root, place) for place in sorted(places))
    return [(found.distribution, found) for found in projects if found.is_built]


def export(extras: list[str], target: Path, uv: str = UV) -> list[str]:
    """Return the command that writes a uv.lock as a list with hashes, without the source's own packages."""
    what = ["--no-dev", "--no-emit-local", "--no-header", "--no-annotate"]
    return [uv, "export", "--quiet", "--frozen", *what, *extras, "--output-file", str(target)]


def source_decides(project: Project) -> bool:
    """Tell whether more of a source than its lock says which packages are installed, and in which version."""
    lock = project.lock()
    if lock is None:
        return True
    if lock.endswith(UV_LOCK):
        return False
    if lock.endswith(REQUIREMENTS):
        files = (project.root / name for name in project.lock_files())
        return any(LOCAL_REQUIREMENT.search(file.read_text(errors="replace")) for file in files)
    declared = project.pyproject.get("project", {})
    return not declared or "dependencies" in declared.get("dynamic", [])


def with_account(settings: dict[str, Any]) -> str | None:
    """Return the address of the index with its account."""
    index, password = settings["index"], settings["index_password"]
    if not index or not password:
        return str(index) if index else None
    parts = urlsplit(str(index))
    account = f"{quote(settings['index_username'], safe='')}:{quote(password, safe='')}"
    return urlunsplit((parts.scheme, f"{account}@{parts.netloc}", parts.path, parts.query, ""))


def without_account(text: str, settings: dict[str, Any]) -> str:
    """Return a text in which the index's password is not to be read."""
    password = settings["index_password"]
    for secret in (password, quote(password, safe="")) if password else ():
        text = text.replace(secret, "***")
    return text
