"""Who may write."""

import time

import pytest

from catalog.security import digest
from catalog.settings import Settings
from tests.conftest import running

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
