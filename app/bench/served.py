"""What is put under load: the catalogue as it is, and what it is measured against."""

import os
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI, Response
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from catalog import logs
from catalog.main import create_app
from catalog.metrics import Metrics
from catalog.middleware import Observer


def _bare() -> FastAPI:
    """Return an application with one route, which answers what the catalogue's list answers."""
    content = Path(os.environ["BENCH_CONTENT"]).read_bytes()
    app = FastAPI()

    @app.get("/products")
    async def products() -> Response:
        return Response(content, media_type="application/json")

    return app


def bare() -> FastAPI:
    """Return it with nothing around it."""
    return _bare()


def observed() -> FastAPI:
    """Return it with the catalogue's middleware: request id, trace, a line in the log, and metrics."""
    logs.configure("info")
    app = _bare()
    app.add_middleware(Observer, metrics=Metrics("1", "bench"))
    return app


class _Counting:
    """What our middleware does for the metrics, and nothing else."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 0

        def send_and_look(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            return send(message)

        self.metrics.in_flight(1)
        try:
            await self.app(scope, receive, send_and_look)
        finally:
            self.metrics.in_flight(-1)
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.observe(scope["method"], route, status, time.perf_counter() - begun)


def counted() -> FastAPI:
    """Return it with the metrics of that middleware alone."""
    app = _bare()
    app.add_middleware(_Counting, metrics=Metrics("1", "bench"))
    return app


def instrumented() -> FastAPI:
    """Return it with the usual instrumentator, which does metrics alone."""
    app = _bare()
    Instrumentator().instrument(app).expose(app)
    return app


def catalogue_unobserved() -> FastAPI:
    """Return the catalogue without its middleware of that kind."""
    app = create_app()
    app.user_middleware = [given for given in app.user_middleware if cast("Any", given.cls) is not Observer]
    return app
