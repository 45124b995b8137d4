"""A source as one run sees it: obtained once on the controller, however many hosts and steps ask.

What one host is told, all are told: a branch that moves or a file that changes in the middle of a run does
not make two versions. Ansible runs each task of each host in a process of its own, so what is known lies in
a directory that belongs to the run and ends with it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..apps.sentences import sentence, shown
from ..apps.validation_source import PATH_THAT_WORKS
from ..machine.files import read_json
from ..packages.installing import source_decides
from ..packages.wheelhouse import Wheelhouse
from ..packages.wheelhouse import pack as pack_wheels
from ..steps.stage import unpack
from .archive import obtain_archive
from .build import pack
from .git import obtain_git
from .project import PACKAGE, REQUIREMENTS, ProjectError
from .tree import SourceError, SourceTree

# What of a source says which one it is; the rest lets us in.
NAMES = ("path", "git", "version", "archive", "checksum", "package")


def cache() -> Path:
    """Return where fetched sources are kept; it may be removed at any time."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "fastapi-metal"


@dataclass(frozen=True)
class Seen:
    """What every step must know of a source."""

    digest: str
    lock: str
    origin: str
    requires_python: str
    source_decides: bool


@dataclass(frozen=True)
class Snapshot:
    """One application's source in one run."""

    app: str
    entry: dict[str, Any]
    run: Path
    cache: Path

    @property
    def source(self) -> dict[str, Any]:
        """The source's settings."""
        found: dict[str, Any] = self.entry["source"]
        return found

    @property
    def commands(self) -> list[str]:
        """The build commands."""
        return [str(command) for command in self.entry["install"]["build"]]

    @property
    def variable(self) -> str:
        """The source's name in messages."""
        return f"apps.{self.app}.source"

    @property
    def place(self) -> Path:
        """The directory of this source in this run; the same entry, the same directory."""
        named = [str(self.source.get(name)) for name in NAMES]
        key = json.dumps([self.app, *named, self.entry["subdir"], self.commands])
        return self.run / hashlib.sha256(key.encode()).hexdigest()[:24]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time work here; the others find what it has made."""
        self.place.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.place / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def see(self) -> Seen:
        """Obtain the source, if nobody has yet, and return what is known of it."""
        with self.alone():
            note = self.place / "seen.json"
            known = read_json(note)
            if known is None:
                try:
                    known = {"seen": asdict(self._look())}
                except SourceError as error:
                    # Told to every host, and asked once: an address that does not answer takes its time.
                    known = {"error": str(error)}
                note.write_text(json.dumps(known))
        if "error" in known:
            raise SourceError(known["error"])
        return Seen(**known["seen"])

    def packed(self, seen: Seen) -> Path:
        """Return the tarball that hosts get, built if it has build commands."""
        with self.alone():
            packed, failed = self.place / "source.tar.gz", self.place / "failed"
            if failed.is_file():
                raise SourceError(failed.read_text())
            if not packed.is_file():
                try:
                    content = self._pack(seen)
                except SourceError as error:
                    failed.write_text(str(error))
                    raise
                temporary = packed.with_suffix(".new")
                temporary.write_bytes(content)
                temporary.replace(packed)
        return packed

    def _pack(self, seen: Seen) -> bytes:
        tree, digests = self.tree(), (seen.digest, seen.lock)
        content = pack(tree, digests, self.commands, f"apps.{self.app}.install.build", self.cache)
        if tree.digests() != digests:
            raise SourceError(f"{tree.path} changed while it was read; run again")
        return content

    def wheels(self, seen: Seen, packages: dict[str, Any]) -> Path:
        """Return the wheels for one kind of server, or the source's own alone where it has the rest."""
        source = self.packed(seen)
        python, architecture, there = (packages[name] for name in ("python", "architecture", "there"))
        kept = self.place / f"wheels-{python}-{architecture}{'-own' if there else ''}.tar"
        failed = kept.with_suffix(".failed")
        with self.alone():
            if failed.is_file():
                raise SourceError(failed.read_text())
            if not kept.is_file():
                try:
                    with tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as place:
                        unpack(source, Path(root))
                        house = Wheelhouse(self.app, Path(root), self.entry, python, architecture)
                        house.collect(Path(place), with_dependencies=not there)
                        temporary = kept.with_suffix(".new")
                        temporary.write_bytes(pack_wheels(Path(place)))
                        temporary.replace(kept)
                except SourceError as error:
                    failed.write_text(str(error))
                    raise
        return kept

    def tree(self) -> SourceTree:
        """Return the source's directory on the controller."""
        path = Path(self.source["path"]) if self.source.get("path") else self.place / "tree"
        return SourceTree(path, self.entry["subdir"], whole=bool(self.commands))

    def _look(self) -> Seen:
        origin = self._obtain()
        tree = self.tree()
        if not tree.project.directory.is_dir():
            raise SourceError(
                sentence(
                    f"apps.{self.app}.subdir",
                    f"is {self.entry['subdir']}, which is no directory of the source",
                    "set it to one that it has, or leave it out",
                )
            )
        try:
            self._fits(tree)
            digest, lock = tree.digests()
            asked = tree.project.requires_python
            return Seen(digest, lock, origin, asked, source_decides(tree.project))
        except (ProjectError, OSError) as error:
            raise SourceError(f"the source of {self.app} cannot be read: {error}") from error

    def _fits(self, tree: SourceTree) -> None:
        """Refuse what this project's list of packages cannot follow."""
        lock = tree.project.lock() or ""
        if self.entry["install"]["extras"] and lock.endswith(REQUIREMENTS):
            raise SourceError(
                sentence(
                    f"apps.{self.app}.install.extras",
                    f"is set, and {lock} of the source says alone which packages are installed",
                    "leave it out and make the list with them, as in `uv pip compile --extra redis "
                    "pyproject.toml`",
                )
            )

    def _obtain(self) -> str:
        source, target = self.source, self.place / "tree"
        if source.get("path"):
            return self._of_path(str(source["path"]))
        target.mkdir(exist_ok=True)
        if source.get("git"):
            return obtain_git(source, self.variable, self.cache, target)
        if source.get("archive"):
            return obtain_archive(source, self.variable, self.cache, target)
        (target / PACKAGE).write_text(f"{source['package']}\n")
        return f"package {source['package']}"

    def _of_path(self, path: str) -> str:
        if not Path(path).is_dir():
            raise SourceError(
                sentence(
                    f"{self.variable}.path",
                    f"is {shown(path)}, which is no directory on the controller",
                    f"name one that exists, for example {PATH_THAT_WORKS}",
                )
            )
        return f"path {path}"
