"""Hears of what any process writes, and gives it to this one's hub.

PostgreSQL tells of each change when it is committed (NOTIFY) to every worker that listens. SQLite tells
nobody, but counts the commits of its file, so a worker looks at that number twice a second. Either way the
table of changes has the last word: what was not heard is read from it.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from catalog.changes import CHANNEL, Change, Event, Hub, Seen, Signal, after, newest
from catalog.sqlite import FileVersion

_log = logging.getLogger(__name__)
# How long a listener hears nothing before it asks whether anybody is there.
_QUIET = 20.0
_RETRY = 1.0
_LOOK = 0.5
_TOLD = re.compile(r"([0-9]+)-([0-9a-f]+) (.+)", re.DOTALL)
# What a server does that is not there.
_AWAY = (psycopg.Error, DBAPIError, PoolTimeout, OSError)


class Follower:
    """Gives every change to the hub once and in order."""

    def __init__(self, engine: AsyncEngine, hub: Hub) -> None:
        self._engine = engine
        self._hub = hub
        self._seen: Seen | None = None

    async def catch_up(self) -> None:
        """Read what was not heard."""
        if self._seen is None:
            self._seen = await newest(self._engine)
            self._hub.publish(Signal.LOOK)
            return
        while events := await after(self._engine, self._seen):
            for event in events:
                self._publish(event)
        if events is None:
            # Too much, or another history: each client finds out by itself what that means for it.
            self._seen = None
            await self.catch_up()

    async def hear(self, event: Event | None) -> None:
        """Take what was told; None: by a release that does not number its changes."""
        if event is None:
            self._hub.publish(Signal.UNKNOWN)
        elif self._seen is not None and event.at.number == self._seen.number + 1:
            self._publish(event)
        else:
            await self.catch_up()

    def _publish(self, event: Event) -> None:
        self._seen = event.at
        self._hub.publish(event)


async def follow_postgresql(parameters: dict[str, Any], engine: AsyncEngine, hub: Hub) -> None:
    """Listen, for ever; connect again when the connection is lost."""
    follower = Follower(engine, hub)
    while True:
        try:
            async with _connection(parameters) as connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                # Only then: what is committed after LISTEN is heard, and what was before is read.
                await follower.catch_up()
                hub.connected = True
                # What was kept before may be older than what was missed.
                hub.forget()
                await _hear(connection, follower)
        except _AWAY as error:
            if hub.connected:
                _log.warning("changes are not heard at the moment: %s", " ".join(str(error).split()))
        hub.connected = False
        hub.forget()
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


async def _hear(connection: psycopg.AsyncConnection[Any], follower: Follower) -> None:
    while True:
        async for told in connection.notifies(timeout=_QUIET):
            await follower.hear(read(told.payload))
        # A server that went away without a word would be believed for ever.
        async with asyncio.timeout(_QUIET):
            await connection.execute("SELECT 1")


def read(payload: str) -> Event | None:
    """Return what was told, or None if it is of another release, so that it is not known what was written."""
    found = _TOLD.fullmatch(payload)
    try:
        return (
            Event(Seen(int(found[1]), int(found[2], 16)), Change.model_validate_json(found[3]))
            if found
            else None
        )
    except ValueError:
        return None


async def follow_sqlite(version: FileVersion, engine: AsyncEngine, hub: Hub) -> None:
    """Look at the file, for ever: at once after a write of this process, soon after one of another."""
    follower = Follower(engine, hub)
    known: str | None = None
    try:
        while True:
            written = hub.written.is_set()
            hub.written.clear()
            now = version()
            if written or now != known:
                with contextlib.suppress(*_AWAY):
                    await follower.catch_up()
                    known = now
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(hub.written.wait(), _LOOK)
    finally:
        version.close()
