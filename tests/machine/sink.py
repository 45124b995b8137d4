"""A receiver of alerts on the controller: whatever Alertmanager tells it is remembered."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Sink:
    """What was told, alert by alert."""

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] = []
        self._messages: list[list[dict[str, Any]]] = []
        self._news = threading.Condition()
        self.port = 0

    def take(self, message: dict[str, Any]) -> None:
        """Remember a message's alerts."""
        with self._news:
            self._messages.append(message["alerts"])
            self._told += [
                {**alert, "at": time.time(), "began": datetime.fromisoformat(alert["startsAt"]).timestamp()}
                for alert in message["alerts"]
            ]
            self._news.notify_all()

    def told(self, name: str, status: str, since: float, **labels: str) -> dict[str, Any] | None:
        """Return an alert of that name that came since a time, if it did."""
        for alert in self._told:
            wanted = {"alertname": name, **labels}
            if (
                alert["at"] >= since
                and alert["status"] == status
                and wanted.items() <= alert["labels"].items()
            ):
                return alert
        return None

    def messages(self, **labels: str) -> list[tuple[str, ...]]:
        """Return what each message about alerts with these labels said: its alerts, each with its state."""
        return [
            tuple(sorted(f"{alert['labels']['alertname']} {alert['status']}" for alert in alerts))
            for alerts in self._messages
            if any(labels.items() <= alert["labels"].items() for alert in alerts)
        ]

    def names(self, since: float, **labels: str) -> set[str]:
        """Return the names of all that began since a time, were told, and have these labels.

        Of two that watch, one may tell late what has ended meanwhile.
        """
        return {
            alert["labels"]["alertname"]
            for alert in self._told
            if alert["began"] >= since
            and alert["status"] == "firing"
            and labels.items() <= alert["labels"].items()
        }

    def wait(self, name: str, status: str, since: float, timeout: float, **labels: str) -> dict[str, Any]:
        """Wait until an alert was told."""
        deadline = time.monotonic() + timeout
        with self._news:
            while (found := self.told(name, status, since, **labels)) is None:
                left = deadline - time.monotonic()
                assert left > 0, f"{name} was not told as {status} in {timeout} s, but {self.names(since)}"
                self._news.wait(left)
        return found


@contextmanager
def sink(address: str, port: int) -> Iterator[Sink]:
    """Listen for as long as the block runs."""
    found = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.take(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer((address, port), Handler)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
