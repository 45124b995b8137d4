"""What a release has counted is kept when it ends."""

import socket
import threading

from figures_machine import Machine
from machine_figures import last

ANSWER = b"# TYPE a_total counter\na_total 7\n# TYPE workers gauge\nworkers 4\n"


def serve(path: str, answer: bytes) -> threading.Thread:
    """Answer one request on a socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def once() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(answer)
        connection.close()
        listener.close()

    thread = threading.Thread(target=once)
    thread.start()
    return thread


def test_the_last_figures_are_kept(machine: Machine) -> None:
    """Counters as they were, for everybody to read, whatever the umask of the unit."""
    place = machine.release("r1", listens=False)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(ANSWER)}\r\n\r\n".encode()
    thread = serve(str(place / "app.sock"), head + ANSWER)
    assert last.keep(machine.config, "shop", "r1")
    thread.join()
    path = machine.config.last("shop", "r1")
    assert path.read_text() == "# TYPE a_total counter\na_total 7\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.parent.stat().st_mode & 0o777 == 0o755


def test_a_release_without_figures_holds_nothing_up(machine: Machine) -> None:
    """No socket, another status, an application that has none: nothing is written, nothing fails."""
    place = machine.release("r1", listens=False)
    assert not last.keep(machine.config, "shop", "r1")
    assert not last.keep(machine.config, "mute", "r1")
    assert not last.keep(machine.config, "unknown", "r1")
    thread = serve(str(place / "app.sock"), b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    assert not last.keep(machine.config, "shop", "r1")
    thread.join()
    assert not machine.config.last("shop", "r1").exists()
