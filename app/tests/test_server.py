"""The application under Gunicorn, with several workers on a Unix socket, as it is deployed."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from tests.servers import Gunicorn, PostgreSQL, gunicorn, wait_for

MUG = {"sku": "MUG-1", "name": "Blue mug", "price": "12.50"}


@pytest.fixture
def server_url(postgresql_url: str) -> dict[str, str]:
    """Return the environment of an application on PostgreSQL."""
    return {"DATABASE_URL": postgresql_url, "APP_RELEASE": "r1"}


@pytest.fixture
def app(server_url: dict[str, str]) -> Iterator[Gunicorn]:
    """Return a running application with two workers, both of which answer."""
    with gunicorn(server_url) as running:
        wait_for(running.ready, "not ready", running.output)
        yield running


def _number(app: Gunicorn, series: str) -> float:
    with app.client() as client:
        text = client.get("/metrics").text
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.M)
    return float(found.group(1)) if found else 0


VERSIONS = 'http_requests_total{method="GET",route="/version",status="200"}'
WORKERS = "app_workers"
TIMES = 'http_request_duration_seconds_count{method="GET",route="/version"}'
IN_FLIGHT = "http_requests_in_flight"


def _counting(app: Gunicorn) -> set[int]:
    """Return which workers have counted something."""
    return {int(path.stem.split("_")[-1]) for path in app.metrics.glob("counter_*.db")}


def _ask_until_all_counted(app: Gunicorn) -> int:
    """Ask /version over new connections until every worker has counted; return how often."""
    workers = app.workers()
    assert len(workers) == 2
    with ThreadPoolExecutor(8) as threads, app.client() as client:
        for batch in range(1, 51):
            responses = threads.map(lambda _: client.get("/version"), range(20))
            assert [response.json()["release"] for response in responses] == ["r1"] * 20
            if workers <= _counting(app):
                return batch * 20
    raise AssertionError("one of the workers never got a request")


def test_numbers_are_those_of_all_workers_also_of_killed_ones(
    app: Gunicorn, server: PostgreSQL, server_url: dict[str, str]
) -> None:
    """Whichever worker is asked sums all; a counter never goes back; nothing stays in flight."""
    asked = _ask_until_all_counted(app)
    for _ in range(10):
        assert _number(app, VERSIONS) == asked
    assert _number(app, TIMES) == asked
    assert _number(app, WORKERS) == 2
    assert _number(app, 'app_release_info{release="r1",version="1.0.0"}') == 1

    # Kill both, with requests in flight.
    before = app.workers()
    with server.connect("catalog") as other, other.transaction():
        other.execute("LOCK TABLE products")
        hanging = [_in_background(lambda: _get(app, "/products")) for _ in range(6)]
        # The one that asks is one too.
        wait_for(lambda: _number(app, IN_FLIGHT) == 7, "the requests did not begin", app.output)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        for request in hanging:
            assert isinstance(request.exception(timeout=10), httpx.TransportError)
    wait_for(lambda: len(app.workers() - before) == 2, "killed workers were not replaced")
    wait_for(app.ready, "not ready again")
    wait_for(lambda: not app.workers() & before, "dead workers are still there")
    assert _number(app, VERSIONS) == asked
    # Those of the killed workers are gone; the second new one may still be starting.
    wait_for(lambda: _number(app, WORKERS) == 2, "the new workers are not counted")
    assert _number(app, IN_FLIGHT) == 1
    assert _number(app, 'app_release_info{release="r1",version="1.0.0"}') == 1
    assert _number(app, VERSIONS) + _ask_until_all_counted(app) == _number(app, VERSIONS)


def _get(app: Gunicorn, path: str) -> httpx.Response:
    with app.client() as client:
        return client.get(path)


def _in_background(work: Callable[[], httpx.Response]) -> Future[httpx.Response]:
    threads = ThreadPoolExecutor(1)
    future = threads.submit(work)
    threads.shutdown(wait=False)
    return future


def test_a_request_in_flight_is_finished_at_sigterm(app: Gunicorn, server: PostgreSQL) -> None:
    """A write that waits for the database when the application is told to stop is still done and answered."""
    with server.connect("catalog") as other:
        with other.transaction():
            other.execute("LOCK TABLE products")
            writing = _in_background(lambda: _post(app))
            wait_for(lambda: _number(app, IN_FLIGHT) == 2, "the request did not begin", app.output)
            app.process.terminate()
            wait_for(lambda: "Shutting down" in app.output.read_text(), "the workers were not told")
            wait_for(lambda: not app.listens(), "it still takes connections")
            assert not writing.done()
        response = writing.result(timeout=10)
        assert response.status_code == 201
        assert app.process.wait(10) == 0
        assert other.execute("SELECT sku FROM products").fetchall() == [("MUG-1",)]
        # Given back, not cut.
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'catalog r1'"
        assert other.execute(query).fetchone() == (0,)


def test_while_it_drains_it_answers_and_is_not_ready(server_url: dict[str, str]) -> None:
    """From SIGTERM on a balancer is told to look elsewhere, for as long as it was given to notice."""
    # By TCP: Gunicorn itself takes a path away at once, where systemd, which made it, would not.
    with gunicorn({**server_url, "CATALOG_DRAIN_DELAY": "3"}, tcp=True) as app, app.client() as client:
        wait_for(app.ready, "not ready", app.output)
        begun = time.monotonic()
        app.process.terminate()
        wait_for(lambda: client.get("/health/ready").status_code == 503, "still ready", app.output)
        for path, status in (("/health/ready", 503), ("/health/live", 200), ("/products", 200)):
            response = client.get(path)
            assert response.status_code == status
            if status == 503:
                assert response.json()["reason"] == "it is being stopped"
        assert app.process.wait(20) == 0
        assert time.monotonic() - begun >= 3


def _post(app: Gunicorn) -> httpx.Response:
    with app.client() as client:
        return client.post("/products", json=MUG)


def test_a_bad_setting_ends_the_start_with_its_sentence() -> None:
    """The journal's last lines say what to change; the application does not run with half of its settings."""
    with gunicorn({"CATALOG_LOGLEVEL": "info"}) as app:
        assert app.process.wait(60) != 0
        assert "CATALOG_LOGLEVEL is not a setting of this application: did you mean" in app.output.read_text()
