"""A project inside a source: where it lies, which file says what it needs, and what of the source it
needs.

Read by the controller, which ships what is needed, and by the host, which installs it. Standard library
only.
"""

import posixpath
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UV_LOCK = "uv.lock"
REQUIREMENTS = "requirements.txt"
PYPROJECT = "pyproject.toml"

# A source that is a package of an index has no file of its own, so the controller writes this one.
PACKAGE = "package.txt"

# What tells which packages are installed, in the order in which it is looked for.
LOCKS = (UV_LOCK, REQUIREMENTS, PYPROJECT)

INCLUDE = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[ =]*(?P<file>[^\s#]+)", re.MULTILINE)


class ProjectError(Exception):
    """A project's own files cannot be read; the message says which."""


def toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file says; nothing if there is none."""
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path.name} of the source is no TOML ({error}); mend it") from error


def joined(*parts: str) -> str:
    """Return a relative path without detours."""
    return posixpath.normpath(posixpath.join(*parts))


@dataclass(frozen=True)
class Project:
    """A project below the root of a source."""

    root: Path
    subdir: str = "."

    @property
    def name(self) -> str:
        """Its place in the source."""
        return joined(self.subdir)

    @property
    def directory(self) -> Path:
        """Its place on disk."""
        return self.root / self.name

    @property
    def pyproject(self) -> dict[str, Any]:
        """What its pyproject.toml says."""
        return toml(self.directory / PYPROJECT)

    @property
    def distribution(self) -> str | None:
        """The name under which it is installed."""
        name = self.pyproject.get("project", {}).get("name")
        return str(name) if name else None

    @property
    def requires_python(self) -> str:
        """The Python versions that it asks for; empty if it does not say."""
        return str(self.pyproject.get("project", {}).get("requires-python", ""))

    @property
    def is_built(self) -> bool:
        """Whether it is a package of its own, rather than code that runs where it lies."""
        return "build-system" in self.pyproject

    def lock(self) -> str | None:
        """Return the file that says which packages are installed, which may be a workspace's further up."""
        if self._has(UV_LOCK):
            return joined(self.name, UV_LOCK)
        workspace = self._workspace()
        if workspace is not None:
            return joined(workspace, UV_LOCK)
        return next((joined(self.name, lock) for lock in LOCKS if self._has(lock)), None)

    def _has(self, file: str) -> bool:
        return (self.directory / file).is_file()

    def _workspace(self) -> str | None:
        """Return the directory above whose uv workspace the project is a member of."""
        place = self.name
        while place != ".":
            place = posixpath.dirname(place) or "."
            above = self.root / place
            workspace = toml(above / PYPROJECT).get("tool", {}).get("uv", {}).get("workspace")
            if workspace is None:
                continue
            left_out = (set(above.glob(pattern)) for pattern in workspace.get("exclude", []))
            members = (set(above.glob(pattern)) for pattern in workspace.get("members", []))
            found = set().union(*members) - set().union(*left_out)
            if self.directory in found and (above / UV_LOCK).is_file():
                return place
        return None

    def locals(self) -> dict[str, str]:
        """Return the packages of the source itself that the lock wants: their names and directories."""
        lock = self.lock()
        if lock is None or posixpath.basename(lock) != UV_LOCK:
            return {}
        place = posixpath.dirname(lock) or "."
        packages = {package["name"]: package for package in toml(self.root / lock).get("package", [])}
        found: dict[str, str] = {}
        for name in closure(packages, self._locked_name(packages, place)):
            source = packages[name].get("source", {})
            path = next(
                (source[kind] for kind in ("editable", "directory", "virtual") if kind in source), None
            )
            if path is not None:
                found[name] = joined(place, path)
        return found

    def _locked_name(self, packages: dict[str, Any], place: str) -> str | None:
        """Return the name that the lock gives to this project."""
        for name, package in packages.items():
            source = package.get("source", {})
            for kind in ("editable", "virtual"):
                if kind in source and joined(place, source[kind]) == self.name:
                    return str(name)
        return None

    def lock_files(self) -> set[str]:
        """Return every file that has a say in which packages are installed."""
        lock = self.lock()
        if lock is None:
            return set()
        kind = posixpath.basename(lock)
        if kind == UV_LOCK:
            return {lock}
        if kind == REQUIREMENTS:
            return set(self._included(lock))
        beside = (joined(self.name, file) for file in ("setup.py", "setup.cfg"))
        return {lock, *(file for file in beside if (self.root / file).is_file())}

    def _included(self, name: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
        """Return a list of requirements and every list that it includes, inside the source."""
        path = self.root / name
        if name in seen or name.startswith("../") or not path.is_file():
            return
        yield name
        for match in INCLUDE.finditer(path.read_text(errors="replace")):
            yield from self._included(joined(posixpath.dirname(name), match["file"]), seen | {name})

    def parts(self) -> list[str]:
        """Return what of the source it needs: itself, its lock, and the packages that the lock wants."""
        wanted = {self.name, *self.lock_files(), *self.locals().values()}
        lock = self.lock()
        if lock is not None and posixpath.basename(lock) == UV_LOCK:
            wanted.add(joined(posixpath.dirname(lock), PYPROJECT))
        outside = sorted(part for part in wanted if part.startswith("../"))
        if outside:
            raise ProjectError(
                f"the lock wants the directory {outside[0]} outside of the source; let the source begin "
                f"further up"
            )
        return sorted(part for part in wanted if not any(is_below(part, other) for other in wanted))


def is_below(name: str, other: str) -> bool:
    """Tell whether a path lies in another one."""
    return name != other and (other == "." or name.startswith(f"{other}/"))


def closure(packages: dict[str, Any], first: str | None) -> list[str]:
    """Return a package of a lock and everything that it needs; all packages if it is not known."""
    if first is None:
        return sorted(packages)
    found, left = set(), [first]
    while left:
        name = left.pop()
        if name in found or name not in packages:
            continue
        found.add(name)
        package = packages[name]
        extras = package.get("optional-dependencies", {}).values()
        left += [need["name"] for need in package.get("dependencies", [])]
        left += [need["name"] for extra in extras for need in extra]
    return sorted(found)
