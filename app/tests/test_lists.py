"""Filters, orders and pages of the list, on both databases."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import product as combinations
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import event

from catalog.settings import Settings
from tests.conftest import running
from tests.servers import PostgreSQL

# Equal names, equal prices, cases, wildcards, quotes, and letters beyond ASCII.
PRODUCTS = [
    {"sku": "A-1", "name": "Blue mug", "price": "5.00", "category": "mugs"},
    {"sku": "A-2", "name": "Blue mug", "price": "5.00", "currency": "USD"},
    {"sku": "B-1", "name": "red Mug", "price": "0.00", "category": "mugs"},
    {"sku": "B-2", "name": "100% wool", "price": "20.10", "description": "a_b"},
    {"sku": "C-1", "name": "Écru — 'quoted' \"tee\"", "price": "20.09", "category": "tees"},
    {"sku": "C-2", "name": "zebra \\ horse", "price": "9999999999.99"},
    {"sku": "C-3", "name": "axb", "price": "7"},
]


@pytest.fixture(scope="module")
async def client(shared_database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client for an application with those products; no test here changes one."""
    async with running(Settings(database_url=shared_database_url)) as client:
        for slug in ("mugs", "tees"):
            assert (await client.post("/categories", json={"slug": slug, "name": slug})).status_code == 201
        for body in PRODUCTS:
            assert (await client.post("/products", json=body)).status_code == 201
        yield client


async def _all(client: httpx.AsyncClient, **parameters: str) -> list[dict[str, Any]]:
    """Follow the pages to the end."""
    path: str | None = f"/products?{urlencode(parameters)}"
    items: list[dict[str, Any]] = []
    while path:
        response = await client.get(path)
        assert response.status_code == 200, response.text
        items += response.json()["items"]
        path = response.json()["next"]
        assert response.links.get("next", {}).get("url") == path
        assert len(items) <= len(PRODUCTS), "a product is there twice"
    return items


@pytest.mark.parametrize(
    ("parameters", "skus"),
    [
        ({"category": "mugs"}, {"A-1", "B-1"}),
        ({"category": "nothing"}, set()),
        ({"currency": "USD"}, {"A-2"}),
        ({"min_price": "20.09"}, {"B-2", "C-1", "C-2"}),
        ({"min_price": "5", "max_price": "7.00"}, {"A-1", "A-2", "C-3"}),
        ({"min_price": "8", "max_price": "7"}, set()),
        ({"category": "mugs", "max_price": "1"}, {"B-1"}),
        ({"q": "MUG"}, {"A-1", "A-2", "B-1"}),
        ({"q": "mug blue"}, {"A-1", "A-2"}),
        ({"q": "c-"}, {"C-1", "C-2", "C-3"}),
        ({"q": "%"}, {"B-2"}),
        ({"q": "a_b"}, {"B-2"}),
        ({"q": "\\"}, {"C-2"}),
        ({"q": "éCRU 'quoted'"}, {"C-1"}),
        ({"q": "mugdescription"}, set()),
        ({"q": "1blue"}, set()),
        ({"q": "   "}, {body["sku"] for body in PRODUCTS}),
        ({"updated_since": "9998-01-01T00:00:00Z"}, set()),
        ({"updated_since": "0002-01-01T00:00:00+02:00"}, {body["sku"] for body in PRODUCTS}),
    ],
)
async def test_filters_and_words_leave_what_fits(
    client: httpx.AsyncClient, parameters: dict[str, str], skus: set[str]
) -> None:
    """Every condition must hold; SQL's wildcards are letters like all others."""
    assert {item["sku"] for item in await _all(client, **parameters)} == skus


@pytest.mark.parametrize(
    ("sort", "limit"), list(combinations(["id", "name", "price", "updated_at"], ["1", "2", "3", "50"]))
)
async def test_every_order_shows_everything_once(client: httpx.AsyncClient, sort: str, limit: str) -> None:
    """Forwards and backwards, whatever the size of a page, and among equals by id."""
    forwards = await _all(client, sort=sort, limit=limit)
    backwards = await _all(client, sort=f"-{sort}", limit=limit)
    assert backwards == forwards[::-1]

    def key(item: dict[str, Any]) -> tuple[Any, int]:
        value = item[sort]
        return (Decimal(value) if sort == "price" else value, item["id"])

    assert [item["sku"] for item in forwards] == [item["sku"] for item in sorted(forwards, key=key)]
    assert len(forwards) == len(PRODUCTS)


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    parameters=st.fixed_dictionaries(
        {},
        optional={
            "q": st.text(st.characters(codec="utf-8"), min_size=1, max_size=5),
            "category": st.sampled_from(["mugs", "tees", "x"]),
            "currency": st.sampled_from(["EUR", "USD"]),
            "min_price": st.decimals(0, 30, places=2).map(str),
            "max_price": st.decimals(0, 30, places=2).map(str),
            "sort": st.sampled_from(["id", "-id", "name", "-name", "price", "-price", "-updated_at"]),
        },
    ),
    limit=st.integers(1, 8),
)
async def test_pages_are_the_list_cut_in_pieces(
    client: httpx.AsyncClient, parameters: dict[str, str], limit: int
) -> None:
    """With any filters, following small pages gives what one large page holds."""
    whole = await client.get(f"/products?{urlencode(parameters | {'limit': '200'})}")
    if whole.status_code == 422:
        assert {error["field"] for error in whole.json()["errors"]} == {"/q"}, whole.text
        return
    assert whole.json()["next"] is None
    assert json.dumps(await _all(client, **parameters, limit=str(limit))) == json.dumps(whole.json()["items"])


async def test_a_search_has_an_index_on_postgresql(server: PostgreSQL, postgresql_url: str) -> None:
    """PostgreSQL takes it for the statement that is really sent."""
    asked: list[tuple[str, Any]] = []
    async with running(Settings(database_url=postgresql_url)) as client:
        transport = client._transport
        assert isinstance(transport, httpx.ASGITransport)
        engine = transport.app.state.database.engine.sync_engine  # type: ignore[attr-defined]
        event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
        assert (await client.get("/products?q=mug%20blue")).status_code == 200
    ((statement, parameters),) = [one for one in asked if "LIKE" in one[0]]
    with server.connect("catalog") as connection:
        # A table of no rows is read faster without any index.
        connection.execute("SET enable_seqscan = off; SET enable_indexscan = off")
        plan = connection.execute(f"EXPLAIN {statement}", parameters).fetchall()
    assert "Bitmap Index Scan on ix_products_search" in str(plan)
