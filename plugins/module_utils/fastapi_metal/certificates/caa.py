"""Which authorities a domain's owner lets issue certificates: CAA records, of the machine's own resolver.

Python has no resolver for them in its standard library; the message is short enough to be written here.
"""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Callable
from pathlib import Path

CAA, INTERNET, OPTIONS = 257, 1, 41
# "Recursion desired", and in an answer the three bits that say what went wrong.
ASK, FAILED = 0x0100, 0x000F
NO_SUCH_NAME = 3
LARGEST = 1232

Record = tuple[str, str]


def question(domain: str, number: int) -> bytes:
    """Return the message that asks for a domain's CAA records."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in domain.split("."))
    head = struct.pack("!6H", number, ASK, 1, 0, 0, 1)
    return (
        head
        + labels
        + b"\0"
        + struct.pack("!2H", CAA, INTERNET)
        + struct.pack("!BHHIH", 0, OPTIONS, LARGEST, 0, 0)
    )


def past_name(message: bytes, place: int) -> int:
    """Return where a name ends."""
    while message[place]:
        if message[place] >= 0xC0:
            return place + 2
        place += message[place] + 1
    return place + 1


def records(message: bytes, number: int) -> list[Record]:
    """Return tag and value of the records of an answer; ValueError where it is none."""
    if len(message) < 12:
        raise ValueError("a message that is too short")
    found, flags, asked, answers = struct.unpack("!4H", message[:8])
    if found != number or flags & FAILED not in (0, NO_SUCH_NAME):
        raise ValueError(f"the resolver failed ({flags & FAILED})")
    place = 12
    for _ in range(asked):
        place = past_name(message, place) + 4
    listed = []
    for _ in range(answers):
        place = past_name(message, place)
        kind, _, _, length = struct.unpack("!2HIH", message[place : place + 10])
        data = message[place + 10 : place + 10 + length]
        place += 10 + length
        if kind == CAA:
            end = 2 + data[1]
            listed.append(
                (data[2:end].decode("ascii", "replace").lower(), data[end:].decode("ascii", "replace"))
            )
    return listed


def resolvers(path: Path = Path("/etc/resolv.conf")) -> list[str]:
    """Return the addresses of the machine's resolvers."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    return [line.split()[1] for line in lines if line.startswith("nameserver ") and len(line.split()) > 1]


def ask(domain: str, servers: list[str] | None = None, port: int = 53, patience: float = 3) -> list[Record]:
    """Return a domain's own CAA records; OSError or ValueError where nobody tells."""
    problem: OSError | ValueError = OSError("no resolver")
    for server in servers if servers is not None else resolvers():
        number = secrets.randbelow(65536)
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as wire:
            wire.settimeout(patience)
            try:
                wire.connect((server.split("%")[0], port))
                wire.send(question(domain, number))
                return records(wire.recv(LARGEST), number)
            except (OSError, ValueError, struct.error, IndexError) as error:
                problem = error if isinstance(error, OSError | ValueError) else ValueError(str(error))
    raise problem


def permitted(domain: str, asked: Callable[[str], list[Record]] = ask) -> tuple[str, set[str]] | None:
    """Return the name that decides for a domain and the authorities that it lets issue; None where all may.

    The records of the closest name upwards count. For a wildcard `issuewild` goes before `issue`.
    """
    wildcard, name = domain.startswith("*."), domain.removeprefix("*.")
    while "." in name:
        found = asked(name)
        if found:
            wild = [value for tag, value in found if tag == "issuewild"]
            plain = [value for tag, value in found if tag == "issue"]
            values = wild if wildcard and wild else plain
            if not values:
                return None
            return name, {value.partition(";")[0].strip().lower() for value in values} - {""}
        name = name.partition(".")[2]
    return None


def forbidden(domain: str, authority: list[str], asked: Callable[[str], list[Record]] = ask) -> str | None:
    """Return why an authority may not issue for a domain, in words that follow its name; None if it may."""
    try:
        found = permitted(domain, asked)
    except (OSError, ValueError):
        # What nobody tells the machine, the authority will find out by itself.
        return None
    if found is None or found[1] & {name.lower() for name in authority}:
        return None
    name, allowed = found
    return (
        f"has a CAA record at {name} that lets {', '.join(sorted(allowed)) or 'nobody'} issue, and the "
        f'authority calls itself {authority[0]}: add `{name}. CAA 0 issue "{authority[0]}"` to its DNS, or '
        "ask one that is let with `certbot_directory_url`"
    )
