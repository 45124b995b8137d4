"""Two clients and one row: `ETag`, `If-Match` and `If-None-Match`, on both databases."""

import asyncio
from typing import Any

import httpx
import pytest

MUG = {"sku": "MUG-1", "name": "Blue mug", "price": "12.50"}
MUGS = {"slug": "mugs", "name": "Mugs"}
KINDS = [("/products", MUG, {"name": "New"}), ("/categories", MUGS, {"name": "New"})]


def _replacement(body: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in body.items() if name != "slug"}


async def _create(client: httpx.AsyncClient, path: str, body: dict[str, str]) -> tuple[str, str]:
    response = await client.post(path, json=body)
    assert response.status_code == 201, response.text
    return response.headers["Location"], response.headers["ETag"]


@pytest.mark.parametrize(("path", "body", "patch"), KINDS, ids=["products", "categories"])
class TestOfOneRow:
    """What holds for products and for categories."""

    async def test_a_change_names_what_it_changes(
        self, client: httpx.AsyncClient, path: str, body: dict[str, str], patch: dict[str, str]
    ) -> None:
        """Without If-Match nothing is changed: who has not read cannot know what is lost."""
        where, tag = await _create(client, path, body)
        for response in (
            await client.put(where, json=_replacement(body)),
            await client.patch(where, json=patch),
            await client.delete(where),
        ):
            assert response.status_code == 428
            assert response.json()["type"] == "urn:problem-type:catalog:precondition-required"
        assert (await client.get(where)).headers["ETag"] == tag

    async def test_what_was_changed_meanwhile_is_not_overwritten(
        self, client: httpx.AsyncClient, path: str, body: dict[str, str], patch: dict[str, str]
    ) -> None:
        """With the tag that was read, the first change wins and the second one is told so."""
        where, tag = await _create(client, path, body)
        first = await client.patch(where, json=patch, headers={"If-Match": tag})
        assert first.status_code == 200
        assert first.headers["ETag"] != tag
        for old in (tag, f"W/{first.headers['ETag']}", '"nonsense"', '"1-0"', '"999999999-ffffffffffffff"'):
            headers = {"If-Match": old}
            for response in (
                await client.put(where, json=_replacement(body), headers=headers),
                await client.patch(where, json={}, headers=headers),
                await client.delete(where, headers=headers),
            ):
                assert response.status_code == 412
                assert response.json()["type"] == "urn:problem-type:catalog:changed-meanwhile"
        read = await client.get(where)
        assert read.json() == first.json()
        assert read.headers["ETag"] == first.headers["ETag"]
        # One of several is enough; and the one that is there deletes.
        headers = {"If-Match": f"{tag}, {read.headers['ETag']}"}
        assert (await client.delete(where, headers=headers)).status_code == 204
        assert (await client.delete(where, headers=headers)).status_code == 404

    async def test_of_clients_that_race_one_wins(
        self, client: httpx.AsyncClient, path: str, body: dict[str, str], patch: dict[str, str]
    ) -> None:
        """Ten clients with the same tag at the same time: one change is made, nine are refused."""
        where, tag = await _create(client, path, body)
        for _ in range(3):
            racing = [
                client.patch(where, json={"name": f"By {number}"}, headers={"If-Match": tag})
                for number in range(10)
            ]
            responses = await asyncio.gather(*racing)
            assert sorted(response.status_code for response in responses) == [200] + [412] * 9
            (won,) = [response for response in responses if response.status_code == 200]
            read = await client.get(where)
            assert read.json() == won.json()
            tag = read.headers["ETag"]

    async def test_a_bad_tag_is_refused(
        self, client: httpx.AsyncClient, path: str, body: dict[str, str], patch: dict[str, str]
    ) -> None:
        """What is no tag at all is a mistake of the client, not a version that is gone."""
        where, _ = await _create(client, path, body)
        for tag in ("nonsense", "", '"a" "b"', '"', "*, *", '"\xff"'):
            response = await client.patch(where, json=patch, headers={b"If-Match": tag.encode("latin-1")})
            assert response.status_code == 422, tag
            (error,) = response.json()["errors"]
            assert (error["where"], error["field"]) == ("header", "/If-Match")

    async def test_what_the_client_has_is_not_sent_again(
        self, client: httpx.AsyncClient, path: str, body: dict[str, str], patch: dict[str, str]
    ) -> None:
        """304 without a body as long as it is the same, in the list as well; then the new one."""
        where, tag = await _create(client, path, body)
        in_list = (await client.get(path)).headers["ETag"]
        for address, known in ((where, tag), (path, in_list)):
            for header in (known, f"W/{known}", f'"other", {known}', "*"):
                response = await client.get(address, headers={"If-None-Match": header})
                assert (response.status_code, response.content) == (304, b"")
                assert response.headers["ETag"] == known
                assert response.headers["Cache-Control"] == "public, no-cache"
        await client.patch(where, json=patch, headers={"If-Match": "*"})
        for address, known in ((where, tag), (path, in_list)):
            response = await client.get(address, headers={"If-None-Match": known})
            assert response.status_code == 200
            assert "New" in response.text
            assert response.headers["ETag"] != known


async def test_categories_hold_products(client: httpx.AsyncClient) -> None:
    """A product is in a category that is there, and a category that is in use stays."""
    await _create(client, "/categories", MUGS)
    where, _ = await _create(client, "/products", MUG | {"category": "mugs"})
    everything = {"If-Match": "*"}
    in_use = await client.delete("/categories/mugs", headers=everything)
    assert (in_use.status_code, in_use.json()["title"]) == (409, "Products are in the category")
    missing: list[httpx.Response] = [
        await client.post("/products", json=MUG | {"sku": "B", "category": "cups"}),
        await client.patch(where, json={"category": "cups"}, headers=everything),
        await client.put(where, json=MUG | {"category": "cups"}, headers=everything),
    ]
    for response in missing:
        assert response.status_code == 409
        assert response.json()["type"] == "urn:problem-type:catalog:no-such-category"
        assert response.json()["detail"].startswith("body/category: ")
    assert (await client.get(where)).json()["category"] == "mugs"
    assert (await client.patch(where, json={"category": None}, headers=everything)).status_code == 200
    assert (await client.delete("/categories/mugs", headers=everything)).status_code == 204
    assert (await client.get("/categories/mugs")).status_code == 404
    assert (await client.patch("/categories/mugs", json={}, headers=everything)).status_code == 404


async def test_categories_are_listed_by_slug(client: httpx.AsyncClient) -> None:
    """A page at a time, each once; a slug that is taken is refused and one that is none is named."""
    for slug in ("c", "a", "b", "d2"):
        await _create(client, "/categories", {"slug": slug, "name": slug.upper()})
    assert (await client.post("/categories", json={"slug": "a", "name": "Again"})).status_code == 409
    seen: list[str] = []
    path: str | None = "/categories?limit=3"
    while path:
        page = await client.get(path)
        seen += [item["slug"] for item in page.json()["items"]]
        path = page.json()["next"]
        assert page.links.get("next", {}).get("url") == path
    assert seen == ["a", "b", "c", "d2"]
    bad: list[Any] = ["", "A", "-a", "a" * 65, "a b", None, 7]
    for slug in bad:
        response = await client.post("/categories", json={"slug": slug, "name": "Bad"})
        assert [error["field"] for error in response.json()["errors"]] == ["/slug"]
