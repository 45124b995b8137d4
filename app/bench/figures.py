"""The figures, one function each. Every one starts what it needs, and leaves nothing behind."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from alembic import command
from sqlalchemy import event

from bench.load import Load, middle, ratio, say, side_by_side, wrk
from bench.memory import peak, pss
from catalog.settings import Settings
from tests.conftest import alembic_config, running
from tests.servers import BEARER, Gunicorn, PostgreSQL, gunicorn, postgresql, wait_for

Figure = dict[str, Any]
CSV = {"Content-Type": "text/csv"}


@contextmanager
def database() -> Iterator[tuple[PostgreSQL, str]]:
    """Run a PostgreSQL of our own, with the tables and nothing in them."""
    with postgresql() as server:
        with server.connect() as connection:
            # As it runs in production, but for the size of what is cached.
            connection.execute("ALTER SYSTEM SET fsync = on")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("CREATE DATABASE catalog")
        url = server.url("catalog")
        command.upgrade(alembic_config(Settings(database_url=url)), "head")
        yield server, url


def _answers(app: Gunicorn, path: str) -> bool:
    if not app.listens():
        return False
    try:
        with app.client() as client:
            return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def _fill(app: Gunicorn, count: int) -> None:
    rows = "".join(
        f"SKU-{number},Product number {number},Something to be bought.,{number % 1000}.50\n"
        for number in range(count)
    )
    with app.client() as client:
        table = "sku,name,description,price\n" + rows
        imported = client.post("/import/products", content=table, headers=CSV)
        assert imported.status_code == 200, imported.text


def _rates(loads: dict[str, list[Load]]) -> Figure:
    return {name: round(middle(runs)) for name, runs in loads.items()}


def requests(seconds: int) -> Figure:
    """A cached list against a bare route of the same bytes, and what watching a request costs."""
    with database() as (_, url), ExitStack() as stack:
        environment = {"DATABASE_URL": url}

        def serve(module: str, path: str = "/products", **more: str) -> Gunicorn:
            app = stack.enter_context(gunicorn({**environment, **more}, workers=1, tcp=True, module=module))
            wait_for(lambda: _answers(app, path), "it does not answer", app.output)
            return app

        catalogue = serve("catalog.main:create_app()", "/health/ready")
        _fill(catalogue, 50)
        with catalogue.client() as client:
            content = client.get("/products").content
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "content"
        file.write_bytes(content)
        apps = {"catalogue, cached list": (catalogue, "/products")}
        apps["catalogue, without its middleware"] = (
            serve("bench.served:catalogue_unobserved()"),
            "/products",
        )
        for name, module in (
            ("bare route", "bare"),
            ("bare route, our middleware", "observed"),
            ("bare route, our metrics alone", "counted"),
            ("bare route, instrumentator", "instrumented"),
        ):
            app = serve(f"bench.served:{module}()", BENCH_CONTENT=str(file))
            apps[name] = (app, "/products")
            with app.client() as client:
                assert client.get("/products").content == content
        loads = side_by_side(apps, 7, seconds)

    def cost(name: str, to: str) -> float:
        return round(1 / ratio(loads, name, to) - 1, 3)

    return {
        "bytes": len(content),
        "requests per second": _rates(loads),
        "median, ms": {
            name: statistics.median(run.median_ms for run in runs) for name, runs in loads.items()
        },
        "processor time, ms": {
            name: round(statistics.median(run.processor_ms for run in runs), 4)
            for name, runs in loads.items()
        },
        "cached list to bare route": round(ratio(loads, "catalogue, cached list", "bare route"), 3),
        "cost of watching": {
            "of the cached list, with ids, trace and log line": cost(
                "catalogue, cached list", "catalogue, without its middleware"
            ),
            "of a bare route, with ids, trace and log line": cost("bare route, our middleware", "bare route"),
            "of a bare route, metrics alone": cost("bare route, our metrics alone", "bare route"),
            "of a bare route, instrumentator: metrics alone": cost(
                "bare route, instrumentator", "bare route"
            ),
        },
    }


def shared_memory(megabytes: int, seconds: int) -> Figure:
    """Four workers with a large matrix, loaded before the fork, after a minute of reads of every kind."""
    with database() as (_, url):
        environment = {"DATABASE_URL": url, "CATALOG_SIMILAR_MEGABYTES": str(megabytes)}
        with gunicorn(environment, workers=4, tcp=True, preload=True) as app:
            wait_for(lambda: _answers(app, "/health/ready"), "it does not answer", app.output)
            _fill(app, 1000)
            end, turns = time.monotonic() + seconds, 0
            while time.monotonic() < end:
                say(f"load for another {end - time.monotonic():.0f} s")
                for path in ("/products/7/similar", "/products", "/products/7", "/export/products?q=7"):
                    wrk(app, path, 3)
                turns += 1
            workers = {pid: round(pss([pid])) for pid in sorted(app.workers())}
            return {
                "matrix, MB": megabytes,
                "workers": len(workers),
                "seconds of load": turns * 12,
                "sum of PSS, MB": round(pss([*workers, app.process.pid])),
                "PSS of each worker, MB": list(workers.values()),
            }


def start(times: int) -> Figure:
    """From the start of Gunicorn to the first 200 of readiness, without the matrix."""
    with database() as (_, url):
        seconds: list[float] = []
        # One more, which compiles what a deployment has compiled.
        for _ in range(times + 1):
            begun = time.monotonic()
            with gunicorn({"DATABASE_URL": url}, workers=1, tcp=True) as app:
                wait_for(app.ready, "not ready", app.output)
                seconds.append(time.monotonic() - begun)
        del seconds[0]
    return {"runs, s": [round(one, 2) for one in seconds], "middle, s": round(statistics.median(seconds), 2)}


def large_import(rows: int) -> Figure:
    """One file over HTTP into PostgreSQL, and the memory of the worker that takes it."""
    with database() as (server, url), gunicorn({"DATABASE_URL": url}, workers=1, tcp=True) as app:
        wait_for(app.ready, "not ready", app.output)
        _fill(app, 10)
        (worker,) = app.workers()
        idle = pss([worker])

        def pieces() -> Iterator[bytes]:
            yield b"sku,name,description,price,currency\n"
            for begin in range(0, rows, 1000):
                numbers = range(begin, min(begin + 1000, rows))
                yield "".join(
                    f"ROW-{number},Product {number},Something to be bought,{number % 900}.25,EUR\n"
                    for number in numbers
                ).encode()

        took = 0.0

        def send() -> None:
            nonlocal took
            begun = time.monotonic()
            with app.client() as client:
                done = client.post("/import/products", content=pieces(), headers=CSV | BEARER, timeout=300)
            took = time.monotonic() - begun
            assert done.json() == {"created": rows, "replaced": 0}

        most = peak([worker], send)
        with server.connect("catalog") as connection:
            assert connection.execute("SELECT count(*) FROM products").fetchone() == (rows + 10,)
    return {
        "rows": rows,
        "seconds": round(took, 2),
        "rows per second": round(rows / took),
        "above idle, MB": round(most - idle, 1),
        "idle, MB": round(idle, 1),
    }


def queries() -> Figure:
    """How many statements reads send to the database: not kept, and kept."""
    with database() as (_, url):
        return asyncio.run(_queries(url))


async def _queries(url: str) -> Figure:
    counted: dict[str, int] = {}
    async with running(Settings(database_url=url, log_level="warning")) as client:
        transport = client._transport
        assert isinstance(transport, httpx.ASGITransport)
        state = transport.app.state  # type: ignore[attr-defined]
        sent: list[str] = []
        event.listen(
            state.database.engine.sync_engine,
            "before_cursor_execute",
            lambda *given: sent.append(given[2]),
        )
        for number in range(3):
            body = {"sku": f"S-{number}", "name": "Blue mug", "price": "1"}
            assert (await client.post("/products", json=body)).status_code == 201
        # Until this worker has heard of its own writes, which empties the cache once more.
        await asyncio.sleep(1)
        for path in ("/products/1", "/products", "/products?q=mug&sort=-price&limit=2", "/categories"):
            for how in ("not kept", "kept"):
                sent.clear()
                assert (await client.get(path)).status_code == 200
                counted[f"{path}, {how}"] = len(sent)
    return counted
