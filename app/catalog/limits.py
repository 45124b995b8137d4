"""How often a key may write."""

import math
import time
from dataclasses import dataclass
from http import HTTPStatus

from catalog.problems import ApiError

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

    def __init__(self, allowance: Allowance) -> None:
        super().__init__(
            f"A key may write {allowance.limit} times a minute.", {"Retry-After": str(allowance.seconds)}
        )


class WriteLimit:
    """Counts the writes of each key by the minute of the clock, in this worker."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used: dict[str, int] = {}
        self._minute = 0

    def take(self, name: str) -> Allowance:
        """Count one write of a key."""
        now = time.time()
        minute = int(now // WINDOW)
        if minute != self._minute:
            self._minute, self._used = minute, {}
        used = self._used[name] = self._used.get(name, 0) + 1
        return Allowance(self.limit, used, math.ceil((minute + 1) * WINDOW - now))
