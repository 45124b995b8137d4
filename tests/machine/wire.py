"""Speak to a site byte by byte, as no HTTP library would."""

import contextlib
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from client import Site

STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")


@dataclass(frozen=True)
class Said:
    """What came back until the server closed or was silent: the statuses of all answers, and all bytes."""

    statuses: list[int]
    text: bytes
    closed: bool


@contextlib.contextmanager
def secured(site: Site, timeout: float = 10) -> Iterator[ssl.SSLSocket]:
    """Open a connection and speak TLS on it, the chain verified."""
    context = ssl.create_default_context(cafile=str(site.authority))
    context.set_alpn_protocols(["http/1.1"])
    with (
        socket.create_connection((site.address, 443), timeout) as plain,
        context.wrap_socket(plain, server_hostname=site.domain) as wire,
    ):
        yield wire


def said(wire: socket.socket) -> Said:
    """Return what comes until the end, or until nothing more comes."""
    text, closed = b"", False
    try:
        while not closed:
            more = wire.recv(65536)
            text, closed = text + more, not more
    except TimeoutError:
        pass
    except OSError:
        closed = True
    return Said([int(found) for found in STATUS.findall(text)], text, closed)


def told(site: Site, *parts: bytes, patience: float = 3) -> Said:
    """Send bytes and return what the server says to them."""
    with secured(site, patience) as wire:
        # It may close before it has taken all.
        with contextlib.suppress(OSError):
            for part in parts:
                wire.sendall(part)
        return said(wire)
