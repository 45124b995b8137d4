"""The description of the interface, where FastAPI's own would not be true."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from catalog.problems import Problem, describe


def install(app: FastAPI, *, problems: tuple[type[BaseModel], ...] = ()) -> None:
    """Make `app.openapi()` describe the errors that are answered; `problems` say more than any other does."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = original()
            _describe_problems(document["components"]["schemas"], (Problem, *problems))
            for parameter in _parameters(document["paths"]):
                _describe_parameter(parameter)
            for operation in _operations(document["paths"]):
                _describe_answers(operation, document["components"]["schemas"])
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


def _operations(paths: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in paths.values():
        yield from operations.values()


def _parameters(paths: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operation in _operations(paths):
        yield from operation.get("parameters", ())


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


_ALWAYS = {
    "X-Request-ID": _header("Id of the request, also in the log.", "4bf92f3577b34da6a3ce929d0e0e4736"),
    "traceparent": _header(
        "Where the request is in a trace (W3C).", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    ),
}
_OF_A_WRITE = {
    "RateLimit-Policy": _header("Writes that a key has in a window of seconds.", '"writes";q=6000;w=60'),
    "RateLimit": _header("Those left, and the seconds until all are there.", '"writes";r=17;t=42'),
}
_AGAIN = {"Retry-After": _header("Seconds after which to try again.", "2")}
_OF_STATUS = {
    "401": {"WWW-Authenticate": _header("What is asked for.", "Bearer")},
    "429": _AGAIN,
    "503": _AGAIN,
}


def _describe_answers(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Add what is the same everywhere: an unknown error, headers, and an example of what has a model."""
    for status, entry in describe(500).items():
        operation["responses"].setdefault(str(status), entry)
    for status, response in operation["responses"].items():
        headers = {**_ALWAYS, **_OF_STATUS.get(status, {})}
        if "security" in operation and status != "401":
            headers |= _OF_A_WRITE
        response["headers"] = headers | response.get("headers", {})
        for content in response.get("content", {}).values():
            if "example" not in content and "examples" not in content and content.get("schema"):
                content["example"] = _example(content["schema"], schemas)


def _example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Put an example together of those of the fields."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if schema.get("examples"):
        return schema["examples"][0]
    if "properties" in schema:
        return {name: _example(field, schemas) for name, field in schema["properties"].items()}
    if schema.get("type") == "array":
        return [_example(schema["items"], schemas)]
    return schema.get("default")


def _describe_parameter(parameter: dict[str, Any]) -> None:
    # None stands for one that is not sent; the word null is no value that could be.
    options = parameter["schema"].pop("anyOf", None)
    if options:
        parameter["schema"].update(*(option for option in options if option != {"type": "null"}))
    # FastAPI would answer 422 for a header that it knows to be mandatory; without this one it is 428.
    if parameter["name"] == "if-match":
        parameter["required"] = True
