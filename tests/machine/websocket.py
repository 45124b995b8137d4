"""As much of a websocket client as a test needs: short texts, over TLS, to a given address."""

import base64
import os
import socket
import ssl
import struct
from types import TracebackType

from client import Site


class WebSocket:
    """One open websocket."""

    def __init__(self, site: Site, path: str, timeout: float = 15) -> None:
        context = ssl.create_default_context(cafile=str(site.authority))
        plain = socket.create_connection((site.address, 443), timeout)
        self.socket = context.wrap_socket(plain, server_hostname=site.domain)
        self.file = self.socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {site.domain}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        ]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.status = int(self.file.readline().split()[1])
        while self.file.readline().strip():
            pass

    def __enter__(self) -> "WebSocket":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
        self.socket.close()

    def send(self, text: str) -> None:
        """Send a text of less than 126 bytes, masked as a client must."""
        data, mask = text.encode(), os.urandom(4)
        assert len(data) < 126
        masked = bytes(byte ^ mask[number % 4] for number, byte in enumerate(data))
        self.socket.sendall(bytes([0x81, 0x80 | len(data)]) + mask + masked)

    def receive(self) -> str:
        """Return the next text."""
        first, length = self.file.read(2)
        if length == 126:
            (length,) = struct.unpack("!H", self.file.read(2))
        assert first == 0x81, f"no text but a frame of kind {first:#x}"
        return self.file.read(length).decode()
