"""A source directory as the controller sees it: what belongs to it, its digest, and its tarball."""

import fnmatch
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .project import Project, ProjectError

# Never part of a release. `.env` must not win over `env`, the rest is made anew or is nobody's business.
LEFT_OUT = (
    *(".git", ".hg", ".svn", ".env", ".venv", "venv", "__pycache__", "*.pyc", "node_modules", ".tox", ".nox"),
    *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".schemathesis", ".cache", ".coverage*"),
    "*.egg-info",
)


class SourceError(Exception):
    """A source cannot be released; the message says why, and what to do."""


@dataclass(frozen=True)
class SourceTree:
    """A directory on the controller, and the project in it."""

    path: Path
    subdir: str = "."
    # The build commands may read everything, so everything makes another release.
    whole: bool = False

    @property
    def project(self) -> Project:
        """The project in it."""
        return Project(self.path, self.subdir)

    def names(self) -> list[str]:
        """Return every file and link that belongs to it, in order."""
        try:
            parts = ["."] if self.whole else self.project.parts()
        except ProjectError as error:
            raise SourceError(str(error)) from error
        return sorted(name for part in parts for name in self._of(part))

    def _of(self, part: str) -> Iterator[str]:
        """Return a file, or everything in a directory."""
        path = self.path / part
        if path.is_dir() and not path.is_symlink():
            yield from self._walk(part)
        elif path.is_symlink() or path.is_file():
            yield part

    def _walk(self, below: str) -> Iterator[str]:
        for entry in os.scandir(self.path / below):
            if any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in LEFT_OUT):
                continue
            name = entry.name if below == "." else f"{below}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(name)
            elif entry.is_symlink() or entry.is_file():
                yield name

    def _content(self, name: str) -> bytes:
        """Return what makes a file the same file: its kind, whether it is a program, and its bytes."""
        path = self.path / name
        if path.is_symlink():
            return f"link {self._link(path)}".encode()
        kind = "program" if path.stat().st_mode & 0o100 else "file"
        return f"{kind} ".encode() + path.read_bytes()

    def _link(self, path: Path) -> str:
        """Return where a link points, which must be inside."""
        target = str(path.readlink())
        inside = (path.parent / target).resolve().is_relative_to(self.path.resolve())
        if Path(target).is_absolute() or not inside:
            raise SourceError(
                f"{path} is a link to {target}, outside of the source; copy the file or link relatively"
            )
        return target

    def digests(self) -> tuple[str, str]:
        """Return the digests of the source without its lock, and of the lock."""
        names = self.names()
        locks = self.project.lock_files()
        source, locked = hashlib.sha256(), hashlib.sha256()
        for name in names:
            content = hashlib.sha256(self._content(name)).hexdigest()
            (locked if name in locks else source).update(f"{content} {name}\n".encode())
        return source.hexdigest(), locked.hexdigest()

    def pack(self) -> bytes:
        """Return it as one compressed tarball, owned by root."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=3) as tar:
            for name in self.names():
                info = tar.gettarinfo(self.path / name, arcname=name)
                # Files that are one inode here are packed each by itself.
                info.type = info.type if info.issym() else tarfile.REGTYPE
                info.uid = info.gid = 0
                info.uname = info.gname = "root"
                info.mode = 0o755 if info.mode & 0o100 else 0o644
                if info.issym():
                    tar.addfile(info)
                else:
                    content = (self.path / name).read_bytes()
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        return buffer.getvalue()
