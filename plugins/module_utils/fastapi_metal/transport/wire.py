"""How controller and host talk: one line of JSON, then bytes in the order and the lengths that it names."""

import json
from typing import Any, BinaryIO, TypedDict

# Stands before the name of a file that comes along, where a request names its path.
ATTACHED = "attached:"


class Call(TypedDict):
    """What shall run."""

    step: str
    name: str
    check_mode: bool
    environment: dict[str, str]


class Head(Call):
    """The line that comes first: the call, where the engine is kept, and how many bytes follow of what."""

    kept: str
    engine: int
    request: int
    files: dict[str, int]


class TornError(Exception):
    """The connection ended before everything had come, so nothing is done."""


def frame(call: Call, kept: str, archive: bytes, request: bytes, files: dict[str, bytes]) -> bytes:
    """Return what is written to the host's standard input."""
    head: Head = {
        **call,
        "kept": kept,
        "engine": len(archive),
        "request": len(request),
        "files": {name: len(content) for name, content in files.items()},
    }
    return b"".join([json.dumps(head).encode(), b"\n", archive, request, *files.values()])


def take(stream: BinaryIO, length: int) -> bytes:
    """Return so many bytes, or refuse to go on."""
    content = stream.read(length)
    if len(content) != length:
        raise TornError("the connection ended before everything had come")
    return content


def read(head: Head, stream: BinaryIO) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the request and the files that came along; `bootstrap` has taken the engine."""
    request: dict[str, Any] = json.loads(take(stream, head["request"]))
    return request, {name: take(stream, length) for name, length in head["files"].items()}
