"""Keeps what a release has counted when it ends.

Between the last time that Prometheus asked and the end some requests were answered. So systemd runs this
right before it stops a release, and for some minutes the figures are given out in the place of its own.
"""

import http.client
import socket
from pathlib import Path

from .config import App, Config
from .text import counted, write

# A release that does not answer must not hold up its own end.
PATIENCE = 3.0


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


def ask(path: Path, host: str) -> list[str]:
    """Return the lines of a release's figures; none where it has none to give."""
    connection = _Connection(path)
    try:
        connection.request("GET", "/metrics", headers={"Host": host, "X-Forwarded-Proto": "https"})
        answer = connection.getresponse()
        return answer.read().decode().splitlines() if answer.status == http.client.OK else []
    finally:
        connection.close()


def keep(config: Config, name: str, release: str) -> bool:
    """Write down what a release has counted; tell whether there was anything."""
    app = next((app for app in config.apps if app.name == name and app.host is not None), None)
    if app is None:
        return False
    return keep_from(config, app, release, config.home(name) / "releases" / release / "app.sock")


def keep_from(config: Config, app: App, release: str, path: Path) -> bool:
    """Ask at a socket, and write down what will still be true afterwards."""
    try:
        lines = counted(ask(path, str(app.host)))
    except (OSError, http.client.HTTPException, UnicodeDecodeError):
        return False
    if lines:
        place = config.last(app.name, release)
        for directory in (config.state, config.state / "last", place.parent):
            directory.mkdir(exist_ok=True)
            # A unit's umask is the application's, and the gateway must get in.
            directory.chmod(0o755)
        write(place, "".join(f"{line}\n" for line in lines))
    return bool(lines)
