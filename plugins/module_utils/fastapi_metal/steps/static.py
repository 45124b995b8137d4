"""What Nginx serves by itself: linked to where it may read, and nothing else of the release."""

import os
from collections.abc import Mapping
from pathlib import Path

from ..machine.files import directory


class StaticError(Exception):
    """Static files cannot be published; the message says why, and what to do."""


def publish(source: Path, place: Path, static: Mapping[str, str], variable: str) -> bool:
    """Link every directory of `static` to where its path is below `place`; hard links cost no room."""
    directory(place, 0o755)
    for url, name in static.items():
        if not (source / name).is_dir():
            raise StaticError(
                f"the source has no directory `{name}`, also not after its build commands; set "
                f"{variable}.{url} in group_vars/all/apps.yml to one that it has"
            )
        below = place
        for part in url.strip("/").split("/"):
            below /= part
            directory(below, 0o755)
        link(source / name, below, source.resolve())
    return bool(static)


def link(source: Path, target: Path, inside: Path) -> None:
    """Link a directory's files, readable for everybody; what leads out of the source stays away."""
    for found in sorted(source.iterdir()):
        real, to = found.resolve(), target / found.name
        if not real.is_relative_to(inside):
            continue
        if real.is_dir() and not found.is_symlink():
            directory(to, 0o755)
            link(found, to, inside)
        elif real.is_file():
            to.unlink(missing_ok=True)
            os.link(real, to)
            to.chmod(0o644 | real.stat().st_mode & 0o111)
