"""The application, made by a factory: importing this module reads no settings and opens no connection."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from catalog import __version__, health, logs, openapi, problems
from catalog.database import Database, known_revisions
from catalog.metrics import Metrics
from catalog.middleware import BodyLimit, Observer
from catalog.products import routes as products
from catalog.settings import Settings, load_settings

_log = logging.getLogger(__name__)

_DESCRIPTION = """
A small catalogue of products.

**Reading** is open. **Writing** needs `Authorization: Bearer <key>` if the server was given keys.

**Pages**: a list answers with `next`, and with the same as a `Link` header; follow it until it is gone.

**Errors** are problem details (RFC 9457). `request_id` leads to the log; with 503, try again after
`Retry-After` seconds: nothing was written.
"""


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the pool in the worker, after the fork, and close it when the last request is answered."""
    settings: Settings = app.state.settings
    app.state.database = Database(settings)
    app.state.metrics.workers.set(1)
    if not settings.api_keys:
        _log.warning("everybody may write: CATALOG_API_KEYS names no key")
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
    problems.install(app)
    openapi.install(app, keys_needed=bool(settings.api_keys))
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, limit=settings.max_body)
    app.add_middleware(Observer, metrics=app.state.metrics)
    app.include_router(products.router)
    app.include_router(health.router)
    app.add_api_route("/", _index, include_in_schema=False)
    return app


async def _index() -> RedirectResponse:
    return RedirectResponse("/docs")
