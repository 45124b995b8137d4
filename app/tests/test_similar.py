"""Similar products, and the memory that they do not take."""

import json
import subprocess
import sys

import httpx
import pytest

from bench.memory import pss
from catalog.settings import Settings
from catalog.similar.model import Model
from tests.conftest import running
from tests.servers import APP, gunicorn, wait_for


def test_the_most_like_come_first() -> None:
    """The nearest of all, in order, without the one asked for; the same in every process."""
    model, again = Model(1), Model(1)
    found = model.like(7, 20)
    assert found == again.like(7, 20)
    assert len(found) == 20
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    everything = dict(model.like(7, 10_000))
    assert 7 not in dict(found)
    assert min(scores) >= max(score for key, score in everything.items() if key not in dict(found))
    # Likeness goes both ways.
    assert dict(model.like(found[0][0], 10_000))[7] == pytest.approx(found[0][1], abs=1e-5)
    assert model.like(0, 5) == model.like(5000, 5) == []
    assert model.megabytes == 1


async def test_only_products_that_are_there_are_shown(database_url: str) -> None:
    """What the model knows and the catalogue does not have is left out; so is what it was not asked for."""
    async with running(Settings(database_url=database_url, similar_megabytes=1)) as client:
        rows = "".join(f"S-{number},x,1\n" for number in range(300))
        table = {"Content-Type": "text/csv"}
        await client.post("/import/products", content="sku,name,price\n" + rows, headers=table)
        items = (await client.get("/products/5/similar?limit=4")).json()["items"]
        assert len(items) == 4
        likeness = [item["likeness"] for item in items]
        assert likeness == sorted(likeness, reverse=True)
        assert 5 not in [item["product"]["id"] for item in items]
        assert items[0]["product"]["sku"].startswith("S-")
        assert (await client.get("/products/301/similar")).status_code == 404
        assert (await client.get("/products/5/similar?limit=51")).status_code == 422


async def test_without_a_model_it_says_so(client: httpx.AsyncClient) -> None:
    """The server was given none, which is no error of the server."""
    response = await client.get("/products/1/similar")
    assert response.status_code == 404
    assert response.json()["type"] == "urn:problem-type:catalog:no-model"


@pytest.mark.slow
def test_workers_share_the_matrix(postgresql_url: str) -> None:
    """Four workers with 256 MB of it take less than twice that, after all of them have used it."""
    environment = {"DATABASE_URL": postgresql_url, "CATALOG_SIMILAR_MEGABYTES": "256"}
    with gunicorn(environment, workers=4, preload=True) as app, app.client() as client:
        wait_for(app.ready, "not ready", app.output)
        client.post("/products", json={"sku": "A", "name": "A", "price": "1"})
        for _ in range(200):
            assert client.get("/products/1/similar").status_code == 200
        assert pss(app.workers() | {app.process.pid}) < 2 * 256 + 100


def test_what_is_not_used_is_not_imported() -> None:
    """A start takes no time for numpy, Redis or OpenTelemetry's SDK unless they are asked for."""
    code = (
        "import json, sys; from catalog.main import create_app; create_app(); "
        "heavy = {'numpy', 'redis', 'alembic', 'opentelemetry.sdk', 'requests'}; "
        "print(json.dumps(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=APP, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
