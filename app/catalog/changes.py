"""What was written, told to every worker on every host: it empties their caches and feeds their clients.

On PostgreSQL a change is told with NOTIFY in the transaction that makes it, so when it is committed and never
if it is not, to every worker that listens. A SQLite file has no messages; there a worker hears of itself.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import psycopg
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

_log = logging.getLogger(__name__)
_CHANNEL = "catalog_changes"
# How long a listener hears nothing before it asks whether anybody is there.
_QUIET = 20.0
_RETRY = 1.0
# What one client may be behind.
_BACKLOG = 100


class Change(BaseModel):
    """Something that was written."""

    what: Literal["product", "category", "import"]
    action: Literal["created", "changed", "deleted", "imported"]
    key: int | str | None = None


# None: something may have been missed, so whoever keeps anything reads it again.
Message = Change | None


class Hub:
    """Gives each message to whoever in this process wants it."""

    def __init__(self) -> None:
        self.on_change: list[Callable[[], None]] = []
        self._clients: set[asyncio.Queue[Message]] = set()
        # Whether changes of others arrive: only then may anything be remembered.
        self.connected = False

    @contextlib.contextmanager
    def subscribed(self) -> Iterator[asyncio.Queue[Message]]:
        """Yield a queue of what happens from now on."""
        queue: asyncio.Queue[Message] = asyncio.Queue(_BACKLOG)
        self._clients.add(queue)
        try:
            yield queue
        finally:
            self._clients.discard(queue)

    @property
    def clients(self) -> int:
        """Return how many listen."""
        return len(self._clients)

    def publish(self, message: Message) -> None:
        """Tell everybody. A client that reads too slowly loses what it has not read, and is told that."""
        for listener in self.on_change:
            listener()
        for queue in self._clients:
            late = queue.full()
            while late and not queue.empty():
                queue.get_nowait()
            queue.put_nowait(None if late else message)


def note(session: AsyncSession, change: Change) -> None:
    """Remember, until the transaction is committed, that something was written in it."""
    session.info.setdefault("changes", []).append(change)


def noted(session: AsyncSession) -> list[Change]:
    """Return what was written."""
    changes: list[Change] = session.info.get("changes", [])
    return changes


async def notify(connection: AsyncConnection, changes: list[Change]) -> None:
    """Tell every worker, in the transaction that writes."""
    if connection.dialect.name == "postgresql":
        for change in changes:
            await connection.execute(
                text("SELECT pg_notify(:channel, :payload)"),
                {"channel": _CHANNEL, "payload": change.model_dump_json()},
            )


async def listen(parameters: dict[str, Any], hub: Hub) -> None:
    """Give what PostgreSQL tells to the hub, for ever; connect again when the connection is lost."""
    while True:
        try:
            async with _connection(parameters) as connection:
                await connection.execute(f"LISTEN {_CHANNEL}")
                hub.connected = True
                # Whatever was told before this moment was not heard.
                hub.publish(None)
                await _hear(connection, hub)
        except (psycopg.Error, OSError, TimeoutError) as error:
            if hub.connected:
                _log.warning("changes are not heard at the moment: %s", " ".join(str(error).split()))
        hub.connected = False
        hub.publish(None)
        await asyncio.sleep(_RETRY)


@asynccontextmanager
async def _connection(parameters: dict[str, Any]) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    name = f"{parameters['application_name']} changes"
    connection = await psycopg.AsyncConnection.connect(
        **(parameters | {"application_name": name}), autocommit=True
    )
    try:
        yield connection
    finally:
        # Not `async with`: that would talk to a server that may have gone.
        await connection.close()


async def _hear(connection: psycopg.AsyncConnection[Any], hub: Hub) -> None:
    while True:
        async for told in connection.notifies(timeout=_QUIET):
            hub.publish(_read(told.payload))
        # A server that went away without a word would be believed for ever.
        async with asyncio.timeout(_QUIET):
            await connection.execute("SELECT 1")


def _read(payload: str) -> Message:
    try:
        return Change.model_validate(json.loads(payload))
    except ValueError:
        # Of another release: something was written, and it is not known what.
        return None
