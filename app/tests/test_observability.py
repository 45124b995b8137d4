"""What is logged and counted, and the id that ties both to an answer."""

import asyncio
import gzip
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Literal

import httpx
import pytest
from fastapi.responses import StreamingResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from catalog import logs
from catalog.main import create_app
from catalog.products import store
from catalog.settings import Settings
from tests.conftest import running


def _lines(capsys: pytest.CaptureFixture[str], logger: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if line["logger"] == logger]


async def test_a_request_is_one_line_of_json(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The line says what was asked, by whom, what came of it and how long it took, and no query."""
    async with running(Settings(database_url=sqlite_url)) as client:
        response = await client.get("/products/7?token=hunter2")
    (line,) = _lines(capsys, "catalog.access")
    assert line.pop("request_id") == response.headers["X-Request-ID"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", str(line.pop("time")))
    assert re.fullmatch(r"[0-9a-f]{32}", str(line.pop("trace_id")))
    duration = line.pop("duration_ms")
    assert isinstance(duration, float)
    assert 0 < duration < 10_000
    assert line == {
        **{"level": "info", "logger": "catalog.access", "message": "GET /products/7 422"},
        **{"method": "GET", "path": "/products/7", "route": "/products/{product_id}"},
        **{"status": 422, "client": "198.18.0.7"},
    }


async def test_probes_are_not_logged(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What asks every few seconds does not drown what people ask, unless that is wanted."""
    levels: list[tuple[Literal["info", "debug"], int]] = [("info", 0), ("debug", 3)]
    for level, expected in levels:
        async with running(Settings(database_url=sqlite_url, log_level=level)) as client:
            for path in ("/health/live", "/health/ready", "/metrics"):
                await client.get(path)
        assert len(_lines(capsys, "catalog.access")) == expected


@pytest.mark.parametrize(
    ("given", "kept"),
    [("3ab583e2e7d1495bbe956786150576b4", True), ("short", False), ('"}{"a', False), ("x" * 65, False)],
)
async def test_the_proxys_request_id_is_kept(client: httpx.AsyncClient, given: str, kept: bool) -> None:
    """An id that Nginx gave is found in every log; what could forge a line is replaced."""
    response = await client.get("/version", headers={"X-Request-ID": given})
    answered = response.headers["X-Request-ID"]
    assert (answered == given) is kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{8,64}", answered)


async def test_an_unknown_error_is_500_with_an_id_to_look_up(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client gets the id, the log gets the trace."""

    async def broken(*_: object) -> None:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(store, "read", broken)
    async with running(Settings(database_url=sqlite_url)) as client:
        response = await client.get("/products/1")
        numbers = (await client.get("/metrics")).text
    assert response.status_code == 500
    problem = response.json()
    assert response.headers["Content-Type"] == "application/problem+json"
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert problem["request_id"] in problem["detail"]
    assert "secret" not in response.text
    (line,) = _lines(capsys, "catalog.middleware")
    assert line["request_id"] == problem["request_id"]
    assert "RuntimeError: secret of the house" in str(line["exception"])
    assert 'http_requests_total{method="GET",route="/products/{product_id}",status="500"} 1.0' in numbers
    assert "http_requests_in_flight 1.0" in numbers


async def test_an_answer_that_breaks_off_is_logged_and_broken_off(
    sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """When half of an answer is sent, no second one is put behind it."""

    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("lost")

    app = create_app(Settings(database_url=sqlite_url))
    app.add_api_route("/half", lambda: StreamingResponse(half()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x.test") as client:
        with pytest.raises(RuntimeError, match="lost"):
            await client.get("/half")
    (line,) = _lines(capsys, "catalog.middleware")
    assert "RuntimeError: lost" in str(line["exception"])


async def test_numbers_are_per_template(client: httpx.AsyncClient) -> None:
    """However many products and paths are asked for, there is one series per route, method and status."""
    for number in range(1, 6):
        await client.get(f"/products/{number}")
        await client.get(f"/nothing/{number}")
        await client.request(f"MEOW{number}", "/products")
    numbers = (await client.get("/metrics")).text
    assert 'http_requests_total{method="GET",route="/products/{product_id}",status="404"} 5.0' in numbers
    assert 'http_requests_total{method="GET",route="other",status="404"} 5.0' in numbers
    assert 'http_requests_total{method="other",route="/products",status="405"} 5.0' in numbers
    assert numbers.count("http_requests_total{") == 3
    duration = (
        'http_request_duration_seconds_bucket{le="+Inf",method="GET",route="/products/{product_id}"} 5.0'
    )
    assert duration in numbers
    # The one that asks.
    assert "http_requests_in_flight 1.0" in numbers
    assert 'app_release_info{release="r1",version="1.0.0"} 1.0' in numbers


def test_a_second_application_adds_no_second_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Configuring twice, as tests and tools do, leaves one line per event."""
    logs.configure("warning")
    logs.configure("info")
    logging.getLogger("catalog.test").info("once", extra={"odd": {1, 2}})
    (line,) = _lines(capsys, "catalog.test")
    assert line["message"] == "once"
    assert "request_id" not in line


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("given", "trace", "flags"),
    [
        (f"00-{TRACE}-{SPAN}-01", TRACE, "01"),
        (f"00-{TRACE}-{SPAN}-00", TRACE, "00"),
        (f"cc-{TRACE}-{SPAN}-01-later", TRACE, "01"),
        (f"ff-{TRACE}-{SPAN}-01", None, "01"),
        (f"00-{'0' * 32}-{SPAN}-01", None, "01"),
        (f"00-{TRACE}-{'0' * 16}-01", None, "01"),
        ("nonsense", None, "01"),
        ("", None, "01"),
    ],
)
async def test_a_trace_goes_on(
    sqlite_url: str, capsys: pytest.CaptureFixture[str], given: str, trace: str | None, flags: str
) -> None:
    """The caller's trace is that of the answer and of the log; without one it is the request's own id."""
    request_id = "3ab583e2e7d1495bbe956786150576b4"
    async with running(Settings(database_url=sqlite_url)) as client:
        headers = {"X-Request-ID": request_id, "traceparent": given}
        response = await client.get("/version", headers=headers)
    version, trace_id, span_id, answered_flags = response.headers["traceparent"].split("-")
    assert (version, trace_id, answered_flags) == ("00", trace or request_id, flags)
    assert re.fullmatch(r"[0-9a-f]{16}", span_id)
    assert span_id != SPAN
    (line,) = _lines(capsys, "catalog.access")
    assert line["trace_id"] == trace_id


@contextmanager
def _collector() -> Iterator[tuple[str, list[Span]]]:
    """Run a collector; yield its address, and the spans that it gets."""
    spans: list[Span] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                assert b"r9" in resource.resource.SerializeToString()
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = Thread(target=collector.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{collector.server_port}/", spans
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()


async def test_spans_go_to_a_collector_that_is_named(database_url: str) -> None:
    """One per request, as a child of the caller's, and one per statement below it; none that nobody wants."""
    with _collector() as (endpoint, spans):
        settings = Settings(database_url=database_url, otlp_endpoint=endpoint, release="r9")
        async with running(settings) as client:
            wanted = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
            answer = await client.get("/products/7", headers=wanted)
            await client.get("/products/8", headers={"traceparent": f"00-{TRACE}-{SPAN}-00"})
            await client.get("/version", headers={"traceparent": f"00-{TRACE}-{SPAN}-00"})
    requests = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    assert [span.name for span in requests] == ["GET /products/{product_id}"]
    assert requests[0].trace_id == bytes.fromhex(TRACE)
    assert requests[0].parent_span_id == bytes.fromhex(SPAN)
    assert requests[0].span_id.hex() == answer.headers["traceparent"].split("-")[2]
    statements = [span for span in spans if span.name.startswith("SELECT")]
    assert len(statements) == 1
    assert statements[0].parent_span_id == requests[0].span_id
    said = statements[0].SerializeToString()
    assert b"FROM products" in said
    # The statement, and not what was asked for with it.
    assert b"products.id = 7" not in said
    # Nothing of what no request has asked, as the feed does; nor of a request that nobody wants recorded.
    assert {span.trace_id for span in spans} == {bytes.fromhex(TRACE)}
    assert {span.parent_span_id for span in spans if span is not requests[0]} == {requests[0].span_id}


async def test_without_a_collector_statements_cost_nothing(sqlite_url: str) -> None:
    """Nothing listens to the engine but what SQLite needs."""
    async with running(Settings(database_url=sqlite_url)) as client:
        transport = client._transport
        assert isinstance(transport, httpx.ASGITransport)
        engine = transport.app.state.database.engine.sync_engine  # type: ignore[attr-defined]
        assert not engine.dispatch.before_cursor_execute
        assert not engine.dispatch.after_cursor_execute


async def test_what_no_request_sees_is_measured(client: httpx.AsyncClient) -> None:
    """The loop's lag, and the connections of the pool."""
    await asyncio.sleep(0.6)
    numbers = (await client.get("/metrics")).text
    assert re.search(r"^event_loop_lag_seconds_count [1-9]", numbers, re.M)
    assert "\ndatabase_connections_allowed 5.0\n" in numbers
    assert "\ndatabase_connections_in_use 0.0\n" in numbers
