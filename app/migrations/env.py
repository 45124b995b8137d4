"""Runs migrations with the settings of the application, one process at a time."""

import asyncio
import logging

from alembic import context
from sqlalchemy import Connection, text

from catalog import changes, limits, logs
from catalog.categories import models as categories
from catalog.database import make_engine
from catalog.products import models as products
from catalog.settings import Settings, load_settings
from catalog.tables import Base

_log = logging.getLogger("catalog.migrations")
# Any number, as long as it stays the same: it is the name of the lock.
_LOCK = 0x636174616C6F67
# Every table must be imported, or a comparison would want to drop it.
_TABLES = [
    *(categories.Category.__table__, products.Product.__table__),
    *(changes.Recorded.__table__, limits.WriteCount.__table__),
]


# Of an expression, which no model can name as PostgreSQL writes it down; a test asks whether searches use it.
_NOT_COMPARED = {"ix_products_search"}


def _is_compared(_item: object, name: str | None, *_: object) -> bool:
    return name not in _NOT_COMPARED


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite cannot alter a table in place: it is copied.
        render_as_batch=connection.dialect.name == "sqlite",
        transaction_per_migration=True,
        include_object=_is_compared,
    )
    with context.begin_transaction():
        context.run_migrations()


async def _run(settings: Settings) -> None:
    # A migration may take longer than a request: only waiting for locks is limited.
    engine = make_engine(settings.model_copy(update={"database_statement_timeout": 3600}))
    try:
        async with engine.connect() as lock, engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                await lock.execution_options(isolation_level="AUTOCOMMIT")
                # Two that start at once: the second one waits, and finds nothing left to do. It asks again
                # and again: an index that is made concurrently waits for every statement that began before,
                # and one that waits for the lock would wait for the index.
                take = text("SELECT pg_try_advisory_lock(:name)")
                while not await lock.scalar(take, {"name": _LOCK}):
                    await asyncio.sleep(0.2)
                # A migration that waits for a table also stops everybody behind it in the queue.
                milliseconds = round(settings.migration_lock_timeout * 1000)
                await connection.execute(text(f"SET lock_timeout = {milliseconds}"))
                await connection.commit()
            await connection.run_sync(_migrate)
            await connection.commit()
    finally:
        # Ends the session that holds the lock.
        await engine.dispose()


def main() -> None:
    """Run what the command line asked for."""
    settings = context.config.attributes.get("settings")
    if settings is None:
        settings = load_settings()
        logs.configure(settings.log_level)
    if context.is_offline_mode():
        raise SystemExit("this application has no offline migrations: give it a database")
    asyncio.run(_run(settings))


main()
