"""Who may write."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from catalog.security import digest
from catalog.settings import Settings
from tests.conftest import running
from tests.servers import PostgreSQL, Valkey, gunicorn, valkey, wait_for

MUG = {"sku": "MUG-1", "name": "Blue mug", "price": "12.50"}
WRITES = [("POST", "/products"), ("PUT", "/products/1"), ("PATCH", "/products/1"), ("DELETE", "/products/1")]
WRITES += [("POST", "/categories"), ("PUT", "/categories/a"), ("PATCH", "/categories/a")]
WRITES += [("DELETE", "/categories/a"), ("POST", "/import/products")]


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_without_keys_nobody_writes(
    sqlite_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A catalogue that was given no keys is open to readers alone, and its log says so."""
    monkeypatch.setattr("tests.conftest.KEYS", {})
    async with running(Settings(database_url=sqlite_url)) as client:
        assert (await client.post("/products", json=MUG)).status_code == 401
        assert (await client.get("/products")).status_code == 200
    assert "nobody may write: CATALOG_API_KEYS names no key" in capsys.readouterr().out


async def test_with_keys_writing_needs_one(sqlite_url: str) -> None:
    """Each of the keys works, so that one can be replaced by a second one; reading stays open."""
    settings = Settings(database_url=sqlite_url, api_keys={"shop": digest("k1"), "new": digest("k2")})
    async with running(settings) as client:
        for key in ("k1", "k2"):
            response = await client.post("/products", json=MUG | {"sku": key.upper()}, headers=_bearer(key))
            assert response.status_code == 201
        assert len((await client.get("/products")).json()["items"]) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"Authorization": b"Bearer wrong"},
        {b"Authorization": b"Bearer "},
        {b"Authorization": b"Bearer " + digest("k1").encode()},
        {b"Authorization": b"Basic azE="},
        {b"Authorization": b"Bearer \xff"},
    ],
    ids=range(6),
)
async def test_a_wrong_key_writes_nothing(sqlite_url: str, headers: dict[bytes, bytes]) -> None:
    """No key, a wrong one, another scheme, and the hash itself: 401, whatever is sent with it."""
    settings = Settings(database_url=sqlite_url, api_keys={"shop": digest("k1")})
    async with running(settings) as client:
        del client.headers["Authorization"]
        for method, path in WRITES:
            response = await client.request(method, path, json=MUG, headers=headers)
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert response.json()["type"] == "urn:problem-type:catalog:key-needed"
        assert (await client.get("/products")).json()["items"] == []


async def test_every_answer_to_a_write_says_how_many_are_left(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors included; over the limit it is 429 until the minute is over, for that key alone."""
    now = 60_000_000.5
    monkeypatch.setattr(time, "time", lambda: now)
    keys = {"shop": digest("k1"), "stock": digest("k2")}
    settings = Settings(database_url=sqlite_url, api_keys=keys, write_rate=2)
    async with running(settings) as client:
        for status, left in ((201, 1), (409, 0)):
            response = await client.post("/products", json=MUG, headers=_bearer("k1"))
            assert response.status_code == status
            assert response.headers["RateLimit-Policy"] == '"writes";q=2;w=60'
            assert response.headers["RateLimit"] == f'"writes";r={left};t=60'
        refused = await client.delete("/products/1", headers=_bearer("k1") | {"If-Match": "*"})
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "60"
        assert refused.json()["type"] == "urn:problem-type:catalog:too-many-writes"
        reading = await client.get("/products/1", headers=_bearer("k1"))
        assert reading.status_code == 200
        assert "RateLimit" not in reading.headers
        other = await client.post("/products", json=MUG, headers=_bearer("k2"))
        assert other.headers["RateLimit"] == '"writes";r=1;t=60'
        now += 60
        again = await client.delete("/products/1", headers=_bearer("k1") | {"If-Match": "*"})
        assert again.status_code == 204


@pytest.fixture(scope="module")
def cache_server() -> Iterator[Valkey]:
    """Valkey or Redis, started once."""
    with valkey() as server:
        yield server


@pytest.fixture(params=["database", "valkey"])
def counting(request: pytest.FixtureRequest) -> str:
    """Run the test with each place where writes are counted; return what `cache_url` makes it so."""
    if request.param == "database":
        return "memory"
    server: Valkey = request.getfixturevalue("cache_server")
    server.flush()
    return server.url


def _left(response: httpx.Response) -> int:
    found = re.fullmatch(r'"writes";r=([0-9]+);t=[0-9]+', response.headers["RateLimit"])
    assert found
    return int(found[1])


def test_all_workers_of_all_hosts_count_together(postgresql_url: str, counting: str) -> None:
    """Of forty writes at once on two hosts with two workers each, as many are taken as of one."""
    environment = {"DATABASE_URL": postgresql_url, "CATALOG_CACHE_URL": counting, "CATALOG_WRITE_RATE": "10"}
    # A machine that has much to do must not look like a server that is down.
    environment["CATALOG_CACHE_TIMEOUT"] = "10"
    with ExitStack() as stack:
        hosts = [stack.enter_context(gunicorn(environment, preload=True)) for _ in range(2)]
        threads = stack.enter_context(ThreadPoolExecutor(8))
        for host in hosts:
            wait_for(host.ready, "not ready", host.output)
        # Not over the end of a minute.
        second = time.time() % 60
        time.sleep(60 - second if second > 50 else 0)

        def write(number: int) -> httpx.Response:
            with hosts[number % 2].client() as client:
                return client.post("/products", json=MUG | {"sku": f"S-{number}"})

        responses = list(threads.map(write, range(40)))
        taken = [response for response in responses if response.status_code == 201]
        assert sorted(map(_left, taken), reverse=True) == list(range(9, -1, -1))
        refused = [response for response in responses if response.status_code != 201]
        assert {(response.status_code, _left(response)) for response in refused} == {(429, 0)}
        assert all(0 < int(response.headers["Retry-After"]) <= 60 for response in refused)
        with hosts[0].client() as client:
            assert len(client.get("/products").json()["items"]) == 10


async def test_while_valkey_is_down_each_worker_counts_for_itself(sqlite_url: str) -> None:
    """Neither open to any number of writes nor closed to all; and with it again, its count holds again."""
    with valkey() as server:
        settings = Settings.model_validate(
            {"database_url": sqlite_url, "cache_url": server.url, "write_rate": 3}
        )
        async with running(settings) as one, running(settings) as other:
            server.stop()
            for client in (one, other):
                statuses = [(await client.post("/categories", json={})).status_code for _ in range(5)]
                assert statuses == [422, 422, 422, 429, 429]


async def test_a_database_that_is_down_is_no_open_door(postgresql_url: str, server: PostgreSQL) -> None:
    """Where writes cannot be counted, nothing could be written either: 503, and it says when to come back."""
    async with running(Settings(database_url=postgresql_url)) as client:
        server.stop()
        try:
            response = await client.post("/products", json=MUG)
        finally:
            server.start()
        assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
        assert (await client.post("/products", json=MUG)).status_code == 201


async def test_another_hosts_clock_takes_nothing_back(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host whose clock is behind counts on in the minute that another one has begun."""
    now = 60_000_000.5
    monkeypatch.setattr(time, "time", lambda: now)
    settings = Settings(database_url=database_url, write_rate=3)
    async with running(settings) as one, running(settings) as behind:
        assert _left(await one.post("/categories", json={})) == 2
        now -= 1
        assert _left(await behind.post("/categories", json={})) == 1
        now += 1
        assert _left(await one.post("/categories", json={})) == 0
        now += 60
        assert _left(await one.post("/categories", json={})) == 2
