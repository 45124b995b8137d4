"""What a domain's owner lets nobody issue is not asked for: the authority would refuse, and count it."""

from __future__ import annotations

import importlib
import socket
import struct
import threading
from collections.abc import Iterator
from types import ModuleType

import pytest

OURS = ["letsencrypt.org"]


@pytest.fixture(scope="module")
def caa() -> ModuleType:
    """Load it as Ansible's module does."""
    return importlib.import_module("ansible.module_utils.fastapi_metal.certificates.caa")


ZONE = {
    "example.org": [
        ("issue", "letsencrypt.org; validationmethods=http-01"),
        ("iodef", "mailto:x@example.org"),
    ],
    "closed.example.org": [("issue", ";")],
    "other.example.org": [("issue", "ca.example.net")],
    "wild.example.org": [("issue", "ca.example.net"), ("issuewild", "letsencrypt.org")],
    "told.example.org": [("iodef", "mailto:x@example.org")],
}


def asked(name: str) -> list[tuple[str, str]]:
    """Answer as DNS would."""
    return ZONE.get(name, [])


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ("shop.example.org", None),
        ("a.b.shop.example.org", None),
        ("shop.example.com", None),
        ("told.example.org", None),
        ("*.wild.example.org", None),
        ("wild.example.org", "lets ca.example.net issue"),
        ("shop.closed.example.org", "has a CAA record at closed.example.org that lets nobody issue"),
        ("other.example.org", 'add `other.example.org. CAA 0 issue "letsencrypt.org"` to its DNS'),
    ],
)
def test_the_closest_record_decides(caa: ModuleType, domain: str, words: str | None) -> None:
    """Upwards from the name; a wildcard may have records of its own."""
    found = caa.forbidden(domain, OURS, asked)
    assert (words is None and found is None) or (words is not None and words in found)


def test_a_silent_resolver_stops_nothing(caa: ModuleType) -> None:
    """The authority looks for itself."""

    def silent(_name: str) -> list[tuple[str, str]]:
        raise TimeoutError

    assert caa.forbidden("other.example.org", OURS, silent) is None


@pytest.fixture
def resolver() -> Iterator[int]:
    """Return the port of a resolver that answers one question: an alias first, then two records."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.bind(("127.0.0.1", 0))
        wire.settimeout(10)

        def answer() -> None:
            message, address = wire.recvfrom(2000)
            name_and_kind = message[12 : message.index(b"\0", 12) + 5]
            head = message[:2] + struct.pack("!5H", 0x8180, 1, 3, 0, 0)
            alias = b"\xc0\x0c" + struct.pack("!2HIH", 5, 1, 60, 2) + b"\xc0\x0c"
            rows = b""
            for data in (b"\x00\x05issueca.example.net", b"\x00\x05iodefmailto:x@example.org"):
                rows += b"\xc0\x0c" + struct.pack("!2HIH", 257, 1, 60, len(data)) + data
            wire.sendto(head + name_and_kind + alias + rows, address)

        thread = threading.Thread(target=answer)
        thread.start()
        yield wire.getsockname()[1]
        thread.join()


def test_an_answer_is_read(caa: ModuleType, resolver: int) -> None:
    """As a resolver of the world writes it, with names that point back and rows of another kind."""
    found = caa.ask("shop.example.org", ["127.0.0.1"], resolver)
    assert found == [("issue", "ca.example.net"), ("iodef", "mailto:x@example.org")]


def test_an_answer_that_is_none_is_an_error(caa: ModuleType) -> None:
    """Too short, to another question, or a failure of the resolver."""
    another, failed = (struct.pack("!6H", *head, 0, 0, 0, 0) for head in ((8, 0x8180), (7, 0x8182)))
    for message, words in ((b"", "too short"), (another, "resolver failed"), (failed, "resolver failed")):
        with pytest.raises(ValueError, match=words):
            caa.records(message, 7)
    assert caa.records(struct.pack("!6H", 7, 0x8183, 0, 0, 0, 0), 7) == []
