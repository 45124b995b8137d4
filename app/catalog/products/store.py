"""What is asked of the database, one statement each."""

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from sqlalchemy import ColumnElement, insert, literal, select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from catalog import versions
from catalog.problems import ApiError
from catalog.products.models import SEARCHED, Product
from catalog.products.paging import Position
from catalog.products.schemas import Filters
from catalog.versions import Version


class NoSuchProductError(ApiError):
    """There is no product with that id."""

    status = HTTPStatus.NOT_FOUND
    kind = "urn:problem-type:catalog:no-such-product"
    title = "No such product"
    example = "There is no product 7."

    def __init__(self, product_id: int) -> None:
        super().__init__(f"There is no product {product_id}.")


class SkuTakenError(ApiError):
    """Another product has that SKU."""

    status = HTTPStatus.CONFLICT
    kind = "urn:problem-type:catalog:sku-taken"
    title = "The SKU is taken"
    example = "Another product has the SKU MUG-BLUE-350."

    def __init__(self, sku: str) -> None:
        super().__init__(f"Another product has the SKU {sku}.")


class CategoryMissingError(ApiError):
    """A product is to be put where nothing is."""

    status = HTTPStatus.CONFLICT
    kind = "urn:problem-type:catalog:no-such-category"
    title = "No such category"
    example = "body/category: there is no category mugs; add it first."

    def __init__(self, slug: str) -> None:
        super().__init__(f"body/category: there is no category {slug}; add it first.")


async def create(session: AsyncSession, values: Mapping[str, Any]) -> Product:
    """Add a product."""
    try:
        result = await session.scalars(insert(Product).values(**values).returning(Product))
        return result.one()
    except IntegrityError as error:
        raise _refusal(error, values) from error


async def read(session: AsyncSession, product_id: int) -> Product:
    """Return one product."""
    product = await session.get(Product, product_id)
    if product is None:
        raise NoSuchProductError(product_id)
    return product


async def some(session: AsyncSession, ids: Sequence[int]) -> Sequence[Product]:
    """Return those of some products that are there."""
    return (await session.scalars(select(Product).where(Product.id.in_(ids)))).all()


async def page(
    session: AsyncSession, filters: Filters, sort: str, after: Position | None, limit: int
) -> Sequence[Product]:
    """Return the `limit` products of the list after the position `after`.

    The cost is the same for the last page as for the first, and a product added or deleted meanwhile
    neither repeats nor hides another one, which OFFSET would do.
    """
    key: list[ColumnElement[Any]] = [Product.id.expression]
    if sort.lstrip("-") != "id":
        key.insert(0, getattr(Product, sort.lstrip("-")).expression)
    statement = select(Product).where(*_conditions(filters)).limit(limit)
    statement = statement.order_by(*(column.desc() if sort.startswith("-") else column for column in key))
    if after is not None:
        end = [literal(value, column.type) for value, column in zip(after[-len(key) :], key, strict=True)]
        behind = tuple_(*key) < tuple_(*end) if sort.startswith("-") else tuple_(*key) > tuple_(*end)
        statement = statement.where(behind)
    return (await session.scalars(statement)).all()


def _conditions(filters: Filters) -> Iterator[ColumnElement[bool]]:
    for word in (filters.q or "").lower().split():
        # What LIKE would take for a wildcard is meant as it is written.
        pattern = "%" + re.sub(r"([\\%_])", r"\\\1", word) + "%"
        yield SEARCHED.like(pattern, escape="\\")
    if filters.category is not None:
        yield Product.category == filters.category
    if filters.currency is not None:
        yield Product.currency == filters.currency
    if filters.min_price is not None:
        yield Product.price >= filters.min_price
    if filters.max_price is not None:
        yield Product.price <= filters.max_price
    if filters.updated_since is not None:
        yield Product.updated_at >= filters.updated_since


async def change(
    session: AsyncSession, product_id: int, values: Mapping[str, Any], expected: Sequence[Version] | None
) -> Product:
    """Set `values` of a product."""
    try:
        product = await versions.change(session, Product, Product.id == product_id, values, expected)
    except IntegrityError as error:
        raise _refusal(error, values) from error
    if product is None:
        raise NoSuchProductError(product_id)
    return product


async def remove(session: AsyncSession, product_id: int, expected: Sequence[Version] | None) -> None:
    """Delete a product."""
    if not await versions.remove(session, Product, Product.id == product_id, expected):
        raise NoSuchProductError(product_id)


def _refusal(error: IntegrityError, values: Mapping[str, Any]) -> Exception:
    """Return what a client is told of a constraint that was hit; any other one is our own mistake."""
    message = str(error.orig)
    # PostgreSQL names the constraint, SQLite the column, and of foreign keys nothing: there is one.
    if "uq_products_sku" in message or "products.sku" in message:
        return SkuTakenError(values["sku"])
    if "fk_products_category" in message or "FOREIGN KEY" in message:
        return CategoryMissingError(values["category"])
    return error
