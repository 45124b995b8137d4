"""Metrics that are right with several workers.

With `PROMETHEUS_MULTIPROC_DIR` each worker keeps its numbers in files there, and whichever worker is
scraped sums all of them, those of workers that ended included. Without it there is one process.
"""

import os
from bisect import bisect_left
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

# Half a millisecond is a cached answer here; ten seconds is where a statement is ended.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
Adder = Callable[[float], None]


def _adder(value: Any) -> Adder:
    """Return what adds to one number of the client, at a small part of what its own `inc` costs.

    That takes a lock, asks which process it is and looks the number up each time, as it knows of no thread
    and no fork. Here the event loop's thread alone counts, and asks for this after the fork. The number is a
    double in a file that this process has mapped: what is added is in the file at once, and stays there when
    a worker is killed. A file that grows is mapped anew, and the pages are the same.
    """
    if not value._multiprocess:
        inc: Adder = value.inc
        return inc
    # Turns to this process's own file if there was a fork.
    value.get()
    numbers = memoryview(value._file._m).cast("d")
    at = value._file._positions[value._key] // numbers.itemsize

    def add(amount: float) -> None:
        numbers[at] += amount

    return add


class _Series(NamedTuple):
    """What is counted of requests with the same method, route and status."""

    requests: Adder
    seconds: Adder
    buckets: tuple[Adder, ...]


class Metrics:
    """What is counted about requests.

    What each request adds to is looked up once, and kept in a dictionary of our own. There is one entry per
    route template, method and status, so it stays small whatever is asked for.
    """

    def __init__(self, version: str, release: str) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "http_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self._durations = Histogram(
            "http_request_duration_seconds",
            "Seconds from the first byte of a request's header to the last of its response.",
            ["method", "route"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "http_requests_in_flight",
            "Requests being answered now.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        # Each worker adds one once it serves; that of a dead one is taken away with its other live numbers.
        self.workers = Gauge(
            "app_workers", "Worker processes that serve.", multiprocess_mode="livesum", registry=self.registry
        )
        release_info = Gauge(
            "app_release_info",
            "1 for the release that runs.",
            ["version", "release"],
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        release_info.labels(version, release).set(1)
        self.pool_in_use = Gauge(
            "database_connections_in_use",
            "Connections that requests hold, looked at four times a second.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self.pool_size = Gauge(
            "database_connections_allowed",
            "Connections that requests may hold.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self.feeds = Gauge(
            "feeds", "Clients that follow /events.", multiprocess_mode="livesum", registry=self.registry
        )
        # What a request waits for the loop before anything of it is done.
        self.loop_lag = Histogram(
            "event_loop_lag_seconds",
            "How much later than asked for the event loop woke up.",
            buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
            registry=self.registry,
        )
        self._reads = Counter(
            "cache_reads", "Reads by what the cache had.", ["result"], registry=self.registry
        )
        for result in ("hit", "miss", "shared", "bypass"):
            self._reads.labels(result)
        self._cache: dict[str, Adder] = {}
        self._series: dict[tuple[str, str, int], _Series] = {}

    @cached_property
    def in_flight(self) -> Adder:
        """Return what is given 1 when a request begins, and -1 when it ends."""
        gauge: Any = self._in_flight
        return _adder(gauge._value)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        series = self._series.get((method, route, status)) or self._find(method, route, status)
        series.requests(1)
        series.seconds(seconds)
        series.buckets[bisect_left(BUCKETS, seconds)](1)

    def _find(self, method: str, route: str, status: int) -> _Series:
        # Not kept under what is no method: anybody can think of another one.
        key = (method if method in METHODS else "other", route, status)
        if key not in self._series:
            requests: Any = self._requests.labels(key[0], route, str(status))
            durations: Any = self._durations.labels(key[0], route)
            self._series[key] = _Series(
                _adder(requests._value),
                _adder(durations._sum),
                tuple(_adder(bucket) for bucket in durations._buckets),
            )
        return self._series[key]

    def cache(self, result: Literal["hit", "miss", "shared", "bypass"]) -> None:
        """Count what the cache had; `shared` waited for another one's miss, `bypass` found no cache."""
        add = self._cache.get(result)
        if add is None:
            child: Any = self._reads.labels(result)
            add = self._cache[result] = _adder(child._value)
        add(1)

    def expose(self) -> bytes:
        """Return all numbers in Prometheus' text format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
