"""In which turn each host switches: `release_batch` is a count of hosts or a share of them."""

import re
from collections.abc import Sequence

SHAPE = re.compile(r"([1-9][0-9]*)|([1-9][0-9]?|100)%")


def is_batch(value: object) -> bool:
    """Tell whether a value can be a batch."""
    return not isinstance(value, bool) and SHAPE.fullmatch(str(value)) is not None


def size(batch: str, hosts: int) -> int:
    """Return how many hosts switch at a time; a share is rounded down, but is one host at least."""
    if batch.endswith("%"):
        return max(1, hosts * int(batch[:-1]) // 100)
    return int(batch)


def batch_of(host: str, hosts: Sequence[str], batch: str) -> int:
    """Return the turn of a host among those that switch."""
    return list(hosts).index(host) // size(str(batch), len(hosts))
