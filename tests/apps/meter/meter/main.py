"""Counts like the reference application, with the same names, and suffers on request."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

WORKERS = Gauge("app_workers", "Workers that serve.", multiprocess_mode="livesum")
IN_FLIGHT = Gauge("http_requests_in_flight", "Requests being answered.", multiprocess_mode="livesum")
REQUESTS = Counter("http_requests", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram(
    "http_request_duration_seconds",
    "Seconds of a request.",
    ["method", "route"],
    buckets=(0.005, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
# What is never given back.
HELD: list[bytearray] = []


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Be counted as a worker."""
    WORKERS.set(1)
    yield


app = FastAPI(title="meter", lifespan=lifespan)


@app.middleware("http")
async def count(request: Request, call_next: Any) -> Response:
    """Count each request before its answer goes out, so that whoever has the answer knows it counted."""
    begun = time.perf_counter()
    IN_FLIGHT.inc()
    response: Response = await call_next(request)
    IN_FLIGHT.dec()
    route = getattr(request.scope.get("route"), "path", "other")
    REQUESTS.labels(request.method, route, str(response.status_code)).inc()
    SECONDS.labels(request.method, route).observe(time.perf_counter() - begun)
    return response


@app.get("/metrics")
def metrics() -> Response:
    """Show the figures of all workers."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")


@app.get("/health")
async def health() -> dict[str, str]:
    """Be well."""
    return {"status": "ok"}


@app.get("/")
async def root() -> dict[str, Any]:
    """Say which release and which worker answers."""
    return {"release": os.environ.get("APP_RELEASE"), "pid": os.getpid()}


@app.get("/status/{code}")
async def status(code: int) -> Response:
    """Answer with a status."""
    return Response(status_code=code)


@app.get("/slow")
async def slow(seconds: float = 1) -> dict[str, float]:
    """Answer after some seconds."""
    await asyncio.sleep(min(seconds, 30))
    return {"seconds": seconds}


@app.get("/hold")
async def hold(mib: int) -> dict[str, int]:
    """Take memory, written to so that it is really there, and keep it."""
    HELD.append(bytearray(b"x") * (mib << 20))
    return {"pid": os.getpid(), "held": sum(map(len, HELD)) >> 20}


@app.get("/forget")
async def forget() -> dict[str, int]:
    """End this worker, and all that it holds with it; Gunicorn makes another one."""
    asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
    return {"pid": os.getpid()}
