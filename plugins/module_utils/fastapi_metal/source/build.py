"""Build commands: run on the controller in a clean copy of the source, so that no checkout is dirtied.

Their output is part of the release and the same on every host. A release is known by what went in: the
source and the commands. So an unchanged deploy builds nothing.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..apps.sentences import sentence
from .tree import SourceError, SourceTree

LAST_LINES = 20
LONGEST = 3600
KEPT = 10


def copied(tree: SourceTree, place: Path) -> None:
    """Copy what belongs to a source into an empty directory."""
    for name in tree.names():
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(tree.path / name, target, follow_symlinks=False)


def run(commands: list[str], directory: Path, variable: str) -> None:
    """Run build commands, one after the other."""
    for number, command in enumerate(commands):
        try:
            done = subprocess.run(
                ["/bin/sh", "-e", "-c", command],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=LONGEST,
                check=False,
            )
            status, printed = f"status {done.returncode}" if done.returncode else "", done.stdout
        except subprocess.TimeoutExpired as error:
            status, printed = f"no end after {LONGEST} s", str(error.stdout or "")
        if status:
            tail = "\n".join(printed.strip().splitlines()[-LAST_LINES:])
            where = sentence(
                f"{variable}[{number}]",
                f"ended with {status} in a clean copy of the source on the controller",
                f"run `{command}` in a fresh checkout to see more",
            )
            raise SourceError(f"{where}\n{tail}")


@contextmanager
def built(tree: SourceTree, commands: list[str], variable: str) -> Iterator[SourceTree]:
    """Give a source in which the build commands have run."""
    with tempfile.TemporaryDirectory(prefix="fastapi-metal-build-") as place:
        copied(tree, Path(place))
        run(commands, Path(place) / tree.project.name, variable)
        yield SourceTree(Path(place), tree.subdir)


def pack(
    tree: SourceTree, digests: tuple[str, str], commands: list[str], variable: str, cache: Path
) -> bytes:
    """Return a source as a tarball, built if it has build commands; a build is kept and not made twice."""
    if not commands:
        return tree.pack()
    key = hashlib.sha256(json.dumps([*digests, tree.subdir, commands]).encode()).hexdigest()
    kept = cache / "builds" / f"{key}.tar.gz"
    if kept.is_file():
        os.utime(kept)
        return kept.read_bytes()
    with built(tree, commands, variable) as result:
        packed = result.pack()
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = kept.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(packed)
    temporary.replace(kept)
    for old in sorted(kept.parent.glob("*.tar.gz"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)
    return packed
