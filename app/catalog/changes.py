"""What was written: noted in the transaction that writes it, and told to whoever in this process wants it.

A table holds the last changes, numbered without a gap in the order in which they were committed. So a client
or a worker that knows which one it has seen last gets what came after it, wherever it was.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel
from sqlalchemy import BigInteger, Executable, String, Text, cast, delete, func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from catalog.tables import Base
from catalog.tasks import to_the_end

CHANNEL = "catalog_changes"
# How many changes are kept; and how often the older ones are thrown away: once in so many.
KEPT = 10_000
_SWEEP = 100
# What is read at once.
PAGE = 500
# What one client may be behind before it has to read the table.
BACKLOG = 100
# Any number, as long as it stays the same: it is the name of the lock.
_LOCK = 0x66656564


class Change(BaseModel):
    """Something that was written."""

    what: Literal["product", "category", "import"]
    action: Literal["created", "changed", "deleted", "imported"]
    key: int | str | None = None


class Seen(NamedTuple):
    """Which change was seen last; the moment tells it from one of the same number after a restore."""

    number: int
    moment: int

    def __str__(self) -> str:
        return f"{self.number}-{self.moment:x}"


NOTHING = Seen(0, 0)


class Event(NamedTuple):
    """A change, and where it is in the order of all."""

    at: Seen
    change: Change


class Recorded(Base):
    """A change as the table holds it."""

    __tablename__ = "feed"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    moment: Mapped[int] = mapped_column(BigInteger)
    change: Mapped[str] = mapped_column(Text)


def note(session: AsyncSession, change: Change) -> None:
    """Remember, until the transaction is committed, that something was written in it."""
    session.info.setdefault("changes", []).append(change)


def noted(session: AsyncSession) -> list[Change]:
    """Return what was written."""
    changes: list[Change] = session.info.get("changes", [])
    return changes


async def record(connection: AsyncConnection, changes: Sequence[Change]) -> None:
    """Number the changes and tell every worker: the last thing of a transaction, so that few wait for it.

    PostgreSQL lets those who tell something commit one after another anyway; SQLite lets nobody else write.
    """
    told = connection.dialect.name == "postgresql"
    if told and changes:
        await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    for change in changes:
        moment, content = time.time_ns() // 1000, change.model_dump_json()
        next_number = func.coalesce(func.max(Recorded.number), 0) + 1
        values = select(next_number, literal(moment, BigInteger), literal(content, Text))
        insertion = insert(Recorded).from_select(["number", "moment", "change"], values)
        new = insertion.returning(Recorded.number)
        if told:
            row = new.cte("new")
            # In the transaction, so it is heard when that is committed, and never if it is not.
            message = cast(row.c.number, String) + literal(f"-{moment:x} {content}", Text)
            done = await connection.execute(select(row.c.number, func.pg_notify(CHANNEL, message)))
        else:
            done = await connection.execute(new)
        number = int(done.scalar_one())
        if number % _SWEEP == 0:
            await connection.execute(delete(Recorded).where(Recorded.number <= number - KEPT))


async def newest(engine: AsyncEngine) -> Seen:
    """Return which change is the last one."""
    last = select(Recorded.number, Recorded.moment).order_by(Recorded.number.desc()).limit(1)
    rows = await _read(engine, last)
    return Seen(*rows[0]) if rows else NOTHING


async def after(engine: AsyncEngine, seen: Seen) -> list[Event] | None:
    """Return what came after `seen`, a page of it; None if that is not there any more: who could tell?"""
    columns = (Recorded.number, Recorded.moment, Recorded.change)
    page = select(*columns).where(Recorded.number >= seen.number).order_by(Recorded.number).limit(PAGE + 1)
    events = [
        Event(Seen(number, moment), Change.model_validate_json(change))
        for number, moment, change in await _read(engine, page)
    ]
    if seen == NOTHING:
        # Nothing was thrown away since then.
        return events if not events or events[0].at.number == 1 else None
    return events[1:] if events and events[0].at == seen else None


async def _read(engine: AsyncEngine, query: Executable) -> Sequence[Any]:
    async def ask() -> Sequence[Any]:
        async with engine.connect() as connection:
            return (await connection.execute(query)).all()

    return await to_the_end(ask())


class Signal(Enum):
    """What can be told beside a change."""

    # Some may have been missed: whoever wants them looks into the table.
    LOOK = "look"
    # Something was written that has no number.
    UNKNOWN = "unknown"


Message = Event | Signal


class Hub:
    """Gives each message to whoever in this process wants it."""

    def __init__(self) -> None:
        self.on_change: list[Callable[[], None]] = []
        self._clients: set[asyncio.Queue[Message]] = set()
        # Whether changes of others arrive: only then may anything be remembered.
        self.connected = False
        # Set after a write of this process, for a database that tells nobody.
        self.written = asyncio.Event()

    @contextlib.contextmanager
    def subscribed(self) -> Iterator[asyncio.Queue[Message]]:
        """Yield a queue of what happens from now on."""
        queue: asyncio.Queue[Message] = asyncio.Queue(BACKLOG)
        self._clients.add(queue)
        try:
            yield queue
        finally:
            self._clients.discard(queue)

    @property
    def clients(self) -> int:
        """Return how many listen."""
        return len(self._clients)

    def forget(self) -> None:
        """Have let go whatever is kept of the time before."""
        for listener in self.on_change:
            listener()

    def publish(self, message: Message) -> None:
        """Tell everybody. One that reads too slowly loses what it has not read, and is told that."""
        self.forget()
        for queue in self._clients:
            late = queue.full()
            while late and not queue.empty():
                queue.get_nowait()
            queue.put_nowait(Signal.LOOK if late else message)
