"""Changes as they happen."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError
from starlette.datastructures import State

from catalog import changes, feed
from catalog.changes import BACKLOG, NOTHING, Change, Event, Hub, Seen, Signal, newest
from catalog.follow import Follower, read
from catalog.settings import Settings
from tests.conftest import running
from tests.servers import Gunicorn, PostgreSQL, gunicorn, wait_for

MUG = {"sku": "MUG-1", "name": "Blue mug", "price": "12.50"}
ANY = {"If-Match": "*"}
Told = tuple[str, str, dict[str, Any]]


@pytest.fixture
def app(postgresql_url: str) -> Iterator[Gunicorn]:
    """Return a running application with two workers."""
    with gunicorn({"DATABASE_URL": postgresql_url}, preload=True) as running_app:
        wait_for(running_app.ready, "not ready", running_app.output)
        yield running_app


def _parse(lines: Iterator[str]) -> Iterator[Told]:
    """Yield id, kind and data of each event."""
    said = {"id": "", "event": ""}
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "data":
            yield said["id"], said["event"], json.loads(value)
        elif name:
            said[name] = value


def _follow(app: Gunicorn, count: int, last: str | None = None) -> list[Told]:
    """Return the first events, or all until the stream ends."""
    headers = {"Last-Event-ID": last} if last else {}
    with app.client() as client, client.stream("GET", "/events", headers=headers) as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        told = _parse(response.iter_lines())
        return [event for _, event in zip(range(count), told, strict=False)]


def _listeners(server: PostgreSQL) -> int:
    with server.connect("catalog") as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '% changes'"
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(str(row[0]))


def _change(what: str, action: str, key: int | str | None) -> dict[str, Any]:
    return {"what": what, "action": action, "key": key}


def test_everybody_hears_what_any_worker_writes_and_the_end(app: Gunicorn, server: PostgreSQL) -> None:
    """Six clients on two workers hear every write, once and in order, and at SIGTERM the streams end."""
    wait_for(lambda: _listeners(server) == 2, "a worker does not listen", app.output)
    with ThreadPoolExecutor(6) as threads:
        following = [threads.submit(_follow, app, 99) for _ in range(6)]
        with app.client() as client:
            wait_for(lambda: "\nfeeds 6.0" in client.get("/metrics").text, "not all of them follow")
            where = client.post("/products", json=MUG).headers["Location"]
            client.patch(where, json={"name": "New"}, headers=ANY)
            client.post("/products", json=MUG)
            client.post("/categories", json={"slug": "mugs", "name": "Mugs"})
            table = {"Content-Type": "text/csv"}
            client.post("/import/products", content="sku,name,price\nA,a,1\nB,b,2\n", headers=table)
            client.delete(where, headers=ANY)
        key = int(where.rpartition("/")[2])
        expected = [
            ("reset", {}),
            ("change", _change("product", "created", key)),
            ("change", _change("product", "changed", key)),
            ("change", _change("category", "created", "mugs")),
            ("change", _change("import", "imported", None)),
            ("change", _change("product", "deleted", key)),
        ]
        app.process.terminate()
        for stream in following:
            events = stream.result(timeout=15)
            assert [event[1:] for event in events] == expected
            assert [int(number.partition("-")[0]) for number, _, _ in events] == list(range(6))
        assert app.process.wait(10) == 0


def test_what_a_client_missed_is_told_by_another_host(app: Gunicorn, postgresql_url: str) -> None:
    """It goes on behind the last event it has, on whichever worker of whichever host."""
    with app.client() as client:
        where = client.post("/products", json=MUG).headers["Location"]
        ((begin, kind, _),) = _follow(app, 1)
        assert kind == "reset"
        client.patch(where, json={"name": "New"}, headers=ANY)
    key = int(where.rpartition("/")[2])
    ((first, _, told),) = _follow(app, 1, begin)
    assert told == _change("product", "changed", key)
    with gunicorn({"DATABASE_URL": postgresql_url}, preload=True) as other:
        wait_for(other.ready, "not ready", other.output)
        with other.client() as client:
            for number in range(3):
                client.post("/products", json=MUG | {"sku": f"S-{number}"})
            client.delete(where, headers=ANY)
        for host in (app, other):
            for _ in range(4):
                events = _follow(host, 4, first)
                assert [kind for _, kind, _ in events] == ["change"] * 4
                assert [data["action"] for _, _, data in events] == ["created"] * 3 + ["deleted"]
                # The first one that it got before is not told again.
                assert first not in [number for number, _, _ in events]


def _state(client: httpx.AsyncClient) -> State:
    state: State = client._transport.app.state  # type: ignore[attr-defined]
    return state


async def _events(client: httpx.AsyncClient, seen: Seen | None) -> AsyncIterator[Told]:
    """Follow in this process; httpx would wait for the end of the answer."""
    state = _state(client)
    async for text in feed._stream(state.hub, state.database, state.drain, seen):
        for event in _parse(iter(text.split("\n"))):
            yield event


async def _first(client: httpx.AsyncClient, seen: Seen | None, count: int = 1) -> list[Told]:
    """Return the first events."""
    told: list[Told] = []
    events = _events(client, seen)
    async with asyncio.timeout(10):
        while len(told) < count:
            told.append(await anext(events))
    await events.aclose()  # type: ignore[attr-defined]
    return told


async def _until_connected(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while not _state(client).hub.connected:
            await asyncio.sleep(0.01)


async def test_two_workers_on_one_file_hear_each_other(sqlite_url: str) -> None:
    """SQLite tells nobody, but every worker sees soon that the file has changed."""
    settings = Settings(database_url=sqlite_url)
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(running(settings)) for _ in range(2)]
        streams = [_events(one, None), _events(other, None)]
        async with asyncio.timeout(10):
            assert [(await anext(stream))[1] for stream in streams] == ["reset"] * 2
            # Both listen by now: a reset comes behind the subscription.
            for number, client in enumerate((one, other, one, one, other), 1):
                await client.post("/products", json=MUG | {"sku": f"S-{number}"})
                await client.post("/products", json=MUG | {"sku": f"S-{number}"})
            for stream in streams:
                told = [await anext(stream) for _ in range(5)]
                assert [data["key"] for _, _, data in told] == [1, 2, 3, 4, 5]
        for stream in streams:
            await stream.aclose()  # type: ignore[attr-defined]


async def test_there_is_a_reset_only_where_it_cannot_go_on(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too old, of another history, or of nobody; not for what was never anything, nor for the last one."""
    monkeypatch.setattr(changes, "_SWEEP", 2)
    monkeypatch.setattr(changes, "KEPT", 3)
    monkeypatch.setattr(changes, "PAGE", 2)
    monkeypatch.setattr(feed, "PAGE", 2)
    engine = _state(client).database.autocommit
    assert await _first(client, None) == [("0-0", "reset", {})]
    await client.post("/products", json=MUG)
    first = await newest(engine)
    assert first.number == 1
    assert [data["key"] for _, _, data in await _first(client, NOTHING)] == [1]
    for number in range(5):
        await client.post("/products", json=MUG | {"sku": f"S-{number}"})
    last = await newest(engine)
    for gone in (NOTHING, first, Seen(7, 7), Seen(6, last.moment + 1), None):
        assert await _first(client, gone) == [(str(last), "reset", {})]
    await client.post("/products", json=MUG | {"sku": "NEXT"})
    assert [data["key"] for _, _, data in await _first(client, last)] == [7]


async def test_several_pages_are_told_as_one(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much was missed, it comes in order and once, and goes over into what happens now."""
    monkeypatch.setattr(changes, "PAGE", 3)
    monkeypatch.setattr(feed, "PAGE", 3)
    await client.post("/products", json=MUG)
    seen = await newest(_state(client).database.autocommit)
    for number in range(10):
        await client.post("/products", json=MUG | {"sku": f"S-{number}"})
    stream = _events(client, seen)
    async with asyncio.timeout(10):
        told = [await anext(stream) for _ in range(10)]
        await client.post("/products", json=MUG | {"sku": "NOW"})
        told.append(await anext(stream))
    assert [int(number.partition("-")[0]) for number, _, _ in told] == list(range(2, 13))
    await stream.aclose()  # type: ignore[attr-defined]


async def test_what_is_taken_back_is_not_told(client: httpx.AsyncClient) -> None:
    """The change is written with what it tells of, or neither is."""
    await client.post("/products", json=MUG)
    for body in (MUG, MUG | {"sku": "B", "category": "none"}):
        assert (await client.post("/products", json=body)).status_code == 409
    assert (await newest(_state(client).database.autocommit)).number == 1


async def test_there_are_as_many_feeds_as_allowed(sqlite_url: str) -> None:
    """One more is told to come later; an id that was never given out is refused."""
    async with running(Settings(database_url=sqlite_url, feeds=0)) as client:
        response = await client.get("/events")
        assert response.status_code == 503
        assert response.json()["type"] == "urn:problem-type:catalog:too-many-feeds"
        assert response.headers["Retry-After"] == "5"
        for bad in ("x", "", "1", "1-", "-1-0", "1-G", "9" * 19 + "-0"):
            response = await client.get("/events", headers={"Last-Event-ID": bad})
            assert response.status_code == 422
            (error,) = response.json()["errors"]
            assert (error["where"], error["field"]) == ("header", "/last-event-id")


def _event(number: int) -> Event:
    return Event(Seen(number, number), Change(what="product", action="created", key=number))


async def test_who_reads_too_slowly_looks_into_the_table() -> None:
    """A client that is far behind costs no memory, and knows that it has missed something."""
    hub = Hub()
    with hub.subscribed() as slow, hub.subscribed() as quick:
        for number in range(BACKLOG):
            hub.publish(_event(number))
            assert quick.get_nowait() == _event(number)
        hub.publish(_event(BACKLOG))
        assert slow.get_nowait() is Signal.LOOK
        assert slow.empty()
        assert quick.get_nowait() == _event(BACKLOG)
    assert hub.clients == 0


async def test_a_worker_that_missed_a_message_reads_it(client: httpx.AsyncClient) -> None:
    """A gap in the numbers, a message that comes twice, and one of another history: all lead to the table."""
    hub, engine = Hub(), _state(client).database.autocommit
    follower = Follower(engine, hub)
    await follower.catch_up()
    for number in range(3):
        await client.post("/products", json=MUG | {"sku": f"S-{number}"})
    with hub.subscribed() as queue:
        await follower.hear(_event(3))
        assert [queue.get_nowait().at.number for _ in range(3)] == [1, 2, 3]  # type: ignore[union-attr]
        await follower.hear(_event(3))
        await follower.hear(_event(2))
        assert queue.empty()
        await follower.hear(_event(4))
        assert queue.get_nowait() == _event(4)
        # That one is not in the table.
        await follower.hear(_event(6))
        assert queue.get_nowait() is Signal.LOOK
        await follower.hear(None)
        assert queue.get_nowait() is Signal.UNKNOWN


async def test_what_another_release_tells_is_a_reset(client: httpx.AsyncClient) -> None:
    """Something was written, and it is not known what."""
    assert read('{"what": "product", "action": "created", "key": 7}') is None
    assert read('1-a {"what": "moon"}') is None
    assert read('7-a {"what": "product", "action": "created", "key": 7}') == Event(
        Seen(7, 10), Change(what="product", action="created", key=7)
    )
    stream = _events(client, None)
    async with asyncio.timeout(10):
        assert await anext(stream) == ("0-0", "reset", {})
        _state(client).hub.publish(Signal.UNKNOWN)
        assert await anext(stream) == ("0-0", "reset", {})
    await stream.aclose()  # type: ignore[attr-defined]


async def test_after_a_restart_of_the_database_it_goes_on(server: PostgreSQL, postgresql_url: str) -> None:
    """The stream stays, and tells of every change, also of those that this worker could not hear."""
    async with running(Settings(database_url=postgresql_url)) as client:
        await _until_connected(client)
        stream = _events(client, None)
        async with asyncio.timeout(20):
            assert (await anext(stream))[1] == "reset"
            server.stop()
            while _state(client).hub.connected:
                await asyncio.sleep(0.01)
            # In this thread: the server ends with the one that has started it.
            server.start()
            await _write(client)
            assert (await anext(stream))[1:] == ("change", _change("product", "created", 1))
        await stream.aclose()  # type: ignore[attr-defined]


async def test_a_stream_that_begins_without_a_database_waits_for_it(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error would make a browser give up for good."""
    real = changes.after
    away = [True, False, False]

    async def after(*arguments: Any) -> Any:
        if away.pop(0):
            raise OperationalError("", {}, Exception("away"))
        return await real(*arguments)

    monkeypatch.setattr(feed, "after", after)
    monkeypatch.setattr(feed, "_RETRY", 0.01)
    async with running(Settings(database_url=sqlite_url)) as client:
        state = _state(client)
        texts = feed._stream(state.hub, state.database, state.drain, NOTHING)
        assert await anext(texts) == "retry: 1000\n\n"
        assert await anext(texts) == ": the database does not answer\n\n"
        await _write(client)
        assert "created" in await anext(texts)
        monkeypatch.setattr(feed, "_HEARTBEAT", 0.01)
        state.drain.begun.set()
        assert [text async for text in texts] == []


async def test_a_connection_on_which_nothing_comes_is_kept(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would end it otherwise."""
    monkeypatch.setattr(feed, "_HEARTBEAT", 0.01)
    async with running(Settings(database_url=sqlite_url)) as client:
        state = _state(client)
        texts = feed._stream(state.hub, state.database, state.drain, None)
        told = [await anext(texts) for _ in range(4)]
        assert told[2:] == [": nothing new\n\n"] * 2
        await texts.aclose()  # type: ignore[attr-defined]


async def _write(client: httpx.AsyncClient) -> None:
    assert (await client.post("/products", json=MUG)).status_code == 201
