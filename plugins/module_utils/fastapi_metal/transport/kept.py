"""The engine as a host keeps it: one archive per version, compiled for its Python, found by its digest.

Keeping it saves time and nothing else: where it cannot be kept, it is sent again with the next step.
"""

import hashlib
import importlib.util
import io
import marshal
import os
import tempfile
import zipfile
from pathlib import Path

# Two controllers with two versions, and the one before.
KEEP = 3
PROGRAM = b"#!/usr/bin/python3 -IS\n"
# PEP 552: the bytecode stands for its source without a look at it, as both lie in one file.
UNCHECKED = (1).to_bytes(4, "little")
# The same files make the same archive, byte for byte.
LONG_AGO = (1980, 1, 1, 0, 0, 0)


def pack(files: dict[str, bytes]) -> bytes:
    """Return files as one archive without compression, which Python imports fastest."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), content)
    return buffer.getvalue()


def compiled(archive: bytes, path: Path) -> bytes:
    """Return an archive with this Python's bytecode beside its sources; another Python passes it over."""
    files = {}
    with zipfile.ZipFile(io.BytesIO(archive)) as sources:
        for name in sources.namelist():
            files[name] = source = sources.read(name)
            code = compile(source, str(path / name), "exec", dont_inherit=True)
            header = importlib.util.MAGIC_NUMBER + UNCHECKED + importlib.util.source_hash(source)
            files[f"{name}c"] = header + marshal.dumps(code)
    return pack(files)


def sealed(archive: bytes) -> bytes:
    """Return an archive that can be run, and tells by its second line whether it is whole."""
    return PROGRAM + f"#{hashlib.sha256(archive).hexdigest()}\n".encode() + archive


def keep(path: Path, archive: bytes) -> str:
    """Keep an engine and forget old ones; return why that was not possible, or nothing."""
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".engine-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(sealed(compiled(archive, path)))
                os.fchmod(file.fileno(), 0o755)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        forget(path)
    except OSError as error:
        return f"the engine is not kept in {path.parent} and has to be sent with each step: {error.strerror}"
    return ""


def forget(path: Path) -> None:
    """Remove all but the last engines."""
    found = sorted(path.parent.glob("engine-*.pyz"), key=lambda other: other.stat().st_mtime, reverse=True)
    for old in [other for other in found if other != path][KEEP - 1 :]:
        old.unlink(missing_ok=True)
