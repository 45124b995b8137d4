"""One JSON object per line on stdout, for journald and whatever reads it."""

import contextlib
import json
import logging
import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from starlette.types import Scope

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_trace_id: ContextVar[str] = ContextVar("trace_id", default="")

# What every record has; the rest was given with `extra=`.
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def current_request_id() -> str:
    """Return the id of the request that is being answered, or nothing outside of one."""
    return _request_id.get()


def set_request_id(request_id: str, trace_id: str) -> None:
    """Say which request is being answered from here on, in this task and those it starts."""
    _request_id.set(request_id)
    _trace_id.set(trace_id)


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := current_request_id():
            line["request_id"] = request_id
            line["trace_id"] = _trace_id.get()
        line.update((key, value) for key, value in vars(record).items() if key not in _PLAIN)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line)


_encode = json.JSONEncoder(default=str).encode
_quoted = json.encoder.encode_basestring_ascii
_access = logging.getLogger("catalog.access")


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _now() -> str:
    """Return the time as the formatter writes it; nearly all lines are of the second of the one before."""
    seconds, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}+00:00"


def access(level: int, scope: Scope, *, route: str, status: int, seconds: float) -> None:
    """Write the line of a request.

    Put together by hand and without a record, as there is one for every request: a third of the time.
    """
    if not _access.isEnabledFor(level):
        return
    method, path, client = scope["method"], scope["path"], scope.get("client")
    line = (
        f'{{"time": "{_now()}", '
        f'"level": "{"info" if level == logging.INFO else "debug"}", "logger": "{_access.name}", '
        f'"message": {_quoted(f"{method} {path} {status}")}, '
        f'"request_id": "{_request_id.get()}", "trace_id": "{_trace_id.get()}", '
        f'"method": {_quoted(method)}, "path": {_quoted(path)}, "route": {_quoted(route)}, '
        f'"status": {status}, "duration_ms": {seconds * 1000:.2f}, '
        f'"client": {_quoted(client[0] if client else "")}}}'
    )
    with contextlib.suppress(OSError, ValueError):
        _print(line)


def _print(line: str) -> None:
    """Write one line in one piece, so that those of several workers do not mix."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class _Stdout(logging.Handler):
    """Writes to what is stdout at that moment; a class of its own, so that `configure` finds it again."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            _print(self.format(record))
        except (OSError, ValueError):
            self.handleError(record)


def configure(level: str) -> None:
    """Send what is logged from `level` on to stdout."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Stdout)]:
        root.removeHandler(handler)
    handler = _Stdout()
    handler.setFormatter(JsonFormatter())
    root.addHandler(handler)
    root.setLevel(level.upper())
