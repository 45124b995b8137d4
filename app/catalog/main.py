"""The application, made by a factory: importing this module reads no settings and opens no connection."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from catalog import __version__, health, logs, openapi, problems
from catalog.bulk import routes as bulk
from catalog.categories import routes as categories
from catalog.database import Database, known_revisions
from catalog.drain import Drain
from catalog.limits import WriteLimit
from catalog.metrics import Metrics
from catalog.middleware import BodyLimit, Observer
from catalog.products import routes as products
from catalog.settings import Settings, load_settings

_log = logging.getLogger(__name__)

_DESCRIPTION = """
A small catalogue of products.

**Reading** is open. **Writing** needs `Authorization: Bearer <key>`; `RateLimit` says how often that key may
still write, and 429 when it is too often.

**Changing** needs `If-Match` with the `ETag` that was read, or `*` for whatever is there: 428 without it, 412
if somebody else was faster. Reading takes `If-None-Match`.

**Pages**: a list answers with `next`, and with the same as a `Link` header; follow it until it is gone.

**Errors** are problem details (RFC 9457). `request_id` leads to the log; with 429 and 503, try again after
`Retry-After` seconds: nothing was written. With no answer at all, a `PUT` with `If-Match` can be sent again.
"""


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the pool in the worker, after the fork, and close it when the last request is answered."""
    settings: Settings = app.state.settings
    app.state.database = Database(settings)
    app.state.metrics.workers.set(1)
    if not settings.api_keys:
        _log.warning("nobody may write: CATALOG_API_KEYS names no key")
    app.state.drain = Drain(settings.drain_delay)
    with app.state.drain.watch():
        yield
    app.state.metrics.workers.set(0)
    await app.state.database.close()


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application for `settings`, by default those of this process."""
    settings = settings or load_settings()
    logs.configure(settings.log_level)
    app = FastAPI(
        title="Catalogue",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=_lifespan,
        # A redirect from /products/ to /products would turn a POST into a GET in many clients.
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.metrics = Metrics(__version__, settings.release)
    app.state.revisions = known_revisions()
    app.state.write_limit = WriteLimit(settings.write_rate)
    problems.install(app)
    openapi.install(app, problems=(bulk.Refusal,))
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, limit=settings.max_body, of_path={"/import/products": settings.max_import})
    app.add_middleware(Observer, metrics=app.state.metrics)
    app.include_router(products.router)
    app.include_router(categories.router)
    app.include_router(bulk.router)
    app.include_router(health.router)
    app.add_api_route("/", _index, include_in_schema=False)
    return app


async def _index() -> RedirectResponse:
    return RedirectResponse("/docs")
