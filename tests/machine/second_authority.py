"""A second authority of a lab, beside its own: another Pebble that can be away, and knows its customers.

In front of it stands its directory, as an authority has it that tells under which names CAA records know it;
Pebble itself does not.
"""

import contextlib
import http.server
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ACME, ADMIN, DIRECTORY = 14001, 15001, 14002
KEY_ID, HMAC_KEY = "customer-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
IDENTITY = "authority.lab.test"


class SecondAuthority:
    """It asks its questions with the resolver of another machine."""

    def __init__(self, info: dict[str, Any], folder: Path, resolver: str) -> None:
        self.gateway, self.state = str(info["gateway"]), Path(info["state_dir"])
        self.folder, self.resolver = folder, resolver
        self.log = folder / "pebble.log"
        self.root = folder / "root.pem"
        self.url = f"https://acme.lab.test:{DIRECTORY}/dir"
        self._pebble: subprocess.Popen[bytes] | None = None
        self._front: http.server.ThreadingHTTPServer | None = None

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.state / "ca/ca.pem"))

    def get(self, port: int, path: str) -> bytes:
        """Return what it answers, never by way of a proxy."""
        tls = urllib.request.HTTPSHandler(context=self._context())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), tls)
        with opener.open(f"https://{self.gateway}:{port}{path}", timeout=3) as answer:
            return bytes(answer.read())

    def open(self) -> None:
        """Answer from now on; return when it does."""
        if self._pebble is None:
            self._start()

    def _start(self) -> None:
        settings = {
            "listenAddress": f"{self.gateway}:{ACME}",
            "managementListenAddress": f"{self.gateway}:{ADMIN}",
            "certificate": f"{self.state}/ca/server.pem",
            "privateKey": f"{self.state}/ca/server.key",
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": True,
            "externalAccountMACKeys": {KEY_ID: HMAC_KEY},
        }
        config = self.folder / "pebble.json"
        config.write_text(json.dumps({"pebble": settings}))
        environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
        with self.log.open("ab") as log:
            self._pebble = subprocess.Popen(
                ["pebble", "-config", str(config), "-dnsserver", f"{self.resolver}:53"],
                env=environment, stdout=log, stderr=log,
            )  # fmt: skip
        end = time.monotonic() + 15
        while True:
            try:
                self.root.write_bytes(self.get(ADMIN, "/roots/0"))
                break
            except OSError:
                assert time.monotonic() < end, self.log.read_text()
                time.sleep(0.1)
        self._open_front()

    def _open_front(self) -> None:
        directory = json.loads(self.get(ACME, "/dir"))
        names = {key: str(value) for key, value in directory.items() if key != "meta"}
        # Pebble writes its addresses as it was asked for them.
        told = {key: value.replace(f"{self.gateway}:", "acme.lab.test:") for key, value in names.items()}
        text = json.dumps({**told, "meta": {**directory["meta"], "caaIdentities": [IDENTITY]}}).encode()

        class Front(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                pass

        front = http.server.ThreadingHTTPServer((self.gateway, DIRECTORY), Front)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.state / "ca/server.pem", self.state / "ca/server.key")
        front.socket = tls.wrap_socket(front.socket, server_side=True)
        threading.Thread(target=front.serve_forever, daemon=True).start()
        self._front = front

    def stop(self) -> None:
        """Be away."""
        if self._front:
            self._front.shutdown()
            self._front.server_close()
        if self._pebble:
            self._pebble.terminate()
            self._pebble.wait(10)
        self._front = self._pebble = None

    def orders(self) -> int:
        """Return how often it was asked for a certificate."""
        return self.log.read_text().count("/order-plz")


@contextmanager
def second_authority(info: dict[str, Any], folder: Path, resolver: str) -> Iterator[SecondAuthority]:
    """Have one that is away until it is started."""
    found = SecondAuthority(info, folder, resolver)
    found.log.touch()
    with contextlib.ExitStack() as stack:
        stack.callback(found.stop)
        yield found
