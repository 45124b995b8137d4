"""The description of the interface."""

import httpx


async def test_swagger_is_where_people_look(client: httpx.AsyncClient) -> None:
    """The front page leads to Swagger, and Swagger to the description."""
    response = await client.get("/", follow_redirects=True)
    assert response.url.path == "/docs"
    assert "/openapi.json" in response.text
    assert (await client.get("/redoc")).status_code == 200


async def test_every_operation_says_how_it_fails(client: httpx.AsyncClient) -> None:
    """Each error is described as the problem that is sent, and every reference leads somewhere."""
    document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    assert "HTTPValidationError" not in schemas
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            errors = {status for status in operation["responses"] if status >= "400"}
            if path.startswith("/products"):
                assert {"422", "503"} <= errors
                assert ("401" in errors) == (method != "get")
                for status in errors:
                    content = operation["responses"][status]["content"]
                    reference = {"$ref": "#/components/schemas/Problem"}
                    assert content == {"application/problem+json": {"schema": reference}}
    references = {
        part.partition('"')[0] for part in str(document).replace("'", '"').split("#/components/schemas/")[1:]
    }
    assert references == set(schemas)
