"""The description of the interface."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest

from catalog.main import create_app
from catalog.problems import ApiError
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


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Return the description."""
    return create_app(Settings()).openapi()


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield method, path, operation


def test_every_operation_says_how_it_fails(document: dict[str, Any]) -> None:
    """Each error is described as the problem that is sent, and every reference leads somewhere."""
    schemas = document["components"]["schemas"]
    assert "HTTPValidationError" not in schemas
    for method, path, operation in _operations(document):
        assert operation["summary"], (method, path)
        assert operation["description"], (method, path)
        assert operation["tags"], (method, path)
        errors = {status for status in operation["responses"] if status >= "400"}
        assert "500" in errors
        if "operation" in operation["tags"]:
            continue
        writes = method != "get"
        assert {"422", "503"} <= errors, (method, path)
        assert ({"401", "429"} <= errors, "security" in operation) == (writes, writes)
        assert ({"400", "413", "415"} <= errors) == ("requestBody" in operation), (method, path)
        assert ({"404"} <= errors) or "{" not in path
        for status in errors:
            (content,) = operation["responses"][status]["content"].items()
            assert content[0] == "application/problem+json"
            assert "#/components/schemas/Problem" in str(content[1]["schema"])
    references = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert references == set(schemas)


def _examples(content: dict[str, Any]) -> list[Any]:
    named = [example["value"] for example in content.get("examples", {}).values()]
    return named + ([content["example"]] if "example" in content else [])


def test_every_answer_has_an_example_that_fits(document: dict[str, Any]) -> None:
    """What is shown is what the schema allows; each kind of problem is shown under its own status."""
    seen = set()
    for method, path, operation in _operations(document):
        for status, response in operation["responses"].items():
            at = (method, path, status)
            assert response["description"], at
            for name, header in response["headers"].items():
                assert header["description"], (*at, name)
                assert isinstance(header["example"], str), (*at, name)
            assert ("content" in response) == (status not in ("204", "304")), at
            for content in response.get("content", {}).values():
                validator = _validator(content["schema"], document)
                examples = _examples(content)
                assert examples, at
                for example in examples:
                    validator.validate(example)
                    if "problem" in json.dumps(content["schema"]).lower():
                        assert str(example["status"]) == status
                        assert example["detail"], at
                        seen.add((status, example["type"], example["title"]))
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert _examples(content) or _has_examples(content["schema"], document), (method, path)
    # Each kind of problem that the code can raise is there, under its own status.
    for error in _subclasses(ApiError):
        assert (str(int(error.status)), error.kind, error.title) in seen, error


def _validator(schema: dict[str, Any], document: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    whole = {**schema, "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(whole)


def _has_examples(schema: dict[str, Any], document: dict[str, Any]) -> bool:
    fields = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    required = fields.get("required", [])
    return all(fields["properties"][name].get("examples") for name in required)


def _subclasses(kind: type[ApiError]) -> Iterator[type[ApiError]]:
    for found in kind.__subclasses__():
        yield found
        yield from _subclasses(found)


def test_the_readme_names_every_setting() -> None:
    """Who reads the README finds each variable that can be set, with its default, and no other."""
    rows = re.findall(
        r"^\| `((?:CATALOG|DATABASE|APP|OTEL)_\w+)` \|(.*?)\|", (APP / "README.md").read_text(), re.M
    )
    documented = {name: default.strip(" `") for name, default in rows}
    assert documented.keys() == masked(Settings()).keys()
    for name, default in masked(Settings()).items():
        assert documented[name] == default.removesuffix(".0"), name
