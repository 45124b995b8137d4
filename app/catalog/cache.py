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
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from cachetools import TTLCache

from catalog.changes import Hub
from catalog.metrics import Metrics
from catalog.settings import Settings
from catalog.sqlite import FileVersion
from catalog.valkey import PAUSE, Valkey

_ENTRIES = 1000
# More than that is made anew: a thousand of the largest pages would fill the memory.
_LARGEST = 64_000
_SEPARATOR = b"\n"


class Entry(NamedTuple):
    """An answer."""

    content: bytes
    tag: str
    link: str | None = None


# The generation, and the answer if there is one of that.
Looked = tuple[str | None, Entry | None]


class Store(Protocol):
    """Where answers are kept."""

    async def get(self, key: str) -> Looked:
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

    def __init__(self, settings: Settings, valkey: Valkey) -> None:
        self._valkey = valkey
        self._server = valkey.server
        self._seconds = settings.cache_seconds
        # Two releases may answer differently.
        self._prefix = f"{valkey.prefix}{settings.release}:"
        self._key = f"{valkey.prefix}generation"
        self._begin_later: asyncio.Task[None] | None = None

    async def get(self, key: str) -> tuple[str | None, Entry | None]:
        """Look both up at once."""
        if self._valkey.left_alone or self._begin_later is not None:
            return None, None
        try:
            found: list[Any] = await self._server.mget(self._key, self._prefix + key)
            generation, kept = found
            if generation is None:
                # The first one ever, or it was thrown out: whoever is first names one.
                await self._server.set(self._key, secrets.token_hex(8), nx=True)
                generation = await self._server.get(self._key) or b""
        except self._valkey.errors as error:
            self._valkey.leave_alone(error)
            return None, None
        return generation.decode(), _unpack(generation, kept) if kept else None

    async def set(self, key: str, generation: str, entry: Entry) -> None:
        """Keep it."""
        packed = _SEPARATOR.join(
            (generation.encode(), entry.tag.encode(), (entry.link or "").encode(), entry.content)
        )
        try:
            await self._server.set(self._prefix + key, packed, px=round(self._seconds * 1000))
        except self._valkey.errors as error:
            self._valkey.leave_alone(error)

    async def begin(self) -> None:
        """Begin a new generation; if it cannot be told now, as soon as it can, reading nothing till then."""
        if self._begin_later is None and not await self._begun():
            self._begin_later = asyncio.create_task(self._begin_until_done())

    async def _begun(self) -> bool:
        try:
            await self._server.set(self._key, secrets.token_hex(8))
        except self._valkey.errors as error:
            self._valkey.leave_alone(error)
            return False
        return True

    async def _begin_until_done(self) -> None:
        done = False
        while not done:
            await asyncio.sleep(PAUSE / 4)
            done = await self._begun()
        self._begin_later = None

    async def state(self) -> str:
        """Say how it is."""
        try:
            await self._server.ping()
        except self._valkey.errors:
            return "does not answer"
        return "answers"

    async def close(self) -> None:
        """End."""
        if self._begin_later is not None:
            self._begin_later.cancel()


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

    def __init__(self, store: Store, metrics: Metrics, linger: float) -> None:
        self.store = store
        # As long as a look at what is kept may take.
        self._linger = linger
        self._count = metrics.cache
        self._making: dict[tuple[str, str], asyncio.Future[Entry]] = {}

    async def kept(self, key: str) -> Looked:
        """Return what is kept."""
        looked = await self.store.get(key)
        if looked[1] is not None:
            self._count("hit")
        return looked

    async def answer(
        self, key: str, make: Callable[[], Awaitable[Entry]], looked: Looked | None = None
    ) -> Entry:
        """Return what is kept, or make it; `looked` is what `kept` has said of it a moment ago."""
        generation, entry = looked or await self.kept(key)
        if entry is not None:
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
        loop.call_later(self._linger, self._making.pop, at, None)
        await self.store.set(*at, entry)
        return entry

    async def forget(self) -> None:
        """Begin anew: something was written."""
        await self.store.begin()

    async def close(self) -> None:
        """End."""
        await self.store.close()


def make_cache(settings: Settings, hub: Hub, metrics: Metrics, valkey: Valkey | None) -> Cache:
    """Return the cache that the settings ask for."""
    return Cache(_store(settings, hub, valkey), metrics, settings.cache_timeout)


def _store(settings: Settings, hub: Hub, valkey: Valkey | None) -> Store:
    if valkey is not None:
        return Shared(settings, valkey)
    if settings.cache_url.get_secret_value() == "off":
        return Nowhere()
    if settings.database_url.startswith("sqlite"):
        version = FileVersion(settings.database_url)
        return InProcess(settings.cache_seconds, version, version.close)
    kept = InProcess(settings.cache_seconds, lambda: "" if hub.connected else None)
    hub.on_change.append(kept.forget)
    return kept
