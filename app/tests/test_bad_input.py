"""Whatever is sent, the answer is a problem that says what is wrong, and nothing is written."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from catalog.products import paging
from catalog.products.schemas import MAX_ID, ListParameters
from catalog.settings import Settings
from tests.conftest import running

ANY = {"If-Match": "*"}
JSON = ANY | {"Content-Type": "application/json"}
MUG = {"sku": "MUG-1", "name": "Blue mug", "price": "12.50"}


def is_problem(response: httpx.Response, status: int | None = None) -> dict[str, Any]:
    """Check that the response is a problem as promised, and return it."""
    assert 400 <= response.status_code < 500, response.text
    assert status is None or response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(response.content.decode("ascii"))
    assert problem["status"] == response.status_code
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert {"type", "title", "detail"} <= problem.keys()
    return dict(problem)


@pytest.fixture(scope="module")
async def client(shared_database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client for one application for all of them."""
    async with running(Settings(database_url=shared_database_url)) as client:
        yield client


@pytest.fixture
async def unchanged(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client, and check afterwards that what there was is still all there is, as it was."""
    if (await client.get("/products/1")).status_code == 404:
        await client.post("/products", json=MUG | {"sku": "FIRST"})
    before = (await client.get("/products")).json()["items"]
    assert before[0]["id"] == 1
    yield client
    assert (await client.get("/products")).json()["items"] == before


FIELDS = [
    ("sku", "mug", "/sku"),
    ("sku", "", "/sku"),
    ("sku", "A" * 65, "/sku"),
    ("sku", "MUG\n", "/sku"),
    ("sku", 7, "/sku"),
    ("name", "   ", "/name"),
    ("name", "a\0b", "/name"),
    ("name", "\ud800", "/name"),
    ("name", "x" * 201, "/name"),
    ("name", ["Mug"], "/name"),
    ("description", "x" * 10_001, "/description"),
    ("description", "\0", "/description"),
    ("description", None, "/description"),
    ("price", "-0.01", "/price"),
    ("price", "0.001", "/price"),
    ("price", "10000000000", "/price"),
    ("price", "1e999999999", "/price"),
    ("price", 12.5, "/price"),
    ("price", 12, "/price"),
    ("price", "1e3", "/price"),
    ("price", "12.50\n", "/price"),
    ("price", "\u0661", "/price"),
    ("price", 1e308, "/price"),
    ("price", 10**4000, "/price"),
    ("price", float("nan"), "/price"),
    ("price", float("inf"), "/price"),
    ("price", "sNaN", "/price"),
    ("price", "cheap", "/price"),
    ("price", True, "/price"),
    ("price", None, "/price"),
    ("currency", "EURO", "/currency"),
    ("currency", "€€€", "/currency"),
    ("category", "Mugs", "/category"),
    ("category", 7, "/category"),
    ("category", "", "/category"),
    ("colour", "blue", "/colour"),
    ("a/b~c", 1, "/a~1b~0c"),
    # A name that is no text cannot be pointed to.
    ("\ud800", 1, ""),
]


@pytest.mark.parametrize(("field", "value", "pointer"), FIELDS)
async def test_a_bad_field_is_named(
    unchanged: httpx.AsyncClient, field: str, value: Any, pointer: str
) -> None:
    """Created, replaced or patched with one bad field: 422 that points to it, and repeats nothing of it."""
    for method, path, body in (
        ("POST", "/products", MUG | {field: value}),
        ("PUT", "/products/1", MUG | {field: value}),
        ("PATCH", "/products/1", {field: value}),
    ):
        content = json.dumps(body).encode()
        response = await unchanged.request(method, path, content=content, headers=JSON)
        problem = is_problem(response, 422)
        assert [(error["where"], error["field"]) for error in problem["errors"]] == [("body", pointer)]


@pytest.mark.parametrize("field", ["sku", "name", "price"])
async def test_a_missing_field_is_named(unchanged: httpx.AsyncClient, field: str) -> None:
    """What has no default must be there."""
    body = {key: value for key, value in MUG.items() if key != field}
    for method, path in (("POST", "/products"), ("PUT", "/products/1")):
        problem = is_problem(await unchanged.request(method, path, json=body, headers=ANY), 422)
        assert problem["errors"] == [{"where": "body", "field": f"/{field}", "detail": "Field required"}]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b'{"sku": "\xff"}',
        b'{"price": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"null",
        b"[]",
        b'"MUG"',
        b"\0",
        b'{"name": "a\0b"}',
        b'{"name": "a", "name": "b"}',
        b'{"name": {"x": 1, "x": 1}}',
    ],
    ids=range(14),
)
async def test_a_body_that_is_no_product_is_refused(unchanged: httpx.AsyncClient, content: bytes) -> None:
    """Broken JSON, broken UTF-8, numbers and nesting without end, and JSON that is no object."""
    for method, path in (("POST", "/products"), ("PUT", "/products/1"), ("PATCH", "/products/1")):
        is_problem(await unchanged.request(method, path, content=content, headers=JSON))


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "nonsense", ""])
async def test_another_content_type_is_refused(unchanged: httpx.AsyncClient, content_type: str) -> None:
    """Only JSON is JSON: a form on another site cannot write."""
    content = json.dumps(MUG).encode()
    headers = {"Content-Type": content_type}
    is_problem(await unchanged.post("/products", content=content, headers=headers), 415)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "/limit"),
        ("limit=201", "/limit"),
        ("limit=-1", "/limit"),
        ("limit=1.5", "/limit"),
        (f"limit={'9' * 5000}", "/limit"),
        ("limit=%00", "/limit"),
        ("limit=", "/limit"),
        (f"cursor={'x' * 1201}", "/cursor"),
        ("page=2", "/page"),
        ("limit=1&limit=2", "/limit"),
        ("sort=colour", "/sort"),
        ("q=", "/q"),
        ("q=%00", "/q"),
        (f"q={'x' * 101}", "/q"),
        ("category=A_B", "/category"),
        ("currency=euro", "/currency"),
        ("min_price=-1", "/min_price"),
        ("max_price=1e5", "/max_price"),
        ("updated_since=yesterday", "/updated_since"),
        ("updated_since=2026-11-21T22:10:00", "/updated_since"),
        ("updated_since=0001-01-01T00:00:00%2B12:00", "/updated_since"),
        ("updated_since=9999-12-31T23:59:59-12:00", "/updated_since"),
        ("%ff=1", "/\ufffd"),
    ],
)
async def test_a_bad_parameter_is_named(unchanged: httpx.AsyncClient, query: str, field: str) -> None:
    """A parameter out of its range, or one that does not exist."""
    problem = is_problem(await unchanged.get(f"/products?{query}"), 422)
    assert [(error["where"], error["field"]) for error in problem["errors"]] == [("query", field)]


def _cursor(text: str, **parameters: str) -> str:
    """Make up a cursor that fits its list: its digest is no secret."""
    last_id, _, value = text.partition(":")
    made = object.__new__(_Anything)
    made.text = last_id
    return paging._token(ListParameters.model_validate(parameters), value, made)  # type: ignore[arg-type]


class _Anything:
    """Stands where the id of a cursor stands."""

    text: str

    def __format__(self, _: str) -> str:
        return self.text


@pytest.mark.parametrize("cursor", ["", "x", "%00", "%ff", "!!!!", "w7w", "=", "aWQ6MQ==", "aWQ6MQ"])
async def test_a_cursor_that_was_never_given_is_refused(unchanged: httpx.AsyncClient, cursor: str) -> None:
    """What is no cursor leads to no page."""
    problem = is_problem(await unchanged.get(f"/products?cursor={cursor}"), 404)
    assert problem["type"] == "urn:problem-type:catalog:bad-cursor"
    assert problem["detail"].startswith("query/cursor: ")


@pytest.mark.parametrize(
    ("sort", "text"),
    [
        *(("id", text) for text in ("0:", "-1:", "+1:", "01:", "1 :", ":", "1_0:", "\u0661:", "1", "1:x")),
        *(("id", text) for text in (f"{MAX_ID + 1}:", "9" * 60 + ":", "9" * 800 + ":")),
        *(("name", text) for text in ("1:", "1:a\0b", "1:" + "x" * 201, "1: a")),
        *(("price", text) for text in ("1:", "1:x", "1:1e9", "1:-1.00", "1:" + "9" * 11, "1:5")),
        *(("updated_at", text) for text in ("1:", "1:x", "1:1e9", "1:" + "9" * 30, "1:" + "9" * 500)),
    ],
)
async def test_a_cursor_that_was_made_up_does_no_harm(
    unchanged: httpx.AsyncClient, sort: str, text: str
) -> None:
    """Even with the right digest, a cursor asks for nothing that the database could not compare."""
    response = await unchanged.get(f"/products?sort={sort}&cursor={_cursor(text, sort=sort)}")
    if response.status_code != 200:
        assert is_problem(response, 404)["type"] == "urn:problem-type:catalog:bad-cursor"


async def test_a_cursor_belongs_to_its_list(unchanged: httpx.AsyncClient) -> None:
    """One of another order or other filters is refused instead of showing something half right."""
    cursor = _cursor("1:")
    assert (await unchanged.get(f"/products?cursor={cursor}")).status_code == 200
    for other in ("sort=-id", "sort=name", "currency=EUR", "q=x", "min_price=1"):
        is_problem(await unchanged.get(f"/products?{other}&cursor={cursor}"), 404)


async def test_the_last_cursor_there_can_be_is_an_empty_page(unchanged: httpx.AsyncClient) -> None:
    """The largest id is within what the database compares."""
    response = await unchanged.get(f"/products?cursor={_cursor(f'{MAX_ID}:')}")
    assert response.json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    "product_id", ["0", "-1", str(2**63), "9" * 5000, "1.5", "x", "%00", "%ff", "\u0661"]
)
async def test_an_impossible_id_is_refused(unchanged: httpx.AsyncClient, product_id: str) -> None:
    """An id that no product can have is told apart from one that none has."""
    for method in ("GET", "DELETE"):
        problem = is_problem(await unchanged.request(method, f"/products/{product_id}", headers=ANY), 422)
        assert problem["errors"][0]["field"] == "/product_id"
    is_problem(await unchanged.get(f"/products/{MAX_ID}"), 404)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nothing", 404, None),
        ("GET", "/products/", 404, None),
        ("GET", "/%00%ff", 404, None),
        ("DELETE", "/products", 405, "GET, POST"),
        ("TRACE", "/products/1", 405, "DELETE, GET, PATCH, PUT"),
        ("MEOW", "/products", 405, "GET, POST"),
        ("POST", "/", 405, "GET"),
    ],
)
async def test_what_does_not_exist_is_a_problem_too(
    unchanged: httpx.AsyncClient, method: str, path: str, status: int, allow: str | None
) -> None:
    """Unknown paths and methods get the same form of answer; `Allow` names all that would work."""
    response = await unchanged.request(method, path)
    is_problem(response, status)
    assert response.headers.get("Allow") == allow


async def test_a_body_over_the_limit_is_refused(unchanged: httpx.AsyncClient) -> None:
    """Announced or not, it is refused before it is held in memory."""
    big = json.dumps(MUG | {"description": "x" * 1_000_000}).encode()
    is_problem(await unchanged.post("/products", content=big, headers=JSON), 413)

    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 10_000
            yield b" " * 10_000

    is_problem(await unchanged.post("/products", content=endless(), headers=JSON), 413)
    is_problem(await unchanged.post("/products", content=b"{}", headers=JSON | {"Content-Length": "x"}))


texts = st.text(st.characters(), max_size=300)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.decimals().map(str),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(texts, children, max_size=3),
    max_leaves=5,
)
likely = st.fixed_dictionaries(
    {"sku": texts | st.from_regex(r"[A-Z0-9-]{1,70}", fullmatch=True), "name": texts, "price": values},
    optional={"description": texts | values, "currency": texts | st.just("USD")},
)


@hypothesis_settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=likely | st.dictionaries(st.sampled_from(["sku", "name", "price"]) | texts, values) | values)
async def test_any_json_is_stored_as_it_was_sent_or_refused(client: httpx.AsyncClient, body: Any) -> None:
    """No JSON leads to an error of the server, and what is accepted reads back the same."""
    response = await client.post("/products", content=json.dumps(body).encode(), headers=JSON)
    if response.status_code == 201:
        stored = response.json()
        assert (stored["sku"], stored["name"]) == (body["sku"], body["name"].strip())
        assert (await client.get(f"/products/{stored['id']}")).json() == stored
        assert (await client.delete(f"/products/{stored['id']}", headers=ANY)).status_code == 204
    else:
        is_problem(response)
