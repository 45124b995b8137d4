"""Categories over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, status

from catalog.cache import Entry
from catalog.categories import store
from catalog.categories.models import Category
from catalog.categories.schemas import (
    CategoryIn,
    CategoryOut,
    CategoryPage,
    CategoryParameters,
    CategoryPatch,
    NewCategory,
    Slug,
)
from catalog.changes import Change, note
from catalog.database import ReadSession, Session
from catalog.limits import TooManyWritesError
from catalog.problems import describe
from catalog.security import KeyNeededError, Writer
from catalog.strict import StrictRoute
from catalog.versions import (
    CREATED,
    READ,
    VERSIONED,
    Expected,
    IfNoneMatch,
    PreconditionFailedError,
    PreconditionRequiredError,
    answer,
    etag,
    etag_of,
)

router = APIRouter(
    prefix="/categories", tags=["categories"], responses=describe(422, 503), route_class=StrictRoute
)
_MAY = (KeyNeededError, TooManyWritesError)
_SENT = (400, 413, 415)
_ONE = (store.NoSuchCategoryError, PreconditionFailedError, PreconditionRequiredError)
_CHANGE = describe(*_MAY, *_SENT, *_ONE) | VERSIONED


@router.post(
    "",
    summary="Add a category",
    status_code=status.HTTP_201_CREATED,
    response_model=CategoryOut,
    responses=describe(*_MAY, *_SENT, store.SlugTakenError) | CREATED,
)
async def create(writer: Writer, session: Session, category: NewCategory, response: Response) -> Category:
    """Add a category; `Location` says where it is."""
    created = await store.create(session, category.model_dump())
    note(session, Change(what="category", action="created", key=created.slug))
    response.headers["Location"] = f"/categories/{created.slug}"
    response.headers["ETag"] = etag(created)
    return created


@router.get("", summary="List categories", response_model=CategoryPage, responses=READ)
async def list_categories(
    request: Request,
    session: ReadSession,
    parameters: Annotated[CategoryParameters, Query()],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Categories by slug, a page at a time."""
    found = await store.page(session, parameters.after, parameters.limit + 1)
    items = [CategoryOut.model_validate(category) for category in found[: parameters.limit]]
    following = None
    if len(found) > parameters.limit:
        following = f"/categories?limit={parameters.limit}&after={items[-1].slug}"
    content = CategoryPage(items=items, next=following).model_dump_json().encode()
    entry = Entry(content, etag_of(content), following)
    return answer(entry, if_none_match, request.app.state.settings.max_age)


@router.get(
    "/{slug}",
    summary="Read a category",
    response_model=CategoryOut,
    responses=READ | describe(store.NoSuchCategoryError),
)
async def read(
    request: Request, session: ReadSession, slug: Slug, if_none_match: IfNoneMatch = None
) -> Response:
    """One category."""
    category = await store.read(session, slug)
    content = CategoryOut.model_validate(category).model_dump_json().encode()
    return answer(Entry(content, etag(category)), if_none_match, request.app.state.settings.max_age)


@router.put("/{slug}", summary="Replace a category", response_model=CategoryOut, responses=_CHANGE)
async def replace(
    writer: Writer, session: Session, expected: Expected, slug: Slug, category: CategoryIn, response: Response
) -> Category:
    """Set every field but the slug; one that is left out gets its default."""
    return await _change(session, slug, category.model_dump(), expected, response)


@router.patch("/{slug}", summary="Change a category", response_model=CategoryOut, responses=_CHANGE)
async def patch(
    writer: Writer,
    session: Session,
    expected: Expected,
    slug: Slug,
    changes: CategoryPatch,
    response: Response,
) -> Category:
    """Set the fields that are sent and leave the others."""
    return await _change(session, slug, changes.model_dump(exclude_unset=True), expected, response)


async def _change(
    session: Session,
    slug: str,
    values: dict[str, Any],
    expected: Expected,
    response: Response,
) -> Category:
    """Set `values`, tell of it, and say which version there is now."""
    changed = await store.change(session, slug, values, expected)
    note(session, Change(what="category", action="changed", key=slug))
    response.headers["ETag"] = etag(changed)
    return changed


@router.delete(
    "/{slug}",
    summary="Delete a category",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=describe(*_MAY, *_ONE, store.CategoryInUseError),
)
async def delete(writer: Writer, session: Session, expected: Expected, slug: Slug) -> None:
    """Delete a category that no product is in; a second time it is 404."""
    await store.remove(session, slug, expected)
    note(session, Change(what="category", action="deleted", key=slug))
