"""What the deployment and the monitoring are told."""

import time
from pathlib import Path

import httpx
import pytest
from alembic import command
from anyio import to_thread
from fastapi import FastAPI
from starlette.datastructures import State

from catalog import __version__
from catalog.database import known_revisions
from catalog.settings import Settings
from tests.conftest import alembic_config, running
from tests.servers import PostgreSQL

NOTHING_THERE = [
    "sqlite:////nonexistent/catalog.db",
    "postgresql:///catalog?host=/nonexistent",
    "postgresql://catalog@127.0.0.1:1/catalog",
]


async def test_ready_tells_what_runs_on_what(client: httpx.AsyncClient) -> None:
    """With a database that answers: 200, with version, release and schema revision."""
    response = await client.get("/health/ready")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json() == {
        "status": "ready",
        "version": __version__,
        "release": "r1",
        "schema_revision": known_revisions()[-1],
        "cache": response.json()["cache"],
        "reason": None,
    }


@pytest.mark.parametrize("url", NOTHING_THERE)
async def test_without_a_database_it_lives_but_is_not_ready(url: str) -> None:
    """A database that is not there is no reason to restart the application, only to send nobody to it."""
    async with running(Settings(database_url=url)) as client:
        assert (await client.get("/health/live")).json() == {"status": "alive"}
        response = await client.get("/health/ready")
        assert response.status_code == 503
        assert response.json()["reason"] == "the database cannot be reached"
        # A wanted read gets a problem that says to come back.
        refused = await client.get("/products")
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "2"
        assert refused.json()["type"] == "urn:problem-type:catalog:database-unavailable"
        assert "nonexistent" not in refused.text + response.text


async def test_an_empty_database_is_not_ready(server: PostgreSQL, tmp_path: Path) -> None:
    """Before the first migration, and after the last one was taken back, the reason names the way out."""
    with server.connect() as connection:
        connection.execute("CREATE DATABASE empty")
    for url in (f"sqlite:///{tmp_path}/empty.db", server.url("empty")):
        async with running(Settings(database_url=url)) as client:
            response = await client.get("/health/ready")
            assert response.status_code == 503
            assert response.json()["reason"] == "the database has no tables: run `alembic upgrade head`"


async def test_a_schema_without_revision_is_not_ready(sqlite_url: str) -> None:
    """A database whose migrations were all taken back says so."""
    settings = Settings(database_url=sqlite_url)
    await to_thread.run_sync(command.downgrade, alembic_config(settings), "base")
    async with running(settings) as client:
        response = await client.get("/health/ready")
        assert response.status_code == 503
        assert "alembic upgrade head" in response.json()["reason"]


async def test_a_schema_that_is_behind_is_not_ready(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release whose migration has not run yet must not get requests."""
    now = known_revisions()[-1]
    monkeypatch.setattr(_state(client), "revisions", [now, "9999_next"])
    response = await client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["reason"].startswith(f"the schema is at {now}, this release needs 9999_next")


async def test_a_schema_that_is_ahead_is_ready(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a new release comes up, the old one runs on the new schema, and a way back is a way back."""
    monkeypatch.setattr(_state(client), "revisions", ["0000_before"])
    assert (await client.get("/health/ready")).status_code == 200


def _state(client: httpx.AsyncClient) -> State:
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    assert isinstance(transport.app, FastAPI)
    return transport.app.state


async def test_a_frozen_database_is_reported_in_time(server: PostgreSQL, postgresql_url: str) -> None:
    """A server that takes connections and says nothing more: the answer comes within the limit."""
    settings = Settings(database_url=postgresql_url, ready_timeout=0.3)
    async with running(settings) as client:
        assert (await client.get("/health/ready")).status_code == 200
        with server.frozen():
            begun = time.monotonic()
            response = await client.get("/health/ready")
            took = time.monotonic() - begun
        assert response.status_code == 503
        assert response.json()["reason"] == "the database did not answer within 0.3 s"
        assert took < 1
        assert (await client.get("/health/ready")).status_code == 200


async def test_a_pool_that_is_empty_is_reported(postgresql_url: str) -> None:
    """When every connection is taken, requests get 503 instead of waiting without end."""
    settings = Settings(database_url=postgresql_url, database_pool_size=1, database_pool_timeout=0.1)
    async with running(settings) as client:
        async with _state(client).database.engine.connect():
            assert (await client.get("/health/ready")).json()["reason"] == "every connection is in use"
            assert (await client.get("/products")).status_code == 503
        assert (await client.get("/products")).status_code == 200


async def test_it_recovers_from_a_restart_of_the_database(server: PostgreSQL, postgresql_url: str) -> None:
    """Requests fail with 503 for as long as the server is down, and then succeed, without a restart."""
    # Without a cache, which may answer until it notices.
    settings = Settings.model_validate({"database_url": postgresql_url, "cache_url": "off"})
    async with running(settings) as client:
        assert (await client.get("/products")).status_code == 200
        server.stop()
        try:
            for path in ("/products", "/health/ready"):
                assert (await client.get(path)).status_code == 503
            body = {"sku": "A", "name": "A", "price": "1"}
            assert (await client.post("/products", json=body)).status_code == 503
        finally:
            server.start()
        for path in ("/products", "/health/ready"):
            assert (await client.get(path)).status_code == 200
        # One that nobody noticed: connections that died in the pool are replaced before they are used.
        server.stop()
        server.start()
        assert (await client.post("/products", json=body)).status_code == 201


async def test_a_statement_that_hangs_is_ended(server: PostgreSQL, postgresql_url: str) -> None:
    """A read that waits for a lock is ended by the server after the limit, and the client may try again."""
    settings = Settings(database_url=postgresql_url, database_statement_timeout=0.2)
    async with running(settings) as client:
        with server.connect("catalog") as other, other.transaction():
            other.execute("LOCK TABLE products")
            response = await client.get("/products")
        assert response.status_code == 503
        assert (await client.get("/products")).status_code == 200


async def test_version(client: httpx.AsyncClient) -> None:
    """The version of the code and the id of the release."""
    assert (await client.get("/version")).json() == {"version": __version__, "release": "r1"}
