"""The description of the interface, where FastAPI's own would not be true."""

from typing import Any

from fastapi import FastAPI

from catalog.problems import Problem


def install(app: FastAPI, *, keys_needed: bool) -> None:
    """Make `app.openapi()` describe the errors that are answered, and keys only where they are needed."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = original()
            _describe_problems(document["components"]["schemas"])
            if not keys_needed:
                _forget_keys(document)
        return original()

    app.openapi = openapi  # type: ignore[method-assign]


def _describe_problems(schemas: dict[str, Any]) -> None:
    # FastAPI adds its own form of errors to every operation that has a parameter; none is answered here.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    described = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(described.pop("$defs"))
    schemas["Problem"] = described


def _forget_keys(document: dict[str, Any]) -> None:
    del document["components"]["securitySchemes"]
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)
            operation["responses"].pop("401", None)
