"""What is asked of the database, one statement each."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.problems import ApiError
from catalog.products.models import Product


class NoSuchProductError(ApiError):
    """There is no product with that id."""

    status = HTTPStatus.NOT_FOUND
    kind = "urn:problem-type:catalog:no-such-product"
    title = "No such product"

    def __init__(self, product_id: int) -> None:
        super().__init__(f"There is no product {product_id}.")


class SkuTakenError(ApiError):
    """Another product has that SKU."""

    status = HTTPStatus.CONFLICT
    kind = "urn:problem-type:catalog:sku-taken"
    title = "The SKU is taken"

    def __init__(self, sku: str) -> None:
        super().__init__(f"Another product has the SKU {sku}.")


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


async def page(session: AsyncSession, after: int, limit: int) -> Sequence[Product]:
    """Return the `limit` products after the id `after`.

    The cost is the same for the last page as for the first, and a product added or deleted meanwhile
    neither repeats nor hides another one, which OFFSET would do.
    """
    result = await session.scalars(
        select(Product).where(Product.id > after).order_by(Product.id).limit(limit)
    )
    return result.all()


async def change(session: AsyncSession, product_id: int, values: Mapping[str, Any]) -> Product:
    """Set `values` of a product in one statement, so that two clients changing different fields both win."""
    if not values:
        return await read(session, product_id)
    statement = update(Product).where(Product.id == product_id).values(**values).returning(Product)
    try:
        product = (await session.scalars(statement)).one_or_none()
    except IntegrityError as error:
        raise _refusal(error, values) from error
    if product is None:
        raise NoSuchProductError(product_id)
    return product


async def remove(session: AsyncSession, product_id: int) -> None:
    """Delete a product."""
    deleted = await session.scalar(delete(Product).where(Product.id == product_id).returning(Product.id))
    if deleted is None:
        raise NoSuchProductError(product_id)


def _refusal(error: IntegrityError, values: Mapping[str, Any]) -> Exception:
    """Return what a client is told of a constraint that was hit; anything but the SKU is our own mistake."""
    message = str(error.orig)
    # PostgreSQL names the constraint, SQLite the column.
    if "uq_products_sku" in message or "products.sku" in message:
        return SkuTakenError(values["sku"])
    return error
