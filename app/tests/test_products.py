"""Products over HTTP, on both databases."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

import httpx
import pytest

from catalog.settings import Settings
from tests.conftest import running

ANY = {"If-Match": "*"}
MUG = {"sku": "MUG-1", "name": "Blue mug", "price": "12.50"}


async def _add(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    response = await client.post("/products", json=MUG | changes)
    assert response.status_code == 201, response.text
    return dict(response.json())


async def test_a_product_written_is_read_back(client: httpx.AsyncClient) -> None:
    """What was sent is what is stored, at the address that `Location` names."""
    response = await client.post(
        "/products", json={"sku": "TEE-2", "name": "  Tee — ☕ ", "description": "a\nb", "price": "19.9"}
    )
    assert response.status_code == 201
    read = await client.get(response.headers["Location"])
    assert read.json() == response.json()
    stored = read.json()
    assert (stored["sku"], stored["name"], stored["description"]) == ("TEE-2", "Tee — ☕", "a\nb")
    assert (stored["price"], stored["currency"]) == ("19.90", "EUR")
    created = datetime.fromisoformat(stored["created_at"])
    assert created.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)


@pytest.mark.parametrize("price", ["0", "0.01", "9999999999.99", "7.5", "007"])
async def test_prices_are_exact(client: httpx.AsyncClient, price: str) -> None:
    """A price comes back to the cent: no float was on the way."""
    product = await _add(client, price=price)
    read = (await client.get(f"/products/{product['id']}")).json()
    assert Decimal(read["price"]) == Decimal(price)
    assert re.fullmatch(r"[0-9]+\.[0-9]{2}", read["price"])
    assert product == read


async def test_sku_is_unique(client: httpx.AsyncClient) -> None:
    """A second product with the SKU is refused, however it would come to it."""
    await _add(client)
    other = await _add(client, sku="MUG-2")
    path = f"/products/{other['id']}"
    for response in (
        await client.post("/products", json=MUG),
        await client.put(path, json=MUG, headers=ANY),
        await client.patch(path, json={"sku": MUG["sku"]}, headers=ANY),
    ):
        assert response.status_code == 409
        assert response.json()["type"] == "urn:problem-type:catalog:sku-taken"
    assert (await client.get(path)).json() == other


async def test_replace_sets_every_field(client: httpx.AsyncClient) -> None:
    """A field that a replacement leaves out gets its default; id and birth stay."""
    before = await _add(client, description="old", currency="USD")
    path = f"/products/{before['id']}"
    after = (await client.put(path, json={"sku": "MUG-9", "name": "New", "price": "1"}, headers=ANY)).json()
    assert after == (await client.get(path)).json()
    assert after["updated_at"] > before["updated_at"]
    changed = {key: after[key] for key in after if after[key] != before[key] and key != "updated_at"}
    assert changed == {
        **{"sku": "MUG-9", "name": "New", "description": "", "price": "1.00", "currency": "EUR"}
    }


async def test_patch_changes_what_is_sent(client: httpx.AsyncClient) -> None:
    """A field that a patch leaves out stays; an empty patch changes nothing, not even the time."""
    before = await _add(client, description="kept")
    path = f"/products/{before['id']}"
    after = (await client.patch(path, json={"price": "3.10"}, headers=ANY)).json()
    assert after | {"updated_at": 0} == before | {"price": "3.10", "updated_at": 0}
    assert (await client.patch(path, json={}, headers=ANY)).json() == after


async def test_two_clients_patching_different_fields_both_win(client: httpx.AsyncClient) -> None:
    """No change is lost to another one that was made at the same time."""
    product = await _add(client)
    path = f"/products/{product['id']}"
    changes = [{"name": "New"}, {"price": "2.00"}, {"description": "New"}, {"currency": "USD"}]
    responses = await asyncio.gather(*(client.patch(path, json=change, headers=ANY) for change in changes))
    assert {response.status_code for response in responses} == {200}
    stored = (await client.get(path)).json()
    for change in changes:
        assert stored.items() >= change.items()


async def test_delete_deletes_once(client: httpx.AsyncClient) -> None:
    """A deleted product is gone for every verb."""
    path = f"/products/{(await _add(client))['id']}"
    assert (await client.delete(path, headers=ANY)).status_code == 204
    for response in (
        await client.delete(path, headers=ANY),
        await client.get(path),
        await client.put(path, json=MUG, headers=ANY),
        await client.patch(path, json={"name": "New"}, headers=ANY),
        await client.patch(path, json={}, headers=ANY),
    ):
        assert response.status_code == 404
        assert response.json()["type"] == "urn:problem-type:catalog:no-such-product"
    assert (await _add(client))["sku"] == MUG["sku"]


async def _walk(client: httpx.AsyncClient, path: str) -> list[list[str]]:
    pages = []
    following: str | None = path
    while following:
        response = await client.get(following)
        assert response.status_code == 200, response.text
        pages.append([item["sku"] for item in response.json()["items"]])
        following = response.json()["next"]
        linked = response.links.get("next", {}).get("url")
        assert linked == following
        assert len(pages) < 10, "the pages have no end"
    return pages


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (200, [5])])
async def test_pages_hold_every_product_once(client: httpx.AsyncClient, limit: int, sizes: list[int]) -> None:
    """Following `next` shows each product once, in order, and ends without an empty page."""
    skus = [(await _add(client, sku=f"S-{number}"))["sku"] for number in range(5)]
    pages = await _walk(client, f"/products?limit={limit}")
    assert [len(page) for page in pages] == sizes
    assert list(chain(*pages)) == skus


async def test_pages_stay_put_while_the_list_changes(client: httpx.AsyncClient) -> None:
    """Between two pages one product is deleted and one added: no other is repeated or skipped."""
    products = [await _add(client, sku=f"S-{number}") for number in range(4)]
    first = (await client.get("/products?limit=2")).json()
    await client.delete(f"/products/{products[0]['id']}", headers=ANY)
    await _add(client, sku="S-4")
    rest = await _walk(client, first["next"])
    seen = [item["sku"] for item in first["items"]]
    assert [*seen, *chain(*rest)] == [f"S-{number}" for number in range(5)]


async def test_an_empty_catalogue_is_an_empty_page(client: httpx.AsyncClient) -> None:
    """No product is no error."""
    response = await client.get("/products")
    assert response.json() == {"items": [], "next": None}
    assert "Link" not in response.headers


async def test_what_was_answered_outlives_the_process(database_url: str) -> None:
    """201 means that the product is in the database, for whoever asks next."""
    settings = Settings(database_url=database_url)
    async with running(settings) as first:
        product = await _add(first)
    async with running(settings) as second:
        assert (await second.get(f"/products/{product['id']}")).json() == product
