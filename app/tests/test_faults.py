"""Requests while what they need goes away in the middle of them, under Gunicorn, on PostgreSQL."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.servers import BEARER, Gunicorn, PostgreSQL, gunicorn, valkey, wait_for

ANY = {"If-Match": "*"}
_BUSY = "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid()"
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


@pytest.fixture
def app(postgresql_url: str) -> Iterator[Gunicorn]:
    """Return a running application with two workers and no cache: every read asks the database."""
    with gunicorn({"DATABASE_URL": postgresql_url, "CATALOG_CACHE_URL": "off"}, preload=True) as running_app:
        wait_for(running_app.ready, "not ready", running_app.output)
        yield running_app


class _Visitors:
    """Write and read without a pause, and remember what was answered."""

    def __init__(self, app: Gunicorn, count: int) -> None:
        self.written: list[str] = []
        self.statuses: list[tuple[float, str, int]] = []
        self._app = app
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(number,)) for number in range(count)]

    def __enter__(self) -> "_Visitors":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _visit(self, visitor: int) -> None:
        with self._app.client() as client:
            number = 0
            while not self._stopped.is_set():
                number += 1
                sku = f"V-{visitor}-{number}"
                response = client.post("/products", json={"sku": sku, "name": "x", "price": "1"})
                if response.status_code == 201:
                    self.written.append(sku)
                self._note("write", response)
                self._note("read", client.get(f"/products?limit=1&q={sku.lower()}"))

    def _note(self, kind: str, response: httpx.Response) -> None:
        if response.status_code == 503:
            assert response.headers["Retry-After"]
            assert response.json()["type"].startswith("urn:problem-type:catalog:")
        self.statuses.append((time.monotonic(), kind, response.status_code))

    def until(self, what: Callable[[Counter[tuple[str, int]]], bool], message: str) -> None:
        """Wait until what is answered from now on is as wanted."""
        begun = time.monotonic()
        wait_for(lambda: what(self.since(begun)), message, self._app.output)

    def since(self, begun: float) -> Counter[tuple[str, int]]:
        """Count answers."""
        return Counter((kind, status) for moment, kind, status in list(self.statuses) if moment > begun)


def test_the_database_restarts_under_load(app: Gunicorn, server: PostgreSQL) -> None:
    """503 while it is down, nothing else; then it works again by itself, and nothing is half there.

    Every write that was answered with 201 is there, with its entry in the feed; none is there without one.
    """
    with _Visitors(app, 4) as visitors:
        visitors.until(lambda seen: seen["write", 201] > 20 and seen["read", 200] > 20, "no start")
        server.stop()
        try:
            visitors.until(lambda seen: seen["write", 503] > 4 and seen["read", 503] > 4, "no 503")
        finally:
            server.start()
        up = time.monotonic()
        visitors.until(lambda seen: seen["write", 201] > 20 and seen["read", 200] > 20, "no recovery")
        assert time.monotonic() - up < 15
    assert {status for _, _, status in visitors.statuses} == {200, 201, 503}
    assert len(app.workers()) == 2
    with server.connect("catalog") as connection:
        there = {str(row[0]) for row in connection.execute("SELECT sku FROM products")}
        (told,) = connection.execute("SELECT count(*) FROM feed").fetchone() or (None,)
    assert set(visitors.written) <= there
    # One whose answer was lost is whole as well.
    assert told == len(there)
    assert len(there - set(visitors.written)) <= 4


def test_valkey_stops_and_comes_back_under_load(postgresql_url: str) -> None:
    """Nobody notices anything but the time that it takes."""
    with valkey() as cache:
        environment = {"DATABASE_URL": postgresql_url, "CATALOG_CACHE_URL": cache.url}
        with gunicorn(environment, preload=True) as app:
            wait_for(app.ready, "not ready", app.output)
            with _Visitors(app, 2) as visitors:
                visitors.until(lambda seen: seen["read", 200] > 20, "no start")
                cache.stop()
                visitors.until(lambda seen: seen["write", 201] > 20, "no answers without it")
                cache.start()
                visitors.until(lambda seen: seen["read", 200] > 20, "no answers with it again")
            assert {status for _, _, status in visitors.statuses} == {200, 201}


def _request(app: Gunicorn, head: str, body: bytes = b"") -> socket.socket:
    """Send a request by hand and return the connection, to be left alone or broken off."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(str(app.socket))
    lines = [head, "Host: catalog.test", f"Authorization: {BEARER['Authorization']}", "", ""]
    connection.sendall("\r\n".join(lines).encode() + body)
    return connection


def _settled(app: Gunicorn) -> bool:
    with app.client() as client:
        numbers = client.get("/metrics").text
    return "\nhttp_requests_in_flight 1.0\n" in numbers and "\nfeeds 0.0\n" in numbers


def _count(server: PostgreSQL, query: str) -> int:
    with server.connect("catalog") as connection:
        (count,) = connection.execute(query).fetchone() or (None,)
    assert isinstance(count, int)
    return count


def test_clients_that_go_away_in_a_stream_leave_nothing_behind(app: Gunicorn, server: PostgreSQL) -> None:
    """In an export, a feed and an import: no error, no connection that stays in use, nothing written."""
    rows = "".join(f"S-{number},{'x' * 150},1\n" for number in range(20_000))
    csv = {"Content-Type": "text/csv"}
    with app.client() as client:
        imported = client.post("/import/products", content="sku,name,price\n" + rows, headers=csv)
        assert imported.status_code == 200
    for _ in range(5):
        for path in ("/export/products", "/events"):
            with _request(app, f"GET {path} HTTP/1.1") as connection:
                assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        head = "POST /import/products HTTP/1.1\r\nContent-Type: text/csv\r\nContent-Length: 100000"
        with _request(app, head, b"sku,name,price\nHALF,x,1\n"):
            time.sleep(0.05)
    wait_for(lambda: _settled(app), "something is still in flight", app.output)
    wait_for(lambda: _count(server, _BUSY) == 0, "a statement still runs", app.output)
    output = app.output.read_text()
    assert '"level": "error"' not in output
    assert "Traceback" not in output
    with app.client() as client:
        assert client.get("/products?q=half").json()["items"] == []
        # Each as good as before.
        assert len(client.get("/export/products").text.splitlines()) == 20_001


def test_streams_in_flight_at_sigterm(app: Gunicorn, server: PostgreSQL) -> None:
    """An export is finished, an import is done whole, a feed ends, and the process ends with them."""
    rows = "".join(f"S-{number},{'x' * 150},1\n" for number in range(20_000))
    csv = {"Content-Type": "text/csv"}
    with app.client() as client:
        client.post("/import/products", content="sku,name,price\n" + rows, headers=csv)
    with ThreadPoolExecutor(4) as threads:
        began = [threading.Event() for _ in range(2)]

        def export() -> str:
            with app.client() as client, client.stream("GET", "/export/products") as response:
                pieces = []
                for piece in response.iter_text(100_000):
                    pieces.append(piece)
                    began[0].set()
                    time.sleep(0.02)
                return "".join(pieces)

        def follow() -> str:
            with app.client() as client, client.stream("GET", "/events") as response:
                text = ""
                for piece in response.iter_text():
                    text += piece
                    began[1].set()
                return text

        def write() -> int:
            with app.client() as client:
                table = "sku,name,price\n" + "".join(f"T-{number},x,1\n" for number in range(10_000))
                return client.post("/import/products", content=table, headers=csv).status_code

        exporting, following = threads.submit(export), threads.submit(follow)
        for event in began:
            assert event.wait(10)
        with server.connect("catalog") as other, other.transaction():
            other.execute("LOCK TABLE products IN SHARE MODE")
            writing = threads.submit(write)
            wait_for(lambda: _count(server, _WAITING) == 1, "the import did not begin", app.output)
            app.process.terminate()
            wait_for(lambda: not app.listens(), "it still takes connections")
        # What is written meanwhile may be in it or not.
        assert sum(line.startswith("S-") for line in exporting.result(30).splitlines()) == 20_000
        assert following.result(30).startswith("retry: 1000\n\n")
        assert writing.result(30) == 200
    assert app.process.wait(20) == 0
    with server.connect("catalog") as connection:
        assert connection.execute("SELECT count(*) FROM products").fetchone() == (30_000,)


def test_two_clients_race_on_one_product(app: Gunicorn) -> None:
    """With one tag: one of them changes it, the other is told; no change is lost or made twice."""
    with app.client() as client:
        created = client.post("/products", json={"sku": "RACE", "name": "0", "price": "1"})
        where, tag = created.headers["Location"], created.headers["ETag"]

        def change(name: str) -> httpx.Response:
            with app.client() as own:
                return own.patch(where, json={"name": name}, headers={"If-Match": tag})

        with ThreadPoolExecutor(2) as threads:
            for number in range(15):
                responses = list(threads.map(change, (f"a-{number}", f"b-{number}")))
                assert sorted(response.status_code for response in responses) == [200, 412]
                (won,) = [response for response in responses if response.status_code == 200]
                assert client.get(where).json() == won.json()
                tag = won.headers["ETag"]
        assert tag.startswith('"16-')
