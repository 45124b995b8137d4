"""Answers that are kept until something is written.

Every answer is kept under a generation, and every write begins a new one. What was read before a write can
be stored after it, but only under the old generation, which nobody looks at any more: no answer is older than
the last write that was answered. The generation is where the answers are:

- Valkey or Redis: a key beside them, for all workers of all hosts.
- In process, on PostgreSQL: a number of this worker's own, which moves with its own writes at once, and with
  those of others when PostgreSQL tells of them, milliseconds later. While it cannot hear, it keeps nothing.
- In process, on SQLite: the version of the file, which SQLite counts for every process.
"""

import asyncio
import logging
import secrets
import sqlite3
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from cachetools import TTLCache
from sqlalchemy import make_url

from catalog.changes import Hub
from catalog.metrics import Metrics
from catalog.settings import Settings

_log = logging.getLogger(__name__)
_ENTRIES = 1000
# More than that is made anew: a thousand of the largest pages would fill the memory.
_LARGEST = 64_000
_GENERATION = "catalog:generation"
# A server that does not answer is asked again after this; nobody waits for it meanwhile.
_PAUSE = 2.0
_SEPARATOR = b"\n"
# As long as a look into Valkey may take, or nearly.
_LINGER = 0.25


class Entry(NamedTuple):
    """An answer."""

    content: bytes
    tag: str
    link: str | None = None


class Store(Protocol):
    """Where answers are kept."""

    async def get(self, key: str) -> tuple[str | None, Entry | None]:
        """Return the generation, and the answer if it is of that; no generation: do without."""

    async def set(self, key: str, generation: str, entry: Entry) -> None:
        """Keep an answer that was made of what was there at `generation`."""

    async def begin(self) -> None:
        """Begin a new generation."""

    async def state(self) -> str:
        """Say how it is."""

    async def close(self) -> None:
        """End."""


class InProcess:
    """Keeps them in this worker."""

    def __init__(
        self, seconds: float, generation: Callable[[], str | None], close: Callable[[], None] = lambda: None
    ) -> None:
        self._kept: TTLCache[str, tuple[str, Entry]] = TTLCache(_ENTRIES, seconds)
        self._generation = generation
        self._close = close
        self._own = 0

    async def get(self, key: str) -> tuple[str | None, Entry | None]:
        """Look it up."""
        outside = self._generation()
        if outside is None:
            return None, None
        generation = f"{outside}:{self._own}"
        kept = self._kept.get(key)
        return generation, kept[1] if kept and kept[0] == generation else None

    async def set(self, key: str, generation: str, entry: Entry) -> None:
        """Keep it."""
        self._kept[key] = (generation, entry)

    async def begin(self) -> None:
        """Forget all that was kept."""
        self.forget()

    def forget(self) -> None:
        """Forget all that was kept."""
        self._own += 1

    async def state(self) -> str:
        """Say how it is."""
        return "in process" if self._generation() is not None else "paused: changes of others are not heard"

    async def close(self) -> None:
        """End."""
        self._close()


class Shared:
    """Keeps them in Valkey or Redis. When that is down, there is no cache, and nothing else happens."""

    def __init__(self, settings: Settings) -> None:
        # Not imported otherwise: it takes a quarter of a second.
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError

        seconds = settings.cache_timeout
        pool = BlockingConnectionPool.from_url(
            settings.cache_url.get_secret_value(),
            max_connections=32,
            timeout=seconds,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
        )
        self._server: Any = Redis.from_pool(pool)
        self._errors = (RedisError, OSError, TimeoutError)
        self._seconds = settings.cache_seconds
        # Two releases may answer differently.
        self._prefix = f"catalog:{settings.release}:"
        self._asleep_until = 0.0
        self._begin_later: asyncio.Task[None] | None = None

    async def get(self, key: str) -> tuple[str | None, Entry | None]:
        """Look both up at once."""
        if time.monotonic() < self._asleep_until or self._begin_later is not None:
            return None, None
        try:
            found: list[Any] = await self._server.mget(_GENERATION, self._prefix + key)
            generation, kept = found
            if generation is None:
                # The first one ever, or it was thrown out: whoever is first names one.
                await self._server.set(_GENERATION, secrets.token_hex(8), nx=True)
                generation = await self._server.get(_GENERATION) or b""
        except self._errors as error:
            self._down(error)
            return None, None
        return generation.decode(), _unpack(generation, kept) if kept else None

    async def set(self, key: str, generation: str, entry: Entry) -> None:
        """Keep it."""
        packed = _SEPARATOR.join(
            (generation.encode(), entry.tag.encode(), (entry.link or "").encode(), entry.content)
        )
        try:
            await self._server.set(self._prefix + key, packed, px=round(self._seconds * 1000))
        except self._errors as error:
            self._down(error)

    async def begin(self) -> None:
        """Begin a new generation; if it cannot be told now, as soon as it can, reading nothing till then."""
        if self._begin_later is None and not await self._begun():
            self._begin_later = asyncio.create_task(self._begin_until_done())

    async def _begun(self) -> bool:
        try:
            await self._server.set(_GENERATION, secrets.token_hex(8))
        except self._errors as error:
            self._down(error)
            return False
        return True

    async def _begin_until_done(self) -> None:
        done = False
        while not done:
            await asyncio.sleep(_PAUSE / 4)
            done = await self._begun()
        self._begin_later = None

    async def state(self) -> str:
        """Say how it is."""
        try:
            await self._server.ping()
        except self._errors:
            return "does not answer"
        return "answers"

    def _down(self, error: Exception) -> None:
        _log.warning("the cache does not answer: %s", " ".join(str(error).split()))
        self._asleep_until = time.monotonic() + _PAUSE

    async def close(self) -> None:
        """End."""
        if self._begin_later is not None:
            self._begin_later.cancel()
        await self._server.aclose()
        await self._server.connection_pool.disconnect()


def _unpack(generation: bytes, packed: bytes) -> Entry | None:
    of, tag, link, content = packed.split(_SEPARATOR, 3)
    return Entry(content, tag.decode(), link.decode() or None) if of == generation else None


class Nowhere:
    """Keeps nothing."""

    async def get(self, key: str) -> tuple[str | None, Entry | None]:
        """Have nothing."""
        return None, None

    async def set(self, key: str, generation: str, entry: Entry) -> None:
        """Keep nothing."""

    async def begin(self) -> None:
        """Do nothing."""

    async def state(self) -> str:
        """Say how it is."""
        return "off"

    async def close(self) -> None:
        """Do nothing."""


class Cache:
    """Answers by key, each made once however many ask for it at the same time."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self.store = store
        self._count = metrics.cache
        self._making: dict[tuple[str, str], asyncio.Future[Entry]] = {}

    async def answer(self, key: str, make: Callable[[], Awaitable[Entry]]) -> Entry:
        """Return what is kept, or make it."""
        generation, entry = await self.store.get(key)
        if entry is not None:
            self._count("hit")
            return entry
        if generation is None:
            self._count("bypass")
            return await make()
        making = self._making.get((key, generation))
        if making is not None:
            self._count("shared")
            try:
                # Of one that is asked for by many, none may end it for the others.
                return await asyncio.shield(making)
            except asyncio.CancelledError:
                if not making.cancelled():
                    raise
                # Whoever made it has gone away.
                return await make()
        self._count("miss")
        return await self._make((key, generation), make)

    async def _make(self, at: tuple[str, str], make: Callable[[], Awaitable[Entry]]) -> Entry:
        loop = asyncio.get_running_loop()
        making = self._making[at] = loop.create_future()
        try:
            entry = await make()
        except BaseException as error:
            del self._making[at]
            if isinstance(error, asyncio.CancelledError):
                making.cancel()
            else:
                making.set_exception(error)
                # Looked at, as nobody else may have been waiting for it.
                making.exception()
            raise
        making.set_result(entry)
        if len(entry.content) > _LARGEST:
            del self._making[at]
            return entry
        # Somebody may have looked just before it was kept, and hear only now that it was not there.
        loop.call_later(_LINGER, self._making.pop, at, None)
        await self.store.set(*at, entry)
        return entry

    async def forget(self) -> None:
        """Begin anew: something was written."""
        await self.store.begin()

    async def close(self) -> None:
        """End."""
        await self.store.close()


def make_cache(settings: Settings, hub: Hub, metrics: Metrics) -> Cache:
    """Return the cache that the settings ask for."""
    return Cache(_store(settings, hub), metrics)


def _store(settings: Settings, hub: Hub) -> Store:
    seconds = settings.cache_seconds
    url = settings.cache_url.get_secret_value()
    if url == "off":
        return Nowhere()
    if url == "memory":
        if settings.database_url.startswith("sqlite"):
            version = _FileVersion(settings.database_url)
            return InProcess(seconds, version, version.close)
        kept = InProcess(seconds, lambda: "" if hub.connected else None)
        hub.on_change.append(kept.forget)
        return kept
    return Shared(settings)


class _FileVersion:
    """The version of a SQLite file: another number after every commit of another connection.

    Asked without waiting: it reads eight bytes of shared memory.
    """

    def __init__(self, url: str) -> None:
        self._path = make_url(url).database or ""
        self._connection: sqlite3.Connection | None = None

    def __call__(self) -> str | None:
        """Return it, or None if there is no such file."""
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=0)
            return str(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:
            return None

    def close(self) -> None:
        """End."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
