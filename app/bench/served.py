"""What is put under load: the catalogue as it is, and what it is measured against."""

import os
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI, Response
from prometheus_fastapi_instrumentator import Instrumentator

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


def counted() -> FastAPI:
    """Return it with the same, and without lines in the log."""
    app = observed()
    logs.configure("warning")
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
