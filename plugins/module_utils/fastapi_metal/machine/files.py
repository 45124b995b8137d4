"""Writing that a power cut cannot leave half done."""

import json
import os
import shutil
from pathlib import Path
from typing import Any


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, content: str | bytes, mode: int) -> bool:
    """Write a file as a whole, durably, and return whether it was different before."""
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data and (path.stat().st_mode & 0o7777) == mode:
        return False
    replace(path, data, mode)
    return True


def replace(path: Path, data: bytes, mode: int) -> None:
    """Put a file in place in one durable step; who reads it meanwhile sees the old or the new one."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def write_json(path: Path, value: Any, mode: int) -> bool:
    """Write a value as readable JSON."""
    return write(path, json.dumps(value, indent=2, sort_keys=True) + "\n", mode)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, or nothing if there is none or it is torn."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def append(path: Path, line: str) -> None:
    """Add a line durably; a torn line before it does not swallow it."""
    with path.open("a+b") as file:
        file.seek(0, os.SEEK_END)
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def directory(path: Path, mode: int) -> bool:
    """Make a directory with this mode and return whether that was a change."""
    made = not path.is_dir()
    if made:
        path.mkdir(parents=True)
    if (path.stat().st_mode & 0o7777) != mode:
        path.chmod(mode)
        return True
    return made


def remove(path: Path) -> bool:
    """Remove a file, a link or a tree and return whether it was there."""
    if path.is_symlink() or path.is_file() or path.is_socket():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        return False
    return True


def point(link: Path, target: str) -> bool:
    """Let a link point elsewhere in one atomic, durable step and return whether it did not yet."""
    if link.is_symlink() and str(link.readlink()) == target:
        return False
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    sync_directory(link.parent)
    temporary.rename(link)
    sync_directory(link.parent)
    return True
