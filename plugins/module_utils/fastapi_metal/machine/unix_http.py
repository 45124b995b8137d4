"""HTTP over a unix socket. Imported only where it is needed: the library behind it takes long to load."""

import http.client
import socket

from .interface import Answer, Probe


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, probe: Probe) -> None:
        super().__init__("localhost", timeout=probe.timeout)
        self.path = str(probe.socket)

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(probe: Probe) -> Answer:
    """Ask as Nginx would: through the socket, with the headers that it sets."""
    connection = UnixConnection(probe)
    headers = {"Host": probe.host, "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"}
    try:
        connection.request("GET", probe.path, headers={**headers, "Connection": "close"})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException) as error:
        return Answer(None, f"no answer ({error or type(error).__name__})")
    finally:
        connection.close()
    return Answer(response.status)
