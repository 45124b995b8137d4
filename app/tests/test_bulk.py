"""Import and export, on both databases."""

import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import delete

from catalog.bulk.rows import MAX_FAULTS, MAX_LINE
from catalog.products.models import Product
from catalog.settings import Settings
from tests.conftest import running
from tests.servers import BEARER

CSV = {"Content-Type": "text/csv; charset=utf-8"}
LINES = {"Content-Type": "application/x-ndjson"}
HEADER = "sku,name,price\n"


async def _import(
    client: httpx.AsyncClient, content: str | bytes, headers: dict[str, str] = CSV, query: str = ""
) -> httpx.Response:
    return await client.post(f"/import/products{query}", content=content, headers=headers)


async def _skus(client: httpx.AsyncClient) -> list[str]:
    return [item["sku"] for item in (await client.get("/products?limit=200")).json()["items"]]


async def test_a_file_becomes_products(client: httpx.AsyncClient) -> None:
    """Both formats: quotes, line breaks in a cell, a byte order mark, and defaults for what is empty."""
    await client.post("/categories", json={"slug": "mugs", "name": "Mugs"})
    table = (
        "\ufeffname,sku,price,description,category,currency\r\n"
        '"Blue ""mug"", large",MUG-1,12.5,"two\nlines",mugs,USD\r\n'
        "\r\n"
        "Red mug,MUG-2,1,,,\r\n"
    )
    response = await _import(client, table)
    assert (response.status_code, response.json()) == (200, {"created": 2, "replaced": 0})
    lines = '{"sku": "MUG-3", "name": "É", "price": "3.10"}\n\n{"sku": "MUG-4", "name": "x", "price": "0"}'
    assert (await _import(client, lines, LINES)).json() == {"created": 2, "replaced": 0}
    first, second, third, _ = (await client.get("/products")).json()["items"]
    assert (first["name"], first["price"], first["description"]) == (
        'Blue "mug", large',
        "12.50",
        "two\nlines",
    )
    assert (first["category"], first["currency"]) == ("mugs", "USD")
    assert (second["sku"], second["category"], second["currency"]) == ("MUG-2", None, "EUR")
    assert third["name"] == "É"
    # Like any other product from then on.
    tag = (await client.get(f"/products/{first['id']}")).headers["ETag"]
    changed = await client.patch(f"/products/{first['id']}", json={"price": "1"}, headers={"If-Match": tag})
    assert changed.status_code == 200


async def test_one_bad_row_and_nothing_is_imported(client: httpx.AsyncClient) -> None:
    """Each bad row has one entry with its line, those that only the database can find included."""
    await client.post("/products", json={"sku": "THERE", "name": "x", "price": "1"})
    lines = [
        *("GOOD-1,Good,1.00,", "bad sku,x,1.00,", "TWICE,x,1.00,", "P,x,cheap,", "THERE,x,1.00,"),
        *(
            "TWICE,x,2.00,",
            "S,x,1.00,nothing",
            "C,x,1.00",
            'Q,"x"y,1.00,',
            "N,a\0b,1.00,",
            "GOOD-2,Good,1.00,",
        ),
    ]
    response = await _import(client, "sku,name,price,category\n" + "\n".join(lines))
    assert response.status_code == 422
    problem = response.json()
    assert problem["type"] == "urn:problem-type:catalog:import-refused"
    assert problem["errors_total"] == 8
    assert problem["detail"] == "8 lines are bad, and nothing was written."
    found = [(error["line"], error["field"]) for error in problem["errors"]]
    assert found == [
        *((3, "/sku"), (5, "/price"), (6, "/sku"), (7, "/sku"), (8, "/category")),
        *((9, ""), (10, ""), (11, "/name")),
    ]
    assert problem["errors"][3]["detail"] == "the file has it already, in line 4"
    assert await _skus(client) == ["THERE"]
    # The connection is as good as before.
    assert (await _import(client, HEADER + "NEW,x,1\n")).json() == {"created": 1, "replaced": 0}


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (b"{", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"[" * 50_000, "it is not JSON"),
        (b'{"sku": "A", "sku": "B", "name": "x", "price": "1"}', "an object has the same key twice"),
        (b'{"sku": "A", "name": "x", "price": 1}', "write it as a string"),
        (b'{"sku": "A", "name": "\xff", "price": "1"}', "as a unicode string"),
        (b"7", "Input should be"),
        (b"null", "Input should be"),
        (b'{"sku": "A", "name": "x", "price": "1", "colour": 1}', "Extra inputs"),
        (b'{"sku": "' + b"A" * MAX_LINE + b'"}', "a line may have 100000 bytes"),
    ],
    ids=range(10),
)
async def test_a_bad_line_of_json_is_named(client: httpx.AsyncClient, line: bytes, detail: str) -> None:
    """Whatever a line holds, the answer says which one it is."""
    good = b'{"sku": "GOOD", "name": "x", "price": "1"}\n'
    response = await _import(client, good + line + b"\n", LINES)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["line"] == 2
    assert detail in error["detail"]
    assert await _skus(client) == []


@pytest.mark.parametrize("content", ["", "\n\n", "a,b\n1,2\n", "sku,name,price,sku\n", "sku,name\n", '"'])
async def test_a_table_without_its_columns_is_refused(client: httpx.AsyncClient, content: str) -> None:
    """The message names the columns there can be."""
    response = await _import(client, content)
    assert response.status_code == 422
    assert "the first line names the columns" in response.json()["errors"][-1]["detail"]


async def test_replacing_is_asked_for(client: httpx.AsyncClient) -> None:
    """`existing=replace` changes products by SKU, keeps their ids, and their old tags are old."""
    before = await client.post("/products", json={"sku": "A", "name": "old", "price": "1", "currency": "USD"})
    response = await _import(client, HEADER + "B,b,2\nA,new,3\n", query="?existing=replace")
    assert response.json() == {"created": 1, "replaced": 1}
    after = await client.get(before.headers["Location"])
    assert after.json()["id"] == before.json()["id"]
    assert (after.json()["name"], after.json()["price"], after.json()["currency"]) == ("new", "3.00", "EUR")
    assert after.json()["created_at"] == before.json()["created_at"]
    patch = {"json": {"name": "x"}, "headers": {"If-Match": before.headers["ETag"]}}
    assert (await client.patch(before.headers["Location"], **patch)).status_code == 412  # type: ignore[arg-type]
    assert (await _import(client, HEADER, query="?existing=maybe")).status_code == 422


async def test_another_type_and_too_large_a_file_are_refused(database_url: str) -> None:
    """415 and 413; a file may be larger than another body."""
    settings = Settings(database_url=database_url, max_body=1000, max_import=100_000)
    async with running(settings) as client:
        for kind in ("application/json", "", "text/html"):
            response = await _import(client, HEADER, {"Content-Type": kind})
            assert response.status_code == 415
        rows = "".join(f"S-{number},x,1\n" for number in range(1000))
        assert (await _import(client, HEADER + rows)).json() == {"created": 1000, "replaced": 0}

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(1000):
                yield b"x" * 1000

        assert (await _import(client, HEADER + " " * 100_000)).status_code == 413
        response = await client.post("/import/products", content=endless(), headers=CSV)
        assert response.status_code == 413


async def test_a_thousand_mistakes_are_enough(client: httpx.AsyncClient) -> None:
    """All are counted, the first ones are told."""
    problem = (await _import(client, HEADER + "x\n" * (MAX_FAULTS + 5))).json()
    assert (len(problem["errors"]), problem["errors_total"]) == (MAX_FAULTS, MAX_FAULTS + 5)
    assert problem["errors"][-1]["line"] == MAX_FAULTS + 1
    problem = (await _import(client, HEADER + "A,x,1\n" * (MAX_FAULTS + 5))).json()
    assert (len(problem["errors"]), problem["errors_total"]) == (MAX_FAULTS, MAX_FAULTS + 4)


async def test_what_is_exported_can_be_imported(client: httpx.AsyncClient) -> None:
    """Both formats give back the same products, and the filters hold for them too."""
    await client.post("/categories", json={"slug": "mugs", "name": "Mugs"})
    rows = [
        {"sku": "A", "name": 'é, "b"', "price": "1.10", "description": "two\nlines", "category": "mugs"},
        *({"sku": f"S-{number}", "name": "x", "price": "0.00"} for number in range(2500)),
    ]
    content = "\n".join(map(json.dumps, rows))
    assert (await _import(client, content, LINES)).json() == {"created": 2501, "replaced": 0}
    table = await client.get("/export/products")
    lines = await client.get("/export/products?format=jsonl")
    assert table.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert 'filename="products.csv"' in table.headers["Content-Disposition"]
    read = list(csv.DictReader(io.StringIO(table.text, newline="")))
    assert [row["sku"] for row in read] == [row["sku"] for row in rows]
    assert (read[0]["name"], read[0]["description"], read[0]["price"]) == ('é, "b"', "two\nlines", "1.10")
    assert [json.loads(line)["sku"] for line in lines.text.splitlines()] == [row["sku"] for row in rows]
    for exported, headers in ((table, CSV), (lines, LINES)):
        again = await _import(client, exported.content, headers, "?existing=replace")
        assert again.json() == {"created": 0, "replaced": 2501}
    assert len((await client.get("/export/products?category=mugs")).text.splitlines()) == 3


async def test_an_empty_export_is_a_header(client: httpx.AsyncClient) -> None:
    """And no JSON lines at all."""
    assert (await client.get("/export/products")).text == "sku,name,description,price,currency,category\r\n"
    assert (await client.get("/export/products?format=jsonl")).text == ""


@pytest.fixture
async def uncached(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of an application that sees what is done behind its back."""
    settings = Settings.model_validate({"database_url": database_url, "cache_url": "off"})
    async with running(settings) as client:
        yield client


async def _take_all_away(client: httpx.AsyncClient) -> None:
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    async with transport.app.state.database.engine.begin() as connection:  # type: ignore[attr-defined]
        await connection.execute(delete(Product))


cells = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["1.00", "A-1", "\0", '"', "a\nb"]
)


@hypothesis_settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    rows=st.lists(st.tuples(st.from_regex(r"[A-Z]{1,3}", fullmatch=True) | cells, cells, cells), max_size=6),
    noise=st.binary(max_size=20) | st.just(b""),
)
async def test_any_file_is_taken_whole_or_refused(
    uncached: httpx.AsyncClient, rows: list[tuple[str, str, str]], noise: bytes
) -> None:
    """No content leads to an error of the server, and a refused file has left nothing."""
    client = uncached
    await _take_all_away(client)
    before = await _skus(client)
    text = io.StringIO()
    csv.writer(text).writerows([("sku", "name", "price"), *rows])
    response = await _import(client, text.getvalue().encode("utf-8", "surrogatepass") + noise)
    after = await _skus(client)
    if response.status_code == 200:
        assert len(after) == len(before) + response.json()["created"]
    else:
        problem: dict[str, Any] = response.json()
        assert response.status_code == 422
        lines = [error["line"] for error in problem["errors"]]
        assert lines == sorted(lines)
        assert problem["errors_total"] == len(lines)
        assert after == before


_HEADERS = [(b"content-type", b"text/csv"), (b"authorization", BEARER["Authorization"].encode())]


async def test_a_client_that_goes_away_leaves_nothing(client: httpx.AsyncClient) -> None:
    """A file of which half has come is no file."""
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": (HEADER + "A,x,1\n").encode(), "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST"},
        **{
            "scheme": "http",
            "path": "/import/products",
            "raw_path": b"/import/products",
            "query_string": b"",
        },
        **{"root_path": "", "headers": _HEADERS, "client": None, "server": None},
    }
    await transport.app(scope, receive, send)
    assert await _skus(client) == []
    numbers = (await client.get("/metrics")).text
    assert 'http_requests_total{method="POST",route="/import/products",status="499"} 1.0' in numbers
