"""Metrics that are right with several workers.

With `PROMETHEUS_MULTIPROC_DIR` each worker keeps its numbers in files there, and whichever worker is
scraped sums all of them, those of workers that ended included. Without it there is one process.
"""

import os
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

# Half a millisecond is a cached answer here; ten seconds is where a statement is ended.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """What is counted about requests.

    The children of each metric are kept in a dictionary of our own: `labels()` takes a lock and checks its
    arguments every time, which is most of what a count costs. There is one entry per route template,
    method and status, so it stays small whatever is asked for.
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
        self.in_flight = Gauge(
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
        reads = Counter("cache_reads", "Reads by what the cache had.", ["result"], registry=self.registry)
        self._cache = {result: reads.labels(result) for result in ("hit", "miss", "shared", "bypass")}
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        if method not in METHODS:
            method = "other"
        key = (method, route, status)
        children = self._children.get(key)
        if children is None:
            children = (
                self._requests.labels(method, route, str(status)),
                self._durations.labels(method, route),
            )
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def cache(self, result: Literal["hit", "miss", "shared", "bypass"]) -> None:
        """Count what the cache had; `shared` waited for another one's miss, `bypass` found no cache."""
        self._cache[result].inc()

    def expose(self) -> bytes:
        """Return all numbers in Prometheus' text format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
