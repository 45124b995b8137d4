"""Which request belongs to which: W3C trace context, and OpenTelemetry when a variable asks for it."""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Engine

from catalog import __version__
from catalog.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_NOTHING = "0" * 16


class Trace(NamedTuple):
    """Where a request is in a trace."""

    trace_id: str
    span_id: str
    parent_id: str | None
    flags: str

    @property
    def traceparent(self) -> str:
        """Return it as a header, for whatever is asked next."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def trace(traceparent: str, request_id: str) -> Trace:
    """Go on with the trace of the caller, or begin one: with the id of the request if that has the form."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    span_id = secrets.token_hex(8)
    if found and found[1] != "ff" and found[2] != _NOTHING * 2 and found[3] != _NOTHING:
        return Trace(found[2], span_id, found[3], found[4])
    own = request_id if _TRACE_ID.fullmatch(request_id) else secrets.token_hex(16)
    return Trace(own, span_id, None, "01")


class Tracer:
    """Sends a span per request to a collector, and below it one per SQL statement."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        # Not imported otherwise: it takes a third of a second.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

        self._processor = BatchSpanProcessor(
            OTLPSpanExporter(endpoint=f"{(settings.otlp_endpoint or '').rstrip('/')}/v1/traces")
        )
        self._resource = Resource.create(
            {"service.name": "catalog", "service.version": __version__, "app.release": settings.release}
        )
        # What is asked outside of a request, or for a caller who wants no record, is not recorded.
        self._provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF), resource=self._resource)
        self._provider.add_span_processor(self._processor)
        self._statements = SQLAlchemyInstrumentor()
        # Its makers have not tried SQLAlchemy 2.1 yet, and it would refuse that; the tests have.
        self._statements.instrument(engine=engine, tracer_provider=self._provider, skip_dep_check=True)

    def enter(self, at: Trace) -> Callable[[], None]:
        """Make what happens from here on in this task a part of the request; return what ends that."""
        from opentelemetry import context
        from opentelemetry.trace import NonRecordingSpan, set_span_in_context

        token = context.attach(set_span_in_context(NonRecordingSpan(_context(at, at.span_id, remote=False))))
        return lambda: context.detach(token)

    def record(self, at: Trace, method: str, route: str, status: int, seconds: float) -> None:
        """Send what is known of an answered request, if the caller wants it recorded."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanKind, Status, StatusCode

        if not int(at.flags, 16) & 1:
            return
        ended = time.time_ns()
        attributes: dict[str, Any] = {
            **{"http.request.method": method, "http.route": route, "http.response.status_code": status}
        }
        self._processor.on_end(
            ReadableSpan(
                name=f"{method} {route}",
                context=_context(at, at.span_id, remote=False),
                parent=_context(at, at.parent_id, remote=True) if at.parent_id else None,
                resource=self._resource,
                attributes=attributes,
                kind=SpanKind.SERVER,
                status=Status(StatusCode.ERROR if status >= 500 else StatusCode.UNSET),
                start_time=ended - round(seconds * 1e9),
                end_time=ended,
            )
        )

    def close(self) -> None:
        """Send what is left."""
        self._statements.uninstrument()
        self._provider.shutdown()


def _context(at: Trace, span_id: str, *, remote: bool) -> "SpanContext":
    from opentelemetry.trace import SpanContext, TraceFlags

    flags = TraceFlags(int(at.flags, 16))
    return SpanContext(int(at.trace_id, 16), int(span_id, 16), is_remote=remote, trace_flags=flags)


@contextmanager
def exporting(settings: Settings, engine: Engine) -> Iterator[Tracer | None]:
    """Yield a tracer if the settings name a collector."""
    if settings.otlp_endpoint is None:
        yield None
        return
    tracer = Tracer(settings, engine)
    try:
        yield tracer
    finally:
        tracer.close()
