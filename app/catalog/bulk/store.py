"""Puts the rows of a file into the database: all of them, or none."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    exists,
    func,
    insert,
    literal,
    select,
    text,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateTable, DropTable

from catalog.bulk.rows import COLUMNS, MAX_FAULTS, Faults, Row
from catalog.categories.models import Category
from catalog.products.models import Money, Product

# Of this connection alone, and gone with it.
_incoming = Table(
    "incoming_products",
    MetaData(),
    Column("line", Integer),
    Column("sku", String(64)),
    Column("name", String(200)),
    Column("description", Text),
    Column("price", Money),
    Column("currency", String(3)),
    Column("category", String(64)),
    prefixes=["TEMPORARY"],
)
_PRODUCTS = Product.__table__
_Next = Callable[[], Awaitable[list[Row] | None]]


async def stage(connection: AsyncConnection, more: _Next) -> None:
    """Write the rows beside the products, where nobody sees them."""
    # One may be left: SQLite makes and keeps a table even if the transaction is taken back.
    await connection.execute(DropTable(_incoming, if_exists=True))
    await connection.execute(CreateTable(_incoming))
    if connection.dialect.name == "sqlite":
        while (batch := await more()) is not None:
            if batch:
                rows = [{"line": line, **product.model_dump()} for line, product in batch]
                await connection.execute(insert(_incoming), rows)
        return
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    async with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY {_incoming.name} (line, {', '.join(COLUMNS)}) FROM STDIN") as copy,
    ):
        while (batch := await more()) is not None:
            for line, product in batch:
                await copy.write_row((line, *(getattr(product, name) for name in COLUMNS)))


async def drop(connection: AsyncConnection) -> None:
    """Take the table away: the connection goes back to the pool, and its temporary tables with it."""
    await connection.execute(DropTable(_incoming))


async def check(connection: AsyncConnection, faults: Faults, *, replace: bool) -> None:
    """Note what no line can know by itself: SKUs that are there twice, or already, and missing categories."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text(f"ANALYZE {_incoming.name}"))
    row = _incoming.c
    # By a window and not row by row: that would take a hundred times as long for ten times the rows.
    first = func.min(row.line).over(partition_by=row.sku).label("first")
    seen = select(row.line, first).subquery()
    again = select(seen.c.line, seen.c.first).where(seen.c.line > seen.c.first)
    await _note(connection, faults, "/sku", "the file has it already, in line {}", again)
    if not replace:
        taken = exists().where(_PRODUCTS.c.sku == row.sku)
        await _note(
            connection,
            faults,
            "/sku",
            "another product has the SKU {}",
            select(row.line, row.sku).where(taken),
        )
    known = exists().where(Category.slug == row.category)
    missing = select(row.line, row.category).where(row.category.is_not(None), ~known)
    await _note(connection, faults, "/category", "there is no category {}", missing)


async def _note(
    connection: AsyncConnection, faults: Faults, path: str, detail: str, lines: Select[Any]
) -> None:
    ordered = lines.order_by(lines.selected_columns[0]).limit(MAX_FAULTS)
    found: Sequence[Any] = (await connection.execute(ordered)).all()
    for line, about in found:
        faults.add(line, path, detail.format(about))
    if len(found) == MAX_FAULTS:
        counted = await connection.scalar(select(func.count()).select_from(lines.subquery()))
        faults.total += int(counted or 0) - MAX_FAULTS


async def existing(connection: AsyncConnection) -> int:
    """Return how many of the rows are products already."""
    there = exists().where(_PRODUCTS.c.sku == _incoming.c.sku)
    return int(await connection.scalar(select(func.count()).select_from(_incoming).where(there)) or 0)


async def write(connection: AsyncConnection, *, replace: bool) -> int:
    """Make products of the rows; return how many."""
    now = datetime.now(UTC)
    stamp: Sequence[ColumnElement[Any]] = [
        literal(1),
        literal(now, Product.created_at.type),
        literal(now, Product.updated_at.type),
    ]
    # `WHERE true`: without it SQLite takes ON CONFLICT for the ON of a join.
    rows = select(*(_incoming.c[name] for name in COLUMNS), *stamp).where(true()).order_by(_incoming.c.line)
    names = [*COLUMNS, "version", "created_at", "updated_at"]
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(_PRODUCTS).from_select(names, rows, include_defaults=False)
    if replace:
        new = {name: statement.excluded[name] for name in (*COLUMNS, "updated_at")}
        statement = statement.on_conflict_do_update(
            index_elements=["sku"], set_=new | {"version": _PRODUCTS.c.version + 1}
        )
    await connection.execute(statement)
    # What every line has become, as none was bad; drivers do not agree about how many rows they wrote.
    return int(await connection.scalar(select(func.count()).select_from(_incoming)) or 0)
