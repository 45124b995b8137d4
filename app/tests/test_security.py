"""Who may write."""

import httpx
import pytest

from catalog.security import digest
from catalog.settings import Settings
from tests.conftest import running

MUG = {"sku": "MUG-1", "name": "Blue mug", "price": "12.50"}
WRITES = [("POST", "/products"), ("PUT", "/products/1"), ("PATCH", "/products/1"), ("DELETE", "/products/1")]


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_without_keys_everybody_writes(client: httpx.AsyncClient) -> None:
    """A catalogue that was given no keys asks for none."""
    assert (await client.post("/products", json=MUG)).status_code == 201


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
        for method, path in WRITES:
            response = await client.request(method, path, json=MUG, headers=headers)
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert response.json()["type"] == "urn:problem-type:catalog:key-needed"
        assert (await client.get("/products")).json()["items"] == []
