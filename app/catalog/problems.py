"""Errors as RFC 9457 problem details, every one of them, with the id that is also in the log."""

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from catalog.logs import current_request_id

MEDIA_TYPE = "application/problem+json"

INVALID_KIND, INVALID_TITLE = "urn:problem-type:catalog:invalid-request", "The request is not valid"
UNAVAILABLE_KIND = "urn:problem-type:catalog:database-unavailable"
UNAVAILABLE_TITLE = "The database does not answer"
UNAVAILABLE_DETAIL = "The database does not answer at the moment."

_log = logging.getLogger(__name__)


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="Where it is: `body`, `query`, `path` or `header`.", examples=["body"])
    field: str = Field(description="JSON pointer into it.", examples=["/price"])
    detail: str = Field(description="What is wrong.", examples=["Input should be greater than or equal to 0"])


class Problem(BaseModel):
    """Problem details as of RFC 9457."""

    type: str = Field(description="Kind of problem; `about:blank` says no more than the status.")
    title: str = Field(description="The kind in words.")
    status: int = Field(description="HTTP status.")
    detail: str = Field(description="What happened, for people.")
    request_id: str = Field(description="Id of the request, also in the log and in `X-Request-ID`.")
    errors: list[Fault] | None = Field(None, description="What is wrong with the request, one by one.")


class ApiError(Exception):
    """A refusal that a client can act on."""

    status = HTTPStatus.BAD_REQUEST
    kind = "about:blank"
    title: str | None = None
    # Of its detail, for the description.
    example = ""
    errors: Sequence[Fault] | None = None
    extra: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers


def problem(
    status: int,
    detail: str,
    *,
    kind: str = "about:blank",
    title: str | None = None,
    errors: Sequence[Fault] | None = None,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] = MappingProxyType({}),
) -> Response:
    """Return the response for a problem."""
    body: dict[str, Any] = {
        "type": kind,
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": current_request_id(),
        **extra,
    }
    if errors is not None:
        body["errors"] = [error.model_dump() for error in errors]
    # ASCII, as json.dumps makes it: a client's own words may hold lone surrogates, which UTF-8 cannot carry.
    return Response(json.dumps(body), status, headers=headers, media_type=MEDIA_TYPE)


# What any operation may answer: kind, title and an example of each.
_GENERAL: dict[int, tuple[str, str | None, str]] = {
    400: ("about:blank", None, "There was an error parsing the body"),
    413: ("about:blank", None, "A request body may have 1000000 bytes here."),
    415: ("about:blank", None, "Send JSON, with `Content-Type: application/json`."),
    422: (INVALID_KIND, INVALID_TITLE, 'body/price: write it as a string, like "12.50"'),
    500: ("about:blank", None, "An unknown error; it is in the log under 4bf92f3577b34da6a3ce929d0e0e4736."),
    503: (UNAVAILABLE_KIND, UNAVAILABLE_TITLE, UNAVAILABLE_DETAIL),
}


def describe(*errors: int | type[ApiError]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of problems that an operation may answer with, with an example of each."""
    described: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        if isinstance(error, int):
            status, (kind, title, detail) = error, _GENERAL[error]
        else:
            status, kind, title, detail = int(error.status), error.kind, error.title, error.example
        phrase = HTTPStatus(status).phrase
        entry = described.setdefault(
            status,
            {
                "description": phrase,
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        name = kind.rpartition(":")[2] if kind != "about:blank" else "error"
        value: dict[str, Any] = {"type": kind, "title": title or phrase, "status": status, "detail": detail}
        value["request_id"] = "4bf92f3577b34da6a3ce929d0e0e4736"
        if status == HTTPStatus.UNPROCESSABLE_ENTITY:
            where, _, said = detail.partition(": ")
            place, _, field = where.partition("/")
            value["errors"] = [{"where": place, "field": f"/{field}", "detail": said}]
        entry["content"][MEDIA_TYPE]["examples"][name] = {"summary": value["title"], "value": value}
    return described


def install(app: FastAPI) -> None:
    """Make `app` answer every error with problem details."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(ApiError, _api)
    for unavailable in (OperationalError, InterfaceError, PoolTimeout):
        app.add_exception_handler(unavailable, _unavailable)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # Each route knows its own method; the description knows all that the path has.
        path = getattr(request.scope.get("route"), "path", "")
        methods = request.app.openapi()["paths"].get(path, {"get": None})
        headers["Allow"] = ", ".join(sorted(method.upper() for method in methods))
    return problem(error.status_code, str(error.detail), headers=headers)


async def _api(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return problem(
        error.status,
        error.detail,
        kind=error.kind,
        title=error.title,
        errors=error.errors,
        headers=error.headers,
        extra=error.extra,
    )


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = []
    for one in error.errors():
        where, *path = one["loc"]
        # What the client sent is not repeated: it may be large, secret, or not text at all.
        faults.append(Fault(where=str(where), field=pointer(path), detail=one["msg"]))
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "; ".join(f"{fault.where}{fault.field}: {fault.detail}" for fault in faults),
        kind=INVALID_KIND,
        title=INVALID_TITLE,
        errors=faults,
    )


def pointer(path: Sequence[Any]) -> str:
    """Return where something is in JSON, as of RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


async def _unavailable(request: Request, error: Exception) -> Response:
    cause = error.orig if isinstance(error, DBAPIError) else error
    _log.warning("the database did not answer: %s", " ".join(str(cause).split()))
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        UNAVAILABLE_DETAIL,
        kind=UNAVAILABLE_KIND,
        title=UNAVAILABLE_TITLE,
        headers={"Retry-After": "2"},
    )
