"""The way to Valkey or Redis, for whatever the workers of all hosts share."""

import logging
import time
from typing import Any

from catalog.settings import Settings

_log = logging.getLogger(__name__)
# A server that does not answer is asked again after this; nobody waits for it meanwhile.
PAUSE = 2.0


class Valkey:
    """A client of the server that `cache_url` names. When that is down, it is left alone for a while."""

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
        self.server: Any = Redis.from_pool(pool)
        self.errors = (RedisError, OSError, TimeoutError)
        # A user of a server that several applications share has what begins with its name, and nothing else.
        self.prefix = f"{pool.connection_kwargs.get('username') or 'catalog'}:"
        self._until = 0.0

    @property
    def left_alone(self) -> bool:
        """Tell whether it did not answer a moment ago."""
        return time.monotonic() < self._until

    def leave_alone(self, error: Exception) -> None:
        """Note that it did not answer."""
        _log.warning("the cache does not answer: %s", " ".join(str(error).split()))
        self._until = time.monotonic() + PAUSE

    async def close(self) -> None:
        """End."""
        await self.server.aclose()
        await self.server.connection_pool.disconnect()


def make_valkey(settings: Settings) -> Valkey | None:
    """Return a client if the settings name a server."""
    return None if settings.cache_url.get_secret_value() in ("memory", "off") else Valkey(settings)
