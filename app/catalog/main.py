"""The application, made by a factory: importing this module reads no settings and opens no connection."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from starlette.datastructures import State

from catalog import __version__, docs, feed, health, logs, openapi, problems, tracing
from catalog.bulk import routes as bulk
from catalog.cache import make_cache
from catalog.categories import routes as categories
from catalog.changes import Hub
from catalog.database import Database, is_postgresql, known_revisions, libpq_parameters
from catalog.drain import Drain
from catalog.follow import follow_postgresql, follow_sqlite
from catalog.kept import Kept
from catalog.limits import InDatabase, InValkey, WriteLimit
from catalog.metrics import Metrics
from catalog.middleware import BodyLimit, Observer
from catalog.products import routes as products
from catalog.settings import Settings, load_settings
from catalog.similar import routes as similar
from catalog.sqlite import FileVersion
from catalog.valkey import make_valkey

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


_TICK = 0.25


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open everything in the worker, after the fork, and close it when the last request is answered."""
    state, settings = app.state, app.state.settings
    if not settings.api_keys:
        _log.warning("nobody may write: CATALOG_API_KEYS names no key")
    state.database = Database(settings)
    state.hub = Hub()
    valkey = make_valkey(settings)
    state.cache = make_cache(settings, state.hub, state.metrics, valkey)
    counter = InValkey(valkey) if valkey else InDatabase(state.database.autocommit)
    state.write_limit = WriteLimit(settings.write_rate, counter)
    state.drain = Drain(settings.drain_delay)
    state.comparing = CapacityLimiter(1)
    tasks = [asyncio.create_task(work) for work in (_measure(state), _follow(state))]
    state.metrics.workers.set(1)
    engine = state.database.engine.sync_engine
    with tracing.exporting(settings, engine) as state.tracer, state.drain.watch():
        yield
    state.metrics.workers.set(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await state.cache.close()
    if valkey:
        await valkey.close()
    await state.database.close()


async def _follow(state: State) -> None:
    """Hear of changes."""
    settings: Settings = state.settings
    engine, url = state.database.autocommit, settings.database_url
    if is_postgresql(url):
        await follow_postgresql(libpq_parameters(settings), engine, state.hub)
    else:
        await follow_sqlite(FileVersion(url), engine, state.hub)


async def _measure(state: State) -> None:
    """Look at what no request can see."""
    metrics: Metrics = state.metrics
    metrics.pool_size.set(state.settings.database_pool_size)
    while True:
        asked = time.perf_counter()
        await asyncio.sleep(_TICK)
        metrics.loop_lag.observe(max(0.0, time.perf_counter() - asked - _TICK))
        metrics.pool_in_use.set(state.database.connections_in_use)
        metrics.feeds.set(state.hub.clients)


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
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.metrics = Metrics(__version__, settings.release)
    app.state.revisions = known_revisions()
    app.state.model = None
    if settings.similar_megabytes:
        # Not imported otherwise. Here and not in the lifespan: with preload that is before the fork.
        from catalog.similar.model import load

        app.state.model = load(settings.similar_megabytes)
    problems.install(app)
    openapi.install(app, problems=(bulk.Refusal,))
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, limit=settings.max_body, of_path={"/import/products": settings.max_import})
    app.add_middleware(Kept, templates=("/products", "/products/{product_id}"))
    app.add_middleware(Observer, metrics=app.state.metrics)
    app.include_router(products.router)
    app.include_router(categories.router)
    app.include_router(similar.router)
    app.include_router(bulk.router)
    app.include_router(feed.router)
    app.include_router(docs.router)
    app.include_router(health.router)
    app.add_api_route("/", _index, include_in_schema=False)
    return app


async def _index() -> RedirectResponse:
    return RedirectResponse("/docs")
