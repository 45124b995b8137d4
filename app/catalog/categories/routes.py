"""Categories over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status

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
from catalog.database import ReadSession, Session
from catalog.problems import describe
from catalog.security import Writer
from catalog.strict import StrictRoute
from catalog.versions import Expected, IfNoneMatch, etag, etag_of, not_modified, unchanged

router = APIRouter(
    prefix="/categories", tags=["categories"], responses=describe(422, 503), route_class=StrictRoute
)
_WRITE = describe(400, 401, 413, 415, 429)
_CHANGE = _WRITE | describe(404, 412, 428)


@router.post(
    "",
    summary="Add a category",
    status_code=status.HTTP_201_CREATED,
    response_model=CategoryOut,
    responses=_WRITE | describe(409),
)
async def create(writer: Writer, session: Session, category: NewCategory, response: Response) -> Category:
    """Add a category; `Location` says where it is."""
    created = await store.create(session, category.model_dump())
    response.headers["Location"] = f"/categories/{created.slug}"
    response.headers["ETag"] = etag(created)
    return created


@router.get(
    "",
    summary="List categories",
    response_model=CategoryPage,
    responses={304: {"description": "The client has it."}},
)
async def list_categories(
    session: ReadSession,
    parameters: Annotated[CategoryParameters, Query()],
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Categories by slug, a page at a time."""
    found = await store.page(session, parameters.after, parameters.limit + 1)
    items = [CategoryOut.model_validate(category) for category in found[: parameters.limit]]
    following = None
    if len(found) > parameters.limit:
        following = f"/categories?limit={parameters.limit}&after={items[-1].slug}"
        response.headers["Link"] = f'<{following}>; rel="next"'
    content = CategoryPage(items=items, next=following).model_dump_json().encode()
    response.headers["ETag"] = tag = etag_of(content)
    response.headers["Cache-Control"] = "public, no-cache"
    if unchanged(tag, if_none_match):
        return not_modified(response)
    return Response(content, headers=dict(response.headers), media_type="application/json")


@router.get(
    "/{slug}",
    summary="Read a category",
    response_model=CategoryOut,
    responses=describe(404) | {304: {"description": "The client has it."}},
)
async def read(
    session: ReadSession, slug: Slug, response: Response, if_none_match: IfNoneMatch = None
) -> Category | Response:
    """One category."""
    category = await store.read(session, slug)
    response.headers["ETag"] = tag = etag(category)
    response.headers["Cache-Control"] = "public, no-cache"
    return not_modified(response) if unchanged(tag, if_none_match) else category


@router.put("/{slug}", summary="Replace a category", response_model=CategoryOut, responses=_CHANGE)
async def replace(
    writer: Writer, session: Session, expected: Expected, slug: Slug, category: CategoryIn, response: Response
) -> Category:
    """Set every field but the slug; one that is left out gets its default."""
    changed = await store.change(session, slug, category.model_dump(), expected)
    response.headers["ETag"] = etag(changed)
    return changed


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
    changed = await store.change(session, slug, changes.model_dump(exclude_unset=True), expected)
    response.headers["ETag"] = etag(changed)
    return changed


@router.delete(
    "/{slug}",
    summary="Delete a category",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=describe(401, 404, 409, 412, 428, 429),
)
async def delete(writer: Writer, session: Session, expected: Expected, slug: Slug) -> None:
    """Delete a category that no product is in; a second time it is 404."""
    await store.remove(session, slug, expected)
