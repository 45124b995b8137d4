"""Import and export over HTTP."""

import csv
import io
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from typing import IO, Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from starlette.datastructures import State
from starlette.exceptions import HTTPException

from catalog.bulk import store as bulk
from catalog.bulk.rows import BATCH, COLUMNS, MAX_FAULTS, Faults, LineFault, Row, batches
from catalog.changes import Change, record
from catalog.database import Database, announce
from catalog.limits import TooManyWritesError
from catalog.problems import MEDIA_TYPE, ApiError, Problem, describe
from catalog.products import store as products
from catalog.products.models import Product
from catalog.products.schemas import Filters
from catalog.security import KeyNeededError, Writer
from catalog.settings import Settings
from catalog.strict import StrictRoute
from catalog.tasks import to_the_end

router = APIRouter(tags=["bulk"], responses=describe(422, 503), route_class=StrictRoute)

_CSV, _JSON_LINES = "text/csv", "application/x-ndjson"
_FILE: dict[str, Any] = {
    "required": True,
    "content": {
        _CSV: {
            "schema": {"type": "string"},
            "example": "sku,name,price,category\nMUG-1,Blue mug,12.50,\nMUG-2,Red mug,12.50,\n",
        },
        _JSON_LINES: {
            "schema": {"type": "string"},
            "example": '{"sku": "MUG-1", "name": "Blue mug", "price": "12.50"}\n',
        },
    },
}


class ImportParameters(BaseModel):
    """How a file is taken."""

    model_config = ConfigDict(extra="forbid")

    existing: Literal["refuse", "replace"] = Field(
        "refuse", description="What becomes of a row whose SKU a product has: an error, or that product."
    )


class Imported(BaseModel):
    """What an import has done."""

    created: int = Field(examples=[98])
    replaced: int = Field(examples=[2])


class Refusal(Problem):
    """Why a file was not imported."""

    errors: list[LineFault] | None = Field(  # type: ignore[assignment]
        None, description=f"One per bad line; the first {MAX_FAULTS}."
    )
    errors_total: int = Field(description="How many lines are bad.")


class ImportRefusedError(ApiError):
    """Rows that cannot be imported."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    kind = "urn:problem-type:catalog:import-refused"
    title = "Nothing was imported"
    example = "2 lines are bad, and nothing was written."

    def __init__(self, faults: Faults) -> None:
        super().__init__(f"{faults.total} lines are bad, and nothing was written.")
        self.errors = faults.in_order()
        self.extra = {"errors_total": faults.total}


class ChangedMeanwhileError(ApiError):
    """Somebody wrote what the file writes, between the check and the write."""

    status = HTTPStatus.CONFLICT
    kind = "urn:problem-type:catalog:import-raced"
    title = "Nothing was imported"
    example = "A product or category of the file was changed at the same time: try again."

    def __init__(self) -> None:
        super().__init__(self.example)


_REFUSALS = describe(422, ImportRefusedError)[422]
_REFUSAL: dict[str, Any] = {
    "description": "Bad lines, or another bad request.",
    "content": {
        MEDIA_TYPE: {
            "schema": {
                "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Refusal", "Problem")]
            },
            "examples": _REFUSALS["content"][MEDIA_TYPE]["examples"],
        }
    },
}
_BAD_LINES = _REFUSAL["content"][MEDIA_TYPE]["examples"]["import-refused"]["value"]
_BAD_LINES["errors"] = [
    {"line": 3, "where": "body", "field": "/sku", "detail": "the file has it already, in line 2"},
    {"line": 7, "where": "body", "field": "/category", "detail": "there is no category mugs"},
]
_BAD_LINES["errors_total"] = 2


@router.post(
    "/import/products",
    summary="Import products",
    responses=describe(400, KeyNeededError, ChangedMeanwhileError, 413, 415, TooManyWritesError)
    | {422: _REFUSAL},
    openapi_extra={"requestBody": _FILE},
)
async def import_products(
    writer: Writer, request: Request, parameters: Annotated[ImportParameters, Query()]
) -> Imported:
    """Add the products of a CSV or JSON lines file: all of them, or none if a single line is bad.

    A CSV file begins with the names of its columns; an empty cell stands for the default.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (_CSV, _JSON_LINES):
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Send {_CSV} or {_JSON_LINES}.")
    # The file first, to disk: a client that is slow or goes away holds no connection and no transaction.
    with tempfile.TemporaryFile() as file:
        async for chunk in request.stream():
            await to_thread.run_sync(file.write, chunk)
        file.seek(0)
        return await _import(request.app.state, file, media_type, parameters)


async def _import(state: State, file: IO[bytes], media_type: str, parameters: ImportParameters) -> Imported:
    settings: Settings = state.settings
    database: Database = state.database
    faults = Faults()
    found = batches(file, media_type, faults)

    async def more() -> list[Row] | None:
        # In a thread, so that the loop goes on answering others.
        return await to_thread.run_sync(next, found, None)

    replace = parameters.existing == "replace"
    async with database.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            milliseconds = round(settings.import_timeout * 1000)
            await connection.execute(text(f"SET LOCAL statement_timeout = {milliseconds}"))
        await bulk.stage(connection, more)
        await bulk.check(connection, faults, replace=replace)
        if faults.total:
            raise ImportRefusedError(faults)
        replaced = await bulk.existing(connection) if replace else 0
        try:
            written = await bulk.write(connection, replace=replace)
        except IntegrityError as error:
            raise ChangedMeanwhileError from error
        await bulk.drop(connection)
        changes = [Change(what="import", action="imported")] if written else []
        await record(connection, changes)
    await announce(state, changes)
    return Imported(created=written - replaced, replaced=replaced)


class ExportParameters(Filters):
    """What is exported, and how."""

    format: Literal["csv", "jsonl"] = Field("csv", description="CSV or JSON lines.")


@router.get(
    "/export/products",
    summary="Export products",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "What an import takes.",
            "content": _FILE["content"],
        }
    },
)
async def export_products(
    request: Request, parameters: Annotated[ExportParameters, Query()]
) -> StreamingResponse:
    """Every product that the filters leave, by id, as a file that an import takes.

    It is read piece by piece, so that a slow reader holds no connection; what is written meanwhile may be in
    it or not, and everything else is in it once.
    """
    database: Database = request.app.state.database
    # Before the answer begins: a database that is away is a problem, and no file that breaks off.
    first = await _piece(database, parameters, 0)
    form, media_type = (_as_csv, _CSV) if parameters.format == "csv" else (_as_json_lines, _JSON_LINES)

    async def content() -> AsyncIterator[str]:
        if parameters.format == "csv":
            yield ",".join(COLUMNS) + "\r\n"
        piece = first
        while piece:
            yield form(piece)
            piece = await _piece(database, parameters, piece[-1].id) if len(piece) == BATCH else []

    name = f'attachment; filename="products.{parameters.format}"'
    return StreamingResponse(content(), media_type=media_type, headers={"Content-Disposition": name})


async def _piece(database: Database, filters: Filters, after: int) -> Sequence[Product]:
    async def read() -> Sequence[Product]:
        async with database.readers() as session:
            return await products.page(session, filters, "id", (None, after), BATCH)

    return await to_the_end(read())


def _values(product: Product) -> dict[str, str | None]:
    values = {name: getattr(product, name) for name in COLUMNS}
    return values | {"price": str(product.price)}


def _as_csv(piece: Sequence[Product]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, COLUMNS).writerows(map(_values, piece))
    return text.getvalue()


def _as_json_lines(piece: Sequence[Product]) -> str:
    return "".join(json.dumps(_values(product), ensure_ascii=False) + "\n" for product in piece)
