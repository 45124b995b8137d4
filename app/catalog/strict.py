"""What FastAPI lets pass and this application refuses: what is said twice, or said to nobody."""

import json
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException


class DuplicateKeyError(ValueError):
    """An object names a key twice: readers differ in which of both they take."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its pairs; for `json.loads(object_pairs_hook=…)`."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise DuplicateKeyError
    return made


class _Request(Request):
    async def json(self) -> Any:
        try:
            return json.loads(await self.body(), object_pairs_hook=unique_keys)
        except DuplicateKeyError:
            raise _refused("body", "", "an object has the same key twice") from None


def _refused(where: str, name: str, message: str) -> RequestValidationError:
    path = (where, name) if name else (where,)
    return RequestValidationError([{"loc": path, "msg": message, "type": "strict"}])


class StrictRoute(APIRoute):
    """A route that refuses unknown and repeated parameters, repeated keys, and bodies that are not JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers, behind the checks."""
        answer = super().get_route_handler()
        known = frozenset(_parameters(self.dependant))
        takes_json = self.body_field is not None

        async def handler(request: Request) -> Response:
            if request.scope["query_string"]:
                _check_query(request, known)
            if takes_json:
                _check_content_type(request)
                request = _Request(request.scope, request.receive)
            return await answer(request)

        return handler


def _parameters(dependant: Dependant) -> set[str]:
    names: set[str] = set()
    for parameter in dependant.query_params:
        model = parameter.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            names.update(field.alias or name for name, field in model.model_fields.items())
        else:
            names.add(parameter.alias)
    return names.union(*map(_parameters, dependant.dependencies))


def _check_query(request: Request, known: frozenset[str]) -> None:
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            allowed = f"allowed are {', '.join(sorted(known))}" if known else "none is allowed here"
            raise _refused("query", name, f"there is no such parameter: {allowed}")
        if name in seen:
            raise _refused("query", name, "it is there twice")
        seen.add(name)


def _check_content_type(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON, with `Content-Type: application/json`."
        )
