"""What is asked of the database, one statement each."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from catalog import versions
from catalog.categories.models import Category
from catalog.problems import ApiError
from catalog.versions import Version


class NoSuchCategoryError(ApiError):
    """There is no category with that slug."""

    status = HTTPStatus.NOT_FOUND
    kind = "urn:problem-type:catalog:no-such-category"
    title = "No such category"
    example = "There is no category mugs."

    def __init__(self, slug: str) -> None:
        super().__init__(f"There is no category {slug}.")


class SlugTakenError(ApiError):
    """Another category has that slug."""

    status = HTTPStatus.CONFLICT
    kind = "urn:problem-type:catalog:slug-taken"
    title = "The slug is taken"
    example = "Another category has the slug mugs."

    def __init__(self, slug: str) -> None:
        super().__init__(f"Another category has the slug {slug}.")


class CategoryInUseError(ApiError):
    """Products are in it."""

    status = HTTPStatus.CONFLICT
    kind = "urn:problem-type:catalog:category-in-use"
    title = "Products are in the category"
    example = "There are products in mugs: move or delete them first."

    def __init__(self, slug: str) -> None:
        super().__init__(f"There are products in {slug}: move or delete them first.")


async def create(session: AsyncSession, values: Mapping[str, Any]) -> Category:
    """Add a category."""
    try:
        return (await session.scalars(insert(Category).values(**values).returning(Category))).one()
    except IntegrityError as error:
        # The key is the only thing that can be in the way.
        raise SlugTakenError(values["slug"]) from error


async def read(session: AsyncSession, slug: str) -> Category:
    """Return one category."""
    category = await session.get(Category, slug)
    if category is None:
        raise NoSuchCategoryError(slug)
    return category


async def page(session: AsyncSession, after: str | None, limit: int) -> Sequence[Category]:
    """Return the `limit` categories after the slug `after`."""
    statement = select(Category).order_by(Category.slug).limit(limit)
    if after is not None:
        statement = statement.where(Category.slug > after)
    return (await session.scalars(statement)).all()


async def change(
    session: AsyncSession, slug: str, values: Mapping[str, Any], expected: Sequence[Version] | None
) -> Category:
    """Set `values` of a category."""
    category = await versions.change(session, Category, Category.slug == slug, values, expected)
    if category is None:
        raise NoSuchCategoryError(slug)
    return category


async def remove(session: AsyncSession, slug: str, expected: Sequence[Version] | None) -> None:
    """Delete a category that no product is in."""
    try:
        found = await versions.remove(session, Category, Category.slug == slug, expected)
    except IntegrityError as error:
        raise CategoryInUseError(slug) from error
    if not found:
        raise NoSuchCategoryError(slug)
