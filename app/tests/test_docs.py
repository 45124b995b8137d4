"""The description of the interface."""

import json
import re

import httpx

from catalog.main import create_app
from catalog.settings import Settings, masked
from tests.servers import APP


async def test_swagger_is_where_people_look(client: httpx.AsyncClient) -> None:
    """The front page leads to Swagger, and Swagger to the description."""
    response = await client.get("/", follow_redirects=True)
    assert response.url.path == "/docs"
    assert "/openapi.json" in response.text
    assert (await client.get("/redoc")).status_code == 200


async def test_swagger_and_redoc_need_no_internet(client: httpx.AsyncClient) -> None:
    """Every file that their pages load is the application's own, and is what it says."""
    for page in ("/docs", "/redoc"):
        html = (await client.get(page)).text
        loaded = re.findall(r"""(?:src|href)=["']([^"']+)["']""", html)
        assert loaded
        for address in loaded:
            assert address.startswith(("/docs/", "data:")), address
            if address.startswith("/docs/"):
                for encoding in ("gzip", "identity"):
                    response = await client.get(address, headers={"Accept-Encoding": encoding})
                    assert response.status_code == 200
                    assert response.headers.get("Content-Encoding", "identity") == encoding
                    assert len(response.content) > 100_000
        assert "http://" not in html
        assert "https://" not in html
    assert (await client.get("/docs/../main.py")).status_code == 404
    assert (await client.get("/docs/README")).status_code == 404


def test_every_operation_says_how_it_fails() -> None:
    """Each error is described as the problem that is sent, and every reference leads somewhere."""
    document = create_app(Settings()).openapi()
    schemas = document["components"]["schemas"]
    assert "HTTPValidationError" not in schemas
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            errors = {status for status in operation["responses"] if status >= "400"}
            if path.startswith("/products"):
                assert {"422", "503"} <= errors
                writes = method != "get"
                assert ({"401", "429"} <= errors, "security" in operation) == (writes, writes)
                for status in errors:
                    content = operation["responses"][status]["content"]
                    reference = {"$ref": "#/components/schemas/Problem"}
                    assert content == {"application/problem+json": {"schema": reference}}
    references = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert references == set(schemas)


def test_the_readme_names_every_setting() -> None:
    """Who reads the README finds each variable that can be set, with its default, and no other."""
    rows = re.findall(
        r"^\| `((?:CATALOG|DATABASE|APP|OTEL)_\w+)` \|(.*?)\|", (APP / "README.md").read_text(), re.M
    )
    documented = {name: default.strip(" `") for name, default in rows}
    assert documented.keys() == masked(Settings()).keys()
    for name, default in masked(Settings()).items():
        assert documented[name] == default.removesuffix(".0"), name
