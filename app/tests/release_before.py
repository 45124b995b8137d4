"""Uses every feature of whatever release of the application is in the working directory.

Run by test_migrations.py with the code of the release before this one, on the schema of this one. It sends
what any release asks for, a key and `If-Match`, as one that does not know them does not look at them.
"""

import asyncio
import sys
from typing import Any

import httpx

from catalog.main import create_app

_KEY = "of-the-release-before"


async def main() -> None:
    """Write, read, list, change and delete; stop at the first answer that is not as it was."""
    app = create_app()
    headers = {"Authorization": f"Bearer {_KEY}", "If-Match": "*"}
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://catalog.test", headers=headers) as client,
    ):
        body: dict[str, Any] = {"sku": "OLD-1", "name": "By the old release", "price": "1.50"}
        path = _expect(await client.post("/products", json=body), 201).headers["Location"]
        _expect(await client.post("/products", json=body), 409)
        _expect(await client.put(path, json=body | {"name": "Replaced"}), 200)
        _expect(await client.patch(path, json={"price": "2.00"}), 200)
        stored = _expect(await client.get(path), 200).json()
        assert (stored["name"], stored["price"]) == ("Replaced", "2.00"), stored
        listed = _expect(await client.get("/products?limit=200"), 200).json()["items"]
        assert stored["id"] in [item["id"] for item in listed], listed
        _expect(await client.get("/health/ready"), 200)
        _expect(await client.delete(path), 204)
        # One stays, for the new release to find.
        _expect(await client.post("/products", json=body), 201)


def _expect(response: httpx.Response, status: int) -> httpx.Response:
    request = response.request
    assert response.status_code == status, f"{request.method} {request.url.path}: {response.text}"
    return response


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
