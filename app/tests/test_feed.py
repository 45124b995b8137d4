"""Changes as they happen."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from catalog.changes import _BACKLOG, Change, Hub, _read
from catalog.settings import Settings
from tests.conftest import running
from tests.servers import Gunicorn, PostgreSQL, gunicorn, wait_for

MUG = {"sku": "MUG-1", "name": "Blue mug", "price": "12.50"}


@pytest.fixture
def app(postgresql_url: str) -> Iterator[Gunicorn]:
    """Return a running application with two workers."""
    with gunicorn({"DATABASE_URL": postgresql_url}) as running_app:
        wait_for(running_app.ready, "not ready", running_app.output)
        yield running_app


def _follow(app: Gunicorn, count: int) -> list[tuple[str, dict[str, Any]]]:
    """Return the first events that are no heartbeat, or all until the stream ends."""
    events: list[tuple[str, dict[str, Any]]] = []
    with app.client() as client, client.stream("GET", "/events") as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        kind = ""
        for line in response.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                events.append((kind, json.loads(line.removeprefix("data: "))))
                if len(events) == count:
                    break
    return events


def _listeners(server: PostgreSQL) -> int:
    with server.connect("catalog") as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '% changes'"
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(str(row[0]))


def test_everybody_hears_what_any_worker_writes_and_the_end(app: Gunicorn, server: PostgreSQL) -> None:
    """Six clients on two workers hear every write, once and in order, and at SIGTERM the streams end."""
    wait_for(lambda: _listeners(server) == 2, "a worker does not listen", app.output)
    with ThreadPoolExecutor(6) as threads:
        following = [threads.submit(_follow, app, 99) for _ in range(6)]
        with app.client() as client:
            wait_for(lambda: "\nfeeds 6.0" in client.get("/metrics").text, "not all of them follow")
            where = client.post("/products", json=MUG).headers["Location"]
            client.patch(where, json={"name": "New"}, headers={"If-Match": "*"})
            client.post("/products", json=MUG)
            client.post("/categories", json={"slug": "mugs", "name": "Mugs"})
            table = {"Content-Type": "text/csv"}
            client.post("/import/products", content="sku,name,price\nA,a,1\nB,b,2\n", headers=table)
            client.delete(where, headers={"If-Match": "*"})
        key = int(where.rpartition("/")[2])
        expected = [
            ("reset", {}),
            ("change", {"what": "product", "action": "created", "key": key}),
            ("change", {"what": "product", "action": "changed", "key": key}),
            ("change", {"what": "category", "action": "created", "key": "mugs"}),
            ("change", {"what": "import", "action": "imported", "key": None}),
            ("change", {"what": "product", "action": "deleted", "key": key}),
        ]
        app.process.terminate()
        for stream in following:
            assert stream.result(timeout=15) == expected
        assert app.process.wait(10) == 0


async def test_sqlite_tells_its_own_worker(sqlite_url: str) -> None:
    """Where the database has no messages, a worker hears of what it writes itself."""
    async with running(Settings(database_url=sqlite_url)) as client:
        hub: Hub = client._transport.app.state.hub  # type: ignore[attr-defined]
        with hub.subscribed() as queue:
            await client.post("/products", json=MUG)
            await client.post("/products", json=MUG)
            assert queue.get_nowait() == Change(what="product", action="created", key=1)
            assert queue.empty()


async def test_there_are_as_many_feeds_as_allowed(sqlite_url: str) -> None:
    """One more is told to come later."""
    async with running(Settings(database_url=sqlite_url, feeds=0)) as client:
        response = await client.get("/events")
        assert response.status_code == 503
        assert response.json()["type"] == "urn:problem-type:catalog:too-many-feeds"
        assert response.headers["Retry-After"] == "5"


async def test_who_reads_too_slowly_is_told_to_begin_again() -> None:
    """A client that is far behind costs no memory, and knows that it has missed something."""
    hub = Hub()
    change = Change(what="product", action="created", key=1)
    with hub.subscribed() as slow, hub.subscribed() as quick:
        for _ in range(_BACKLOG):
            hub.publish(change)
            assert quick.get_nowait() == change
        hub.publish(change)
        assert slow.get_nowait() is None
        assert slow.empty()
        assert quick.get_nowait() == change
    assert hub.clients == 0


def test_what_another_release_tells_is_a_reset() -> None:
    """Something was written, and it is not known what."""
    assert _read('{"what": "moon"}') is None
    assert _read("nonsense") is None


async def test_after_a_restart_of_the_database_it_goes_on(server: PostgreSQL, postgresql_url: str) -> None:
    """The stream stays, says that something may have been missed, and then tells of changes again."""
    async with running(Settings(database_url=postgresql_url)) as client:
        hub: Hub = client._transport.app.state.hub  # type: ignore[attr-defined]
        async with asyncio.timeout(20):
            while not hub.connected:
                await asyncio.sleep(0.01)
            with hub.subscribed() as queue:
                server.stop()
                assert await queue.get() is None
                assert not hub.connected
                # In this thread: the server ends with the one that has started it.
                server.start()
                assert await queue.get() is None
                assert hub.connected
                await _write(client)
                assert (await queue.get()) == Change(what="product", action="created", key=1)


async def _write(client: httpx.AsyncClient) -> None:
    assert (await client.post("/products", json=MUG)).status_code == 201
