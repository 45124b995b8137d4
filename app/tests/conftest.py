"""Both databases, migrated by Alembic and never by `create_all`, and a client for the application on each."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from alembic import command
from alembic.config import Config

from catalog.main import create_app
from catalog.security import digest
from catalog.settings import Settings
from tests.servers import APP, BEARER, KEY, PostgreSQL, postgresql


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Run on the event loop that runs in production."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide what the caller's shell has set."""
    for name in list(os.environ):
        if name.startswith("CATALOG_") or name in ("DATABASE_URL", "APP_RELEASE", "CREDENTIALS_DIRECTORY"):
            monkeypatch.delenv(name)


def alembic_config(settings: Settings) -> Config:
    """Return Alembic's configuration for another database than that of the environment."""
    config = Config(APP / "alembic.ini")
    config.attributes["settings"] = settings
    return config


@pytest.fixture(scope="session")
def server() -> Iterator[PostgreSQL]:
    """PostgreSQL, started once."""
    with postgresql() as running:
        yield running


@pytest.fixture(scope="session")
def migrated_postgresql(server: PostgreSQL) -> str:
    """Return the URL of a database with every table."""
    with server.connect() as connection:
        connection.execute("CREATE DATABASE catalog")
    url = server.url("catalog")
    command.upgrade(alembic_config(Settings(database_url=url)), "head")
    return url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with every table, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "catalog.db"
    command.upgrade(alembic_config(Settings(database_url=f"sqlite:///{path}")), "head")
    return path


@pytest.fixture
def postgresql_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a migrated and empty database."""
    return empty_database(request, "postgresql")


@pytest.fixture
def sqlite_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a migrated and empty file."""
    return empty_database(request, "sqlite")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Run the test on both databases."""
    return empty_database(request, request.param)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_database_url(request: pytest.FixtureRequest) -> str:
    """Run a file's tests on both databases, each one for all of them: none may rely on being alone."""
    return empty_database(request, request.param)


def empty_database(request: pytest.FixtureRequest, kind: str) -> str:
    """Return the URL of a database with every table and no row."""
    if kind == "sqlite":
        factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
        path = factory.mktemp("sqlite") / "catalog.db"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("migrated_postgresql")
    server: PostgreSQL = request.getfixturevalue("server")
    with server.connect("catalog") as connection:
        connection.execute("TRUNCATE products, categories, feed, write_counts RESTART IDENTITY")
    return url


KEYS = {"tests": digest(KEY)}


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Run the application in this process and yield a client, which may write if it is not said who may."""
    if not settings.api_keys:
        settings = settings.model_copy(update={"api_keys": KEYS})
    app = create_app(settings)
    # An error that the application lets through fails the test.
    transport = httpx.ASGITransport(app, client=("198.18.0.7", 4711))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://catalog.test", headers=BEARER) as client,
    ):
        yield client


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client for an application with an empty database."""
    async with running(Settings(database_url=database_url, release="r1")) as client:
        yield client
