"""Taking over the packages of a release that has the same ones, so that a change of code costs no
installation.

Files of packages are linked, not copied: two releases share the bytes and neither the names nor the
directories. Whoever removes a release removes its names. Installers write a new file and rename it, as
every good editor does, so that nothing done to one release is seen in another. What names its own release
is written anew: the programs.
"""

import os
from pathlib import Path

from ..engine.engine import Engine
from ..release.identity import Identity

# A build makes other sources, not other packages.
WITHOUT_SAY = {"build"}


def same_packages(before: dict[str, object], now: Identity, source_decides: bool) -> bool:
    """Tell whether a release with a recorded identity has the packages that one of this identity needs."""
    compared = ["lock", "python", "architecture", *(["source"] if source_decides else [])]
    if any(before.get(part) != getattr(now, part) for part in compared):
        return False
    install = before.get("install")
    if not isinstance(install, dict):
        return False
    asked = {**install, **now.install}
    return all(install.get(name) == now.install.get(name) for name in asked if name not in WITHOUT_SAY)


def donor(engine: Engine, identity: Identity) -> str | None:
    """Return the newest whole release with the same packages."""
    decides = engine.settings.source.source_decides
    for record in reversed(engine.store.all()):
        venv = engine.layout.virtualenv(record.id)
        if same_packages(record.identity, identity, decides) and (venv / "pyvenv.cfg").is_file():
            return record.id
    return None


def clone(old: Path, new: Path) -> None:
    """Make a virtual environment that shares the files of another one."""
    link_tree(str(old), str(new))
    programs = new / "bin"
    for entry in os.scandir(programs):
        if not entry.is_symlink() and entry.is_file():
            readdress(Path(entry.path), str(old).encode(), str(new).encode())


def link_tree(old: str, new: str) -> None:
    """Make directories anew and link what is in them."""
    Path(new).mkdir(Path(old).stat().st_mode & 0o7777)
    for entry in os.scandir(old):
        target = f"{new}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            link_tree(entry.path, target)
        else:
            # Links to the interpreter are linked as they are.
            os.link(entry.path, target, follow_symlinks=False)


def readdress(program: Path, old: bytes, new: bytes) -> None:
    """Let a program name the new place, in a file of its own."""
    content = program.read_bytes()
    if old not in content:
        return
    mode = program.stat().st_mode & 0o7777
    program.unlink()
    program.write_bytes(content.replace(old, new))
    program.chmod(mode)


def keep_bytecode(old: Path, new: Path) -> None:
    """Take over the bytecode of files that did not change; Python knows it by their time and size."""
    for path in new.rglob("*.py"):
        before = old / path.relative_to(new)
        caches = list(before.parent.glob(f"__pycache__/{path.stem}.*.pyc"))
        if not caches or not before.is_file() or before.read_bytes() != path.read_bytes():
            continue
        os.utime(path, ns=(path.stat().st_atime_ns, before.stat().st_mtime_ns))
        place = path.parent / "__pycache__"
        place.mkdir(exist_ok=True)
        for cache in caches:
            (place / cache.name).write_bytes(cache.read_bytes())
