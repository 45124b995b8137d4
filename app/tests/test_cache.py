"""What is kept of answers: never older than the last write, made once, and no matter when it is gone."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event

from catalog.cache import Entry
from catalog.settings import Settings
from tests.conftest import running
from tests.servers import PostgreSQL, Valkey, valkey

ANY = {"If-Match": "*"}
MUG = {"sku": "MUG-1", "name": "Blue mug", "price": "12.50"}


@pytest.fixture(scope="module")
def cache_server() -> Iterator[Valkey]:
    """Valkey or Redis, started once."""
    with valkey() as running_server:
        yield running_server


@pytest.fixture(params=["memory", "valkey"])
def cache_url(request: pytest.FixtureRequest) -> str:
    """Run the test with each cache."""
    if request.param == "memory":
        return "memory"
    server: Valkey = request.getfixturevalue("cache_server")
    server.flush()
    return server.url


@pytest.fixture
async def two(database_url: str, cache_url: str) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Return clients of two workers on one database."""
    settings = Settings.model_validate(
        {"database_url": database_url, "cache_url": cache_url, "cache_timeout": 5}
    )
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(running(settings)) for _ in range(2)]
        for client in clients:
            await _until_kept(client)
        yield clients


def _app(client: httpx.AsyncClient) -> FastAPI:
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    assert isinstance(transport.app, FastAPI)
    return transport.app


async def _until_kept(client: httpx.AsyncClient) -> None:
    """Wait until this worker keeps answers: on PostgreSQL it first has to hear those of others."""
    async with asyncio.timeout(10):
        while (await _app(client).state.cache.store.get("x"))[0] is None:
            await asyncio.sleep(0.01)


async def _until_heard(client: httpx.AsyncClient) -> None:
    """Wait until what was written before has been heard of: each change begins a new generation once more."""
    store, same, last = _app(client).state.cache.store, 0, ""
    async with asyncio.timeout(10):
        while same < 10:
            generation, _ = await store.get("x")
            same = same + 1 if generation is not None and generation == last else 0
            last = generation
            await asyncio.sleep(0.05)


class _Queries:
    """Counts what is sent to the database."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.count = 0
        engine = _app(client).state.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", self._one_more)

    def _one_more(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        # What the worker asks for itself, to hear of changes, is no request's.
        if "feed" not in statement:
            self.count += 1


async def _number(client: httpx.AsyncClient, result: str) -> float:
    text = (await client.get("/metrics")).text
    (line,) = [
        line for line in text.splitlines() if line.startswith(f'cache_reads_total{{result="{result}"}}')
    ]
    return float(line.split()[-1])


async def test_reads_ask_the_database_once(two: list[httpx.AsyncClient]) -> None:
    """One query for a product, one for a page; none for what is kept; and the answers are the same."""
    client = two[0]
    where = (await client.post("/products", json=MUG)).headers["Location"]
    await _until_heard(client)
    for path in (where, "/products?limit=10", "/products?q=mug&sort=-price"):
        queries = _Queries(client)
        first = await client.get(path)
        assert queries.count == 1
        second = await client.get(path)
        assert queries.count == 1
        assert second.content == first.content
        for name in ("ETag", "Cache-Control", "Content-Type"):
            assert second.headers[name] == first.headers[name]
        tag = {"If-None-Match": first.headers["ETag"]}
        assert (await client.get(path, headers=tag)).status_code == 304
        assert queries.count == 1
    assert await _number(client, "hit") == 6
    assert await _number(client, "miss") == 3


async def test_no_answer_is_older_than_the_last_write(two: list[httpx.AsyncClient]) -> None:
    """Each kind of write, made by one worker, is seen by it at once, and by the other one."""
    one, other = two
    where = (await one.post("/products", json=MUG)).headers["Location"]
    header = {"Content-Type": "text/csv"}
    writes: list[tuple[dict[str, Any], str]] = [
        ({"method": "PATCH", "url": where, "json": {"name": "Patched"}, "headers": ANY}, "Patched"),
        ({"method": "PUT", "url": where, "json": MUG | {"name": "Put"}, "headers": ANY}, "Put"),
        (
            {
                **{"method": "POST", "url": "/import/products?existing=replace", "headers": header},
                "content": "sku,name,price\nMUG-1,Imported,1\n",
            },
            "Imported",
        ),
    ]
    for write, name in writes:
        for client in two:
            await client.get(where)
            await client.get("/products")
        assert (await one.request(**write)).status_code == 200
        for path in (where, "/products"):
            assert name in (await one.get(path)).text
            await _soon(other, path, name)
    assert (await one.delete(where, headers=ANY)).status_code == 204
    assert (await one.get(where)).status_code == 404
    assert (await one.get("/products")).json()["items"] == []
    async with asyncio.timeout(5):
        while (await other.get(where)).status_code != 404:
            await asyncio.sleep(0.001)


async def _soon(client: httpx.AsyncClient, path: str, text: str) -> None:
    # Between two workers without Valkey, PostgreSQL's message takes some milliseconds.
    async with asyncio.timeout(5):
        while text not in (await client.get(path)).text:
            await asyncio.sleep(0.001)


async def test_what_was_read_before_a_write_is_not_kept_after_it(two: list[httpx.AsyncClient]) -> None:
    """A slow reader that comes back with the old answer after a write does not bring it back."""
    cache = _app(two[0]).state.cache

    async def slow() -> Entry:
        await cache.forget()
        return Entry(b"old", '"old"')

    async def fresh() -> Entry:
        return Entry(b"new", '"new"')

    assert (await cache.answer("key", slow)).content == b"old"
    assert (await cache.answer("key", fresh)).content == b"new"
    assert (await cache.answer("key", slow)).content == b"new"


async def test_a_crowd_asks_once(two: list[httpx.AsyncClient]) -> None:
    """However many want what is not kept, it is made once; an error is that of all, and is not kept."""
    client = two[0]
    await client.post("/products", json=MUG)
    await client.get("/version")
    await _until_heard(client)
    queries = _Queries(client)
    answers = await asyncio.gather(*(client.get("/products?limit=7") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert queries.count == 1
    missing = await asyncio.gather(*(client.get("/products/999") for _ in range(10)))
    assert {answer.status_code for answer in missing} == {404}


async def test_who_waits_for_another_one_that_is_gone_makes_it_himself(two: list[httpx.AsyncClient]) -> None:
    """A client that goes away takes nobody's answer with it."""
    cache = _app(two[0]).state.cache
    begun = asyncio.Event()

    async def endless() -> Entry:
        begun.set()
        await asyncio.sleep(60)
        raise AssertionError

    async def quick() -> Entry:
        return Entry(b"quick", '"quick"')

    first = asyncio.create_task(cache.answer("key", endless))
    await begun.wait()
    second = asyncio.create_task(cache.answer("key", quick))
    third = asyncio.create_task(cache.answer("key", quick))
    await asyncio.sleep(0)
    third.cancel()
    await asyncio.sleep(0)
    assert not second.done()
    first.cancel()
    assert (await second).content == b"quick"
    assert third.cancelled()


async def test_a_large_answer_is_not_kept(two: list[httpx.AsyncClient]) -> None:
    """A thousand of them would fill the memory."""
    cache = _app(two[0]).state.cache
    made = 0

    async def large() -> Entry:
        nonlocal made
        made += 1
        return Entry(b"x" * 100_000, '"x"')

    for expected in (1, 2):
        assert len((await cache.answer("key", large)).content) == 100_000
        assert made == expected


@pytest.mark.parametrize("way", ["stopped", "frozen"])
async def test_a_cache_that_is_down_costs_time_alone(postgresql_url: str, way: str) -> None:
    """Every request is answered, late at most once in a while, and the truth; readiness says how it is."""
    with valkey() as server:
        settings = Settings.model_validate({"database_url": postgresql_url, "cache_url": server.url})
        async with running(settings) as client:
            where = (await client.post("/products", json=MUG)).headers["Location"]
            assert (await client.get(where)).status_code == 200
            assert (await client.get("/health/ready")).json()["cache"] == "answers"
            (server.stop if way == "stopped" else server.freeze)()
            begun = time.monotonic()
            for number in range(20):
                name = f"Name {number}"
                patched = await client.patch(where, json={"name": name}, headers=ANY)
                assert patched.status_code == 200
                assert (await client.get(where)).json()["name"] == name
            assert time.monotonic() - begun < 10
            ready = await client.get("/health/ready")
            assert (ready.status_code, ready.json()["cache"]) == (200, "does not answer")
            (server.start if way == "stopped" else server.thaw)()
            # What it still knows is of a time before the writes that it did not hear of.
            await _until_kept(client)
            assert (await client.get(where)).json()["name"] == "Name 19"
            queries = _Queries(client)
            assert (await client.get(where)).status_code == 200
            assert queries.count == 0


async def test_while_nothing_is_heard_nothing_is_kept(server: PostgreSQL, postgresql_url: str) -> None:
    """Without messages of other workers' writes, an answer that is kept could be old."""
    async with running(Settings(database_url=postgresql_url)) as client:
        await _until_kept(client)
        assert (await client.get("/health/ready")).json()["cache"] == "in process"
        with server.connect("catalog") as connection:
            hub = _app(client).state.hub
            listening = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            connection.execute(listening + "WHERE application_name LIKE '% changes'")
            async with asyncio.timeout(5):
                while hub.connected:
                    await asyncio.sleep(0.001)
        queries = _Queries(client)
        for _ in range(2):
            assert (await client.get("/products")).status_code == 200
        assert queries.count == 2
        assert "paused" in (await client.get("/health/ready")).json()["cache"]
        await _until_kept(client)


async def test_it_can_be_off(sqlite_url: str) -> None:
    """Then every read is one query, and a browser may be told to keep what it has."""
    settings = Settings.model_validate({"database_url": sqlite_url, "cache_url": "off", "max_age": 5})
    async with running(settings) as client:
        await client.post("/products", json=MUG)
        queries = _Queries(client)
        for _ in range(2):
            assert (await client.get("/products")).headers["Cache-Control"] == "public, max-age=5"
        assert queries.count == 2
        assert (await client.get("/health/ready")).json()["cache"] == "off"
        assert await _number(client, "bypass") == 2


async def test_it_keeps_to_keys_of_its_user(cache_server: Valkey, sqlite_url: str) -> None:
    """On a server that several applications share, what begins with the name of the user is enough."""
    cache_server.flush()
    rules = "on >a-password-of-its-own resetkeys ~shop:* -@all +@read +@write +@connection"
    assert cache_server._ask(f"ACL SETUSER shop {rules}") == b"+OK\r\n"
    url = f"unix://shop:a-password-of-its-own@{cache_server.socket}"
    settings = Settings.model_validate({"database_url": sqlite_url, "cache_url": url, "cache_timeout": 5})
    async with running(settings) as client:
        where = (await client.post("/products", json=MUG)).headers["Location"]
        await _until_heard(client)
        for _ in range(3):
            assert (await client.get(where)).status_code == 200
        assert await _number(client, "hit") == 2
        assert cache_server._ask("GET shop:generation").startswith(b"$16")
    assert b"shop:writes:tests:" in cache_server._ask("KEYS shop:writes:*")
