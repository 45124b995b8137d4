"""The description of the interface, where FastAPI's own would not be true."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from catalog.problems import Problem


def install(app: FastAPI, *, problems: tuple[type[BaseModel], ...] = ()) -> None:
    """Make `app.openapi()` describe the errors that are answered; `problems` say more than any other does."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = original()
            _describe_problems(document["components"]["schemas"], (Problem, *problems))
            for parameter in _parameters(document["paths"]):
                _describe_parameter(parameter)
        return original()

    app.openapi = openapi  # type: ignore[method-assign]


def _describe_problems(schemas: dict[str, Any], models: tuple[type[BaseModel], ...]) -> None:
    # FastAPI adds its own form of errors to every operation that has a parameter; none is answered here.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in models:
        described = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(described.pop("$defs", {}))
        schemas[model.__name__] = described


def _parameters(paths: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in paths.values():
        for operation in operations.values():
            yield from operation.get("parameters", ())


def _describe_parameter(parameter: dict[str, Any]) -> None:
    # None stands for one that is not sent; the word null is no value that could be.
    options = parameter["schema"].pop("anyOf", None)
    if options:
        parameter["schema"].update(*(option for option in options if option != {"type": "null"}))
    # FastAPI would answer 422 for a header that it knows to be mandatory; without this one it is 428.
    if parameter["name"] == "if-match":
        parameter["required"] = True
