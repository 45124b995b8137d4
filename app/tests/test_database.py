"""How the application gets to its database."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import make_url

from catalog.database import libpq_parameters
from catalog.products.models import Money
from catalog.settings import Settings, load_settings
from catalog.tables import UtcDateTime
from tests.conftest import running
from tests.servers import PostgreSQL, wait_for

SQLITE = make_url("sqlite://").get_dialect()()
POSTGRESQL = make_url("postgresql+psycopg://").get_dialect()()
MUG = {"sku": "MUG-1", "name": "Blue mug", "price": "12.50"}


@pytest.fixture(scope="session")
def role(server: PostgreSQL, migrated_postgresql: str) -> str:
    """Return the name of a role that has a password, and may use the tables."""
    with server.connect("catalog") as connection:
        connection.execute("CREATE ROLE remote LOGIN PASSWORD 'p@ss:w/rd %'")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO remote")
        connection.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO remote")
    return "remote"


def _password(monkeypatch: pytest.MonkeyPatch, directory: Path, password: str) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    (directory / "database_password").write_text(password + "\n")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
async def test_a_remote_server_by_verified_tls_and_password(
    server: PostgreSQL,
    postgresql_url: str,
    role: str,
    scheme: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The URL that the deployment hands over for another host, with the password as a credential."""
    _password(monkeypatch, tmp_path, "p@ss:w/rd %")
    url = server.tls_url(role, "catalog").replace("postgresql", scheme, 1)
    monkeypatch.setenv("DATABASE_URL", url)
    async with running(load_settings()) as client:
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.post("/products", json=MUG)).status_code == 201
    with server.connect("catalog") as connection:
        assert connection.execute("SELECT sku FROM products").fetchall() == [("MUG-1",)]


async def test_a_server_that_is_somebody_else_is_refused(
    server: PostgreSQL, role: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A certificate for another name, or a wrong password: not ready, and nothing of either is told."""
    for password, host in (("p@ss:w/rd %", "127.0.0.1"), ("wrong", "localhost")):
        _password(monkeypatch, tmp_path, password)
        url = server.tls_url(role, "catalog").replace("@localhost", f"@{host}")
        monkeypatch.setenv("DATABASE_URL", url)
        async with running(load_settings()) as client:
            response = await client.get("/health/ready")
            assert response.status_code == 503
            assert response.json()["reason"] == "the database cannot be reached"


async def test_connections_are_named_and_limited(server: PostgreSQL, postgresql_url: str) -> None:
    """The server's own views show which release holds a connection; a worker opens no more than it may."""
    settings = Settings(database_url=postgresql_url, release="r7", database_pool_size=2)
    async with running(settings) as client:
        responses = await asyncio.gather(
            *(client.get(f"/products?limit={number}") for number in range(1, 21))
        )
        assert {response.status_code for response in responses} == {200}
        with server.connect("catalog") as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'catalog r7'"
            assert connection.execute(query).fetchone() == (2,)
    # Given back when the application ends, not left to the server to notice.
    with server.connect("catalog") as connection:
        wait_for(lambda: connection.execute(query).fetchone() == (0,), "connections were left open")


def test_what_the_url_says_wins() -> None:
    """Someone who sets a parameter in the URL means it."""
    url = "postgresql:///catalog?host=/run/postgresql&connect_timeout=9&options=-c%20jit%3Doff"
    parameters = libpq_parameters(Settings(database_url=url))
    assert parameters["connect_timeout"] == "9"
    assert parameters["options"] == "-c jit=off"
    assert parameters["host"] == "/run/postgresql"
    assert parameters["dbname"] == "catalog"


async def test_several_processes_share_a_file(sqlite_url: str) -> None:
    """Writers on SQLite wait for each other instead of failing."""
    settings = Settings(database_url=sqlite_url)
    async with running(settings) as one, running(settings) as two:
        writes = [
            client.post("/products", json=MUG | {"sku": f"S-{number}-{name}"})
            for number in range(10)
            for name, client in (("A", one), ("B", two))
        ]
        assert {response.status_code for response in await asyncio.gather(*writes)} == {201}
        assert len((await one.get("/products")).json()["items"]) == 20


def test_a_time_needs_its_zone() -> None:
    """Nobody could say later which zone a bare time was in; any zone is stored as UTC."""
    column = UtcDateTime()
    for dialect in (SQLITE, POSTGRESQL):
        with pytest.raises(ValueError, match="needs its zone"):
            column.process_bind_param(datetime(2026, 1, 1), dialect)
        noon = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
        assert column.process_bind_param(noon, dialect) == datetime(2026, 1, 1, 10, tzinfo=UTC)
        assert column.process_bind_param(None, dialect) is None
        assert column.process_result_value(None, dialect) is None


def test_money_is_exact_on_both_databases() -> None:
    """What is written to either is a decimal again when it is read."""
    column = Money()
    for dialect, raw in ((SQLITE, 1250), (POSTGRESQL, Decimal("12.50"))):
        assert column.process_bind_param(Decimal("12.50"), dialect) == raw
        assert str(column.process_result_value(raw, dialect)) == "12.50"
        assert column.process_bind_param(None, dialect) is None
        assert column.process_result_value(None, dialect) is None
