"""The packages of an application as wheels, downloaded on the controller for servers that reach no index.

uv resolves for the servers' Python and architecture, pip downloads what it resolved. What the lock pins by
hash is
compared on the server, which installs from the same lock.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..source.project import PACKAGE, REQUIREMENTS, UV_LOCK, Project
from ..source.tree import SourceError
from .installing import EXPORTED, export, own_packages, with_account, without_account
from .server_packages import missing, normalized

# The C library of the oldest Debian that servers run: 12 has 2.36.
OLDEST_GLIBC, FIRST_GLIBC = 36, 17
LAST_LINES = 20
PINNED = "pinned.txt"
ADDED = "added.txt"


@dataclass(frozen=True)
class Wheelhouse:
    """What is downloaded for one application and one kind of server."""

    app: str
    root: Path
    entry: dict[str, Any]
    python: str
    architecture: str

    @property
    def project(self) -> Project:
        """The project, in a copy that may be dirtied."""
        return Project(self.root, self.entry["subdir"])

    @property
    def install(self) -> dict[str, Any]:
        """The application's `install`."""
        found: dict[str, Any] = self.entry["install"]
        return found

    def collect(self, place: Path, with_dependencies: bool) -> None:
        """Put wheels into a directory: the source's own packages, and what they need if asked for."""
        if with_dependencies:
            with tempfile.TemporaryDirectory() as scratch:
                self._download(Path(scratch), place)
        for _, project in own_packages(self.project):
            self._run(
                [tool("uv"), "build", "--quiet", "--wheel", "--out-dir", str(place), str(project.directory)]
            )
        compiled = [wheel.name for wheel in place.glob("*-linux_*.whl")]
        if compiled:
            raise SourceError(
                f"{', '.join(compiled)} holds compiled code of the controller, which fits no server; set "
                f"`apps.{self.app}.install.offline` in group_vars/all/apps.yml to false and let the servers "
                f"build it"
            )

    def _download(self, scratch: Path, place: Path) -> None:
        (scratch / "limits.txt").write_text("".join(f"{text}\n" for text in self.install["constraints"]))
        pinned = self._resolve(self._asked(scratch, place), scratch / PINNED)
        have = names(pinned)
        more = [*self.install["packages"], *missing(self.entry["server"], have)]
        lists = [pinned]
        if more:
            (scratch / "more.in").write_text("".join(f"{text}\n" for text in more))
            limits = ["-c", str(pinned)]
            lists.append(self._resolve([str(scratch / "more.in"), *limits], scratch / ADDED))
        platforms = [f"manylinux_2_{minor}" for minor in range(OLDEST_GLIBC, FIRST_GLIBC - 1, -1)]
        platforms += ["manylinux2014", "linux"]
        download = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        download += ["--only-binary", ":all:", "--python-version", self.python, "--implementation", "cp"]
        download += ["--abi", f"cp{self.python.replace('.', '')}", "--abi", "abi3", "--abi", "none"]
        download += [word for name in platforms for word in ("--platform", f"{name}_{self.architecture}")]
        download += [word for path in lists for word in ("--requirement", str(path))]
        self._run([*download, "--dest", str(place)])

    def _asked(self, scratch: Path, place: Path) -> list[str]:
        """Return what is resolved, as arguments."""
        directory, lock = self.project.directory, self.project.lock()
        limits = ["-c", str(scratch / "limits.txt")]
        extras = [word for extra in self.install["extras"] for word in ("--extra", extra)]
        if lock and lock.endswith(UV_LOCK):
            self._run(export(extras, place / EXPORTED, tool("uv")))
            return [str(place / EXPORTED)]
        if lock and lock.endswith(REQUIREMENTS):
            return [str(directory / REQUIREMENTS), *limits]
        if lock:
            return [str(self.root / lock), *extras, *limits]
        bracketed = f"[{','.join(self.install['extras'])}]" if self.install["extras"] else ""
        if (directory / PACKAGE).is_file():
            name, _, version = (directory / PACKAGE).read_text().strip().partition("==")
            asked = f"{name}{bracketed}=={version}"
        else:
            wheel = next(directory.glob("*.whl"))
            asked = f"{wheel.name.partition('-')[0]}{bracketed} @ {wheel.as_uri()}"
        (scratch / "asked.in").write_text(f"{asked}\n")
        return [str(scratch / "asked.in"), *limits]

    def _resolve(self, asked: list[str], target: Path) -> Path:
        """Write every package that the servers need, with its version, and return the list."""
        how = ["--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:"]
        platform = f"{self.architecture}-manylinux_2_{OLDEST_GLIBC}"
        how += ["--python-version", self.python, "--python-platform", platform]
        self._run([tool("uv"), "pip", "compile", *how, *asked, "--output-file", str(target)])
        # What lies in the source comes with it.
        kept = [line for line in target.read_text().splitlines() if " @ file:" not in line]
        target.write_text("".join(f"{line}\n" for line in kept))
        return target

    def _run(self, argv: list[str]) -> None:
        """Run a command on the controller, in the project's directory."""
        index = with_account(self.install)
        asked = {"UV_DEFAULT_INDEX": index, "PIP_INDEX_URL": index} if index else {}
        done = subprocess.run(
            argv,
            cwd=self.project.directory,
            env={**os.environ, "UV_PYTHON_DOWNLOADS": "never", **asked},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            tail = "\n".join(without_account(done.stdout, self.install).strip().splitlines()[-LAST_LINES:])
            what = " ".join(word for word in argv[:4] if not word.startswith("-"))
            raise SourceError(
                f"the packages of {self.app} cannot be downloaded for Python {self.python} on "
                f"{self.architecture} "
                f"(`apps.{self.app}.install.offline`): every one needs a wheel and an index that this "
                f"controller "
                f"reaches, `apps.{self.app}.install.index` in group_vars/all/apps.yml names another one; "
                f"`{what}` said:\n{tail}"
            )


def names(pinned: Path) -> dict[str, str]:
    """Return the packages of a list and their versions."""
    found = {}
    for line in pinned.read_text().splitlines():
        name, _, version = line.partition(" ")[0].partition("==")
        if version:
            found[normalized(name.partition("[")[0])] = version
    return found


def tool(name: str) -> str:
    """Return where a program of the controller is: beside its Python, or on its path."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise SourceError(f"{name} is missing on the controller; install it with `bin/setup`")
    return found


def pack(directory: Path) -> bytes:
    """Return the wheels as one tarball, which is not compressed: they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(directory.iterdir()):
            if path.name.endswith(".whl") or path.name == EXPORTED:
                tar.add(path, arcname=path.name)
    return buffer.getvalue()
