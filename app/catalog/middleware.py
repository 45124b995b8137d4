"""What happens around every request: its id, its line in the log, its numbers, its size."""

import logging
import re
import secrets
import time
from collections.abc import Awaitable, Iterable, Mapping
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from catalog.logs import access, set_request_id
from catalog.metrics import Metrics
from catalog.problems import problem
from catalog.tracing import Trace, Tracer, trace

_log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# What asks all the time would drown what people ask.
_QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})
# Nobody was left to answer to; the number is Nginx's.
_CLIENT_GONE = 499
# Of a scope: headers for its answer, whatever that will be.
EXTRA_HEADERS = "catalog.headers"


class Observer:
    """Gives each request an id, logs and counts it, and turns an unknown error into a 500 with that id.

    One plain ASGI class instead of several `BaseHTTPMiddleware`: those cost a task and a queue each.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 0
        request_id, at = _identity(scope["headers"])
        set_request_id(request_id, at.trace_id)

        # Not async: it has nothing to wait for, and would be one coroutine more for each piece of an answer.
        def send_with_id(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_headers(scope, request_id, at)]
            return send(message)

        tracer: Tracer | None = getattr(scope["app"].state, "tracer", None)
        leave = tracer.enter(at) if tracer is not None else None
        self.metrics.in_flight(1)
        try:
            await self.app(scope, receive, send_with_id)
        except ClientDisconnect:
            # Nobody is left to answer to, and nothing was done.
            pass
        except Exception:
            _log.exception("an error nobody expected")
            if status:
                # Half of the answer is gone already: only a broken connection can tell the client.
                raise
            response = problem(500, f"An unknown error; it is in the log under {request_id}.")
            await response(scope, receive, send_with_id)
        finally:
            self.metrics.in_flight(-1)
            if leave is not None:
                leave()
            # The template (/products/{product_id}), never the path: a label per product would be endless.
            route: str = getattr(scope.get("route"), "path", "other")
            method, status, seconds = scope["method"], status or _CLIENT_GONE, time.perf_counter() - begun
            self.metrics.observe(method, route, status, seconds)
            if tracer is not None:
                tracer.record(at, method, route, status, seconds)
            level = logging.DEBUG if route in _QUIET else logging.INFO
            access(level, scope, route=route, status=status, seconds=seconds)


def _headers(scope: Scope, request_id: str, at: Trace) -> list[tuple[bytes, bytes]]:
    """Return what every answer says, and what was noted for this one."""
    headers = [(b"x-request-id", request_id.encode()), (b"traceparent", at.traceparent.encode())]
    extra: dict[str, str] | None = scope.get(EXTRA_HEADERS)
    if extra:
        headers += [(name.lower().encode(), value.encode()) for name, value in extra.items()]
    return headers


def _identity(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, Trace]:
    """Return the proxy's id of the request if it is one, else a new one, and where it is in a trace."""
    given = traceparent = ""
    for name, value in headers:
        if name == b"x-request-id":
            given = given or value.decode("latin-1")
        elif name == b"traceparent":
            traceparent = traceparent or value.decode("latin-1")
    request_id = given if given and _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
    return request_id, trace(traceparent, request_id)


class BodyLimit:
    """Refuses a body that is too large, announced or not, before it fills the memory.

    FastAPI has `max_body_size`, but answers an announced one in plain text and outside of any middleware.
    """

    def __init__(self, app: ASGIApp, limit: int, of_path: Mapping[str, int]) -> None:
        self.app = app
        self.limit = limit
        self.of_path = of_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.of_path.get(scope["path"], self.limit)
        detail = f"A request body may have {limit} bytes here."
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
            return message

        await self.app(scope, receive_limited, send)
