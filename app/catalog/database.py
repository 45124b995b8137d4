"""The connection to the database: one pool per worker, and a session per request."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import psycopg
from fastapi import Depends, Request
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import QueuePool
from starlette.datastructures import State

from catalog import changes, sqlite
from catalog.changes import Change
from catalog.settings import Settings, libpq_url
from catalog.tasks import settled

# Seconds that what is still being read may take at the end.
_LAST = 3.0
MIGRATIONS = Path(__file__).parent.parent / "migrations" / "versions"


def is_postgresql(url: str) -> bool:
    """Tell PostgreSQL from SQLite."""
    return url.startswith("postgres")


def libpq_parameters(settings: Settings) -> dict[str, Any]:
    """Return the parameters of a connection, as libpq itself reads the URL.

    SQLAlchemy's own URL differs from libpq's in small ways. Here a URL means what it means to psql:
    socket directories, several hosts, sslmode, service and password files.
    """
    given = {
        key: value
        for key, value in conninfo_to_dict(libpq_url(settings.database_url)).items()
        if value is not None
    }
    defaults: dict[str, Any] = {
        "connect_timeout": settings.database_connect_timeout,
        "application_name": f"catalog {settings.release}",
        "options": f"-c statement_timeout={round(settings.database_statement_timeout * 1000)}",
    }
    if settings.database_password is not None:
        defaults["password"] = settings.database_password.get_secret_value()
    return defaults | given


def make_engine(settings: Settings) -> AsyncEngine:
    """Return an engine that has not connected yet."""
    pool: dict[str, Any] = {
        "pool_size": settings.database_pool_size,
        "max_overflow": 0,
        "pool_timeout": settings.database_pool_timeout,
        # A connection that died with a restart of the server is replaced before a request sees it.
        "pool_pre_ping": True,
    }
    if is_postgresql(settings.database_url):
        parameters = libpq_parameters(settings)

        async def connect(*_: Any, **kwargs: Any) -> psycopg.AsyncConnection[Any]:
            return await psycopg.AsyncConnection.connect(**parameters, **kwargs)

        return create_async_engine("postgresql+psycopg://", async_creator=connect, **pool)

    rest = settings.database_url.partition(":")[2]
    engine = create_async_engine(f"sqlite+aiosqlite:{rest}", **pool)
    event.listen(engine.sync_engine, "connect", sqlite.prepare)
    return engine


class Database:
    """The engine of one worker, and what the application asks of it."""

    def __init__(self, settings: Settings) -> None:
        self.engine = make_engine(settings)
        self.sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        # What is one statement needs no BEGIN and COMMIT around it: a third of the round trips.
        self.autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self.readers = async_sessionmaker(self.autocommit, expire_on_commit=False)

    @property
    def connections_in_use(self) -> int:
        """Return how many connections requests hold at the moment."""
        pool = self.engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    async def schema_revision(self) -> str:
        """Return the revision that the migrations have left in the database."""
        async with self.engine.connect() as connection:
            result = await connection.execute(text("SELECT version_num FROM alembic_version"))
            return str(result.scalar_one())

    async def close(self) -> None:
        """Give every connection back."""
        await settled(_LAST)
        await self.engine.dispose()


def known_revisions() -> list[str]:
    """Return the revisions this code knows, oldest first.

    A migration's file is named like its revision, and the names sort by age; a test holds them to it.
    Alembic would know as well, but importing it costs every worker a tenth of a second at start.
    """
    return sorted(path.stem for path in MIGRATIONS.glob("[0-9]*.py"))


async def _reader(request: Request) -> AsyncIterator[AsyncSession]:
    database: Database = request.app.state.database
    async with database.readers() as session:
        yield session


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    database: Database = request.app.state.database
    async with database.sessions() as session:
        async with session.begin():
            yield session
            written = changes.noted(session)
            if written:
                await changes.record(await session.connection(), written)
        await announce(request.app.state, written)


async def announce(state: State, written: list[Change]) -> None:
    """Let go of what was kept of the time before, and have it told where the database tells nobody."""
    if written:
        await state.cache.forget()
        state.hub.written.set()


# scope="function": committed before the response is sent, so that 201 means written, and a slow
# reader of the response holds no connection.
Session = Annotated[AsyncSession, Depends(_session, scope="function")]
ReadSession = Annotated[AsyncSession, Depends(_reader, scope="function")]
