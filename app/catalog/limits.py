"""How often a key may write, whichever worker of whichever host it asks.

The writes of a minute are counted where all workers see them: in Valkey if there is one, else in the
database. By the minute of the clock that is one statement each, where libraries ask two or three times. While
Valkey is down, each worker counts for itself: the limit is higher then, and there still is one. Without the
database nothing can be written at all.
"""

import math
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from sqlalchemy import BigInteger, Integer, String, case
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Mapped, mapped_column

from catalog.problems import ApiError
from catalog.tables import Base
from catalog.valkey import Valkey

WINDOW = 60


@dataclass(frozen=True)
class Allowance:
    """What is left of a minute."""

    limit: int
    used: int
    seconds: int

    def headers(self) -> dict[str, str]:
        """Return it as a client reads it (draft-ietf-httpapi-ratelimit-headers)."""
        left = max(0, self.limit - self.used)
        return {
            "RateLimit-Policy": f'"writes";q={self.limit};w={WINDOW}',
            "RateLimit": f'"writes";r={left};t={self.seconds}',
        }


class TooManyWritesError(ApiError):
    """A key has used up its minute."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    kind = "urn:problem-type:catalog:too-many-writes"
    title = "Too many writes"
    example = "A key may write 6000 times a minute."

    def __init__(self, allowance: Allowance) -> None:
        super().__init__(
            f"A key may write {allowance.limit} times a minute.", {"Retry-After": str(allowance.seconds)}
        )


class WriteCount(Base):
    """How often a key has written in its last minute."""

    __tablename__ = "write_counts"

    writer: Mapped[str] = mapped_column(String(64), primary_key=True)
    minute: Mapped[int] = mapped_column(BigInteger)
    used: Mapped[int] = mapped_column(Integer)


class Counter(Protocol):
    """Where all workers count."""

    async def add(self, writer: str, minute: int) -> int | None:
        """Return how many there are with this one, or None if it cannot be told."""


class InDatabase:
    """Counts in a row per key, in a transaction of its own: also what is refused later was a try."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        dialect = sqlite if engine.dialect.name == "sqlite" else postgresql
        new = dialect.insert(WriteCount)
        # Clocks differ: what another host has begun is not taken back.
        later = new.excluded.minute > WriteCount.minute
        changes = {
            "used": case((later, 1), else_=WriteCount.used + 1),
            "minute": case((later, new.excluded.minute), else_=WriteCount.minute),
        }
        self._statement = new.on_conflict_do_update(index_elements=["writer"], set_=changes).returning(
            WriteCount.used
        )

    async def add(self, writer: str, minute: int) -> int | None:
        """Count one."""
        async with self._engine.connect() as connection:
            row = {"writer": writer, "minute": minute, "used": 1}
            return int((await connection.execute(self._statement, row)).scalar_one())


class InValkey:
    """Counts in a key per key and minute."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey

    async def add(self, writer: str, minute: int) -> int | None:
        """Count one."""
        if self._valkey.left_alone:
            return None
        key = f"{self._valkey.prefix}writes:{writer}:{minute}"
        try:
            async with self._valkey.server.pipeline(transaction=False) as both:
                used, _ = await both.incr(key).expire(key, 2 * WINDOW).execute()
        except self._valkey.errors as error:
            self._valkey.leave_alone(error)
            return None
        return int(used)


class WriteLimit:
    """Says what a key may still write in this minute of the clock."""

    def __init__(self, limit: int, counter: Counter) -> None:
        self.limit = limit
        self._counter = counter
        # What this worker knows by itself: at least so many there were.
        self._known: dict[str, int] = {}
        self._minute = 0

    async def take(self, writer: str) -> Allowance:
        """Count one write of a key."""
        now = time.time()
        minute = int(now // WINDOW)
        if minute != self._minute:
            self._minute, self._known = minute, {}
        used = self._known.get(writer, 0) + 1
        # Who is over it already is refused without a question to anybody.
        if used <= self.limit:
            counted = await self._counter.add(writer, minute)
            # Answers may come in another order than they were counted in.
            used = self._known.get(writer, 0) + 1 if counted is None else counted
        if minute == self._minute:
            self._known[writer] = max(used, self._known.get(writer, 0))
        return Allowance(self.limit, used, math.ceil((minute + 1) * WINDOW - now))
