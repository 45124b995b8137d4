"""Ask a site of the lab as a browser would: by its name, over HTTPS, the chain verified."""

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any


class _Connection(http.client.HTTPSConnection):
    """An HTTPS connection that goes to a given address instead of asking DNS."""

    def __init__(self, domain: str, address: str, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(domain, 443, context=context, timeout=timeout)
        self._address = address
        self._tls = context

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


# Its hash is in inventories/lab/group_vars/all/apps.yml.
WRITE_KEY = "known-to-everybody-good-for-the-lab-alone"


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers (names in lower case), body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Site:
    """A site of the lab; every request opens a connection of its own."""

    domain: str
    address: str
    authority: Path
    # With which it is written to.
    key: str = WRITE_KEY

    def request(
        self, method: str, path: str, document: Any = None, timeout: float = 15, **more: str
    ) -> Answer:
        """Send one request; `OSError` (also of TLS) or `HTTPException` when no answer comes.

        More headers come by their name, with `_` for `-`.
        """
        context = ssl.create_default_context(cafile=str(self.authority))
        connection = _Connection(self.domain, self.address, context, timeout)
        body = None if document is None else json.dumps(document)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"} if body else {}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """Ask for a path."""
        return self.request("GET", path, None, 15, **headers)

    def is_well(self, path: str = "/health/ready") -> bool:
        """Tell whether the path answers 200."""
        try:
            return self.get(path).status == 200
        except (OSError, http.client.HTTPException):
            return False


def wait_until(what: str, ask: Callable[[], bool], seconds: float = 60) -> float:
    """Wait until `ask` is true; return after how many seconds it was, fail naming `what` when it never is."""
    begun = time.monotonic()
    while not ask():
        if time.monotonic() - begun > seconds:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        time.sleep(0.2)
    return time.monotonic() - begun


@dataclass(frozen=True)
class Record:
    """One request of the load: when it began and ended (monotonic seconds), its status (0: no answer)."""

    begun: float
    ended: float
    method: str
    status: int
    release: str
    error: str

    @property
    def good(self) -> bool:
        """Tell whether the answer is one that a user would call an answer."""
        return 200 <= self.status < 300


@dataclass
class Load:
    """What a running load has recorded so far."""

    records: list[Record] = field(default_factory=list)

    def bad(self) -> list[Record]:
        """Return the requests that got no good answer."""
        return [record for record in self.records if not record.good]

    def near(self, instant: float, seconds: float = 1.0) -> int:
        """Return how many requests began within so many seconds of an instant."""
        return sum(abs(record.begun - instant) <= seconds for record in self.records)

    def around(self, instant: float, seconds: float = 1.0) -> tuple[int, int]:
        """Return how many requests began within so many seconds before an instant, and after it."""
        begun = [record.begun - instant for record in self.records]
        return sum(-seconds <= away < 0 for away in begun), sum(0 <= away <= seconds for away in begun)

    def releases(self) -> list[str]:
        """Return the releases that answered, in order of their first answer."""
        return list(dict.fromkeys(record.release for record in self.records if record.release))

    def longest_pause(self) -> float:
        """Return the longest time, in seconds, in which no request ended well."""
        ends = sorted(record.ended for record in self.records if record.good)
        return max((later - earlier for earlier, later in pairwise(ends)), default=0.0)


def _ask(site: Site, method: str, path: str, document: Any) -> Record:
    begun = time.monotonic()
    try:
        answer = site.request(method, path, document)
    except (OSError, http.client.HTTPException) as problem:
        return Record(begun, time.monotonic(), method, 0, "", repr(problem))
    release = answer.json().get("release", "") if path == "/version" and answer.status == 200 else ""
    error = "" if answer.status < 400 else answer.body[:200].decode(errors="replace")
    return Record(begun, time.monotonic(), method, answer.status, release, error)


@contextmanager
def load(
    site: Site, post: Callable[[int], tuple[str, Any]], clients: int = 4, seconds: float = 180
) -> Iterator[Load]:
    """Keep clients asking while the block runs: three GETs of /version, then one POST.

    `post(number)` gives the path and the document. The load ends with the block, or after so many
    seconds, whatever comes first.
    """
    running = Load()
    stop = threading.Event()
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        turn = 0
        while not stop.is_set() and time.monotonic() < end:
            turn += 1
            if turn % 4:
                running.records.append(_ask(site, "GET", "/version", None))
            else:
                running.records.append(_ask(site, "POST", *post(number * 1_000_000 + turn)))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def product(number: int | str) -> tuple[str, dict[str, Any]]:
    """Return where a product is made in the reference application, and one of its own."""
    return "/products", {
        "sku": f"T-{number}".upper(),
        "name": f"Trial {number}",
        "price": "12.50",
        "currency": "EUR",
    }
