"""The few things that the engine reads from a real kernel, tried on this one."""

import http.server
import os
import socket
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi_metal.machine import debian
from fastapi_metal.machine.debian import Debian, instance
from fastapi_metal.machine.interface import Probe


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a directory whose name leaves room for a socket's: a socket's path has 107 bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


def test_requests_queued_and_in_flight_are_counted(short_path: Path) -> None:
    """Accepted or not, a connection is a request that must be answered; the listener is none."""
    path = short_path / "app.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert Debian().connections(path) == 0
        with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
            first.connect(str(path))
            assert Debian().connections(path) == 1
            second.connect(str(path))
            accepted, _ = listener.accept()
            with accepted:
                assert Debian().connections(path) == 2
        assert Debian().connections(short_path / "other.sock") == 0


def test_children_are_those_of_one_process() -> None:
    """Only what a master itself has started is a worker."""
    child = subprocess.Popen(["sleep", "30"])
    try:
        assert child.pid in Debian().children(os.getpid())
        assert Debian().children(child.pid) == frozenset()
    finally:
        child.kill()
        child.wait()
    assert Debian().children(child.pid) == frozenset()


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers with the status in the path, if it is asked as Nginx asks."""

    def do_GET(self) -> None:
        """Answer."""
        right = self.headers["Host"] == "shop.example.org" and self.headers["X-Forwarded-Proto"] == "https"
        self.send_response(int(self.path[1:]) if right else 421)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
        """Say nothing."""

    def address_string(self) -> str:
        """A unix socket has no address."""
        return ""


def test_a_probe_asks_as_nginx_does(short_path: Path) -> None:
    """Host and scheme are the public ones; no answer is told with its reason."""
    path = short_path / "app.sock"
    with socketserver.UnixStreamServer(str(path), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            machine = Debian()
            assert machine.probe(Probe(path, "shop.example.org", "/200", 5.0)).status == 200
            assert machine.probe(Probe(path, "shop.example.org", "/503", 5.0)).status == 503
        finally:
            server.shutdown()
    answer = machine.probe(Probe(short_path / "none.sock", "shop.example.org", "/200", 5.0))
    assert answer.status is None
    assert "No such file" in str(answer)


@pytest.mark.parametrize("unit", ["shop@20261121T2210-3f9c1a.service", "shop@20261121T2210-3f9c1a.socket"])
def test_a_release_is_read_out_of_its_unit(unit: str) -> None:
    """The id holds a minus sign, which systemd's own escaping would spoil."""
    assert instance(unit) == "20261121T2210-3f9c1a"


def test_installing_leaves_the_processor_to_who_serves(tmp_path: Path) -> None:
    """What runs to make a release is nicer than what made it run."""
    assert Debian().run(["nice"], tmp_path, {}).text.strip() == str(min(os.nice(0) + 10, 19))


@pytest.mark.parametrize(
    ("said", "active", "alive"),
    [
        ("ActiveState=inactive\nJob=\n", "inactive", False),
        ("ActiveState=inactive\nJob=4711\n", "activating", True),
        ("ActiveState=failed\nJob=4711\n", "activating", True),
        ("ActiveState=active\nJob=4711\n", "active", True),
    ],
)
def test_a_unit_that_is_about_to_start_has_not_ended(
    monkeypatch: pytest.MonkeyPatch, said: str, active: str, alive: bool
) -> None:
    """Right after it was asked to start a unit, a busy systemd has not begun."""
    monkeypatch.setattr(debian, "command", lambda *_: said)
    state = Debian().state("shop@20261121T2210-3f9c1a.service")
    assert (state.active, state.alive) == (active, alive)


def test_what_starts_at_boot_is_on_disk_before_the_traffic_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The links of the service and of its socket, and the directories that may be new with them."""
    unit, listener = "shop@20261121T2210-3f9c1a.service", "shop@20261121T2210-3f9c1a.socket"
    links = {tmp_path / "multi-user.target.wants" / unit, tmp_path / "sockets.target.wants" / listener}
    synced = set()
    (tmp_path / f"{unit}.d").mkdir()

    def systemctl(*argv: str) -> str:
        assert argv == ("systemctl", "enable", "--quiet", unit)
        for link in links:
            link.parent.mkdir()
            link.symlink_to(tmp_path / "shop@.service")
        return ""

    def sync(path: Path) -> None:
        assert all(link.is_symlink() for link in links)
        synced.add(path)

    monkeypatch.setattr(debian, "UNITS", tmp_path)
    monkeypatch.setattr(debian, "command", systemctl)
    monkeypatch.setattr(debian, "sync_directory", sync)
    monkeypatch.setattr(os, "sync", lambda: pytest.fail("all of the disk"))
    Debian().enable(unit)
    assert synced == {tmp_path, *(link.parent for link in links)}
