"""Products over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, status
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.cache import Entry
from catalog.changes import Change, note
from catalog.database import Session
from catalog.kept import through_cache
from catalog.limits import TooManyWritesError
from catalog.problems import describe
from catalog.products import paging, store
from catalog.products.models import Product
from catalog.products.schemas import (
    ListParameters,
    ProductId,
    ProductIn,
    ProductOut,
    ProductPage,
    ProductPatch,
)
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
    prefix="/products", tags=["products"], responses=describe(422, 503), route_class=StrictRoute
)
_MAY = (KeyNeededError, TooManyWritesError)
_SENT = (400, 413, 415, store.SkuTakenError, store.CategoryMissingError)
_ONE = (store.NoSuchProductError, PreconditionFailedError, PreconditionRequiredError)
_CHANGE = describe(*_MAY, *_SENT, *_ONE) | VERSIONED


@router.post(
    "",
    summary="Add a product",
    status_code=status.HTTP_201_CREATED,
    response_model=ProductOut,
    responses=describe(*_MAY, *_SENT) | CREATED,
)
async def create(writer: Writer, session: Session, product: ProductIn, response: Response) -> Product:
    """Add a product; `Location` says where it is."""
    created = await store.create(session, product.model_dump())
    note(session, Change(what="product", action="created", key=created.id))
    response.headers["Location"] = f"/products/{created.id}"
    response.headers["ETag"] = etag(created)
    return created


@router.get(
    "", summary="List products", response_model=ProductPage, responses=READ | describe(paging.BadCursorError)
)
async def list_products(
    request: Request, parameters: Annotated[ListParameters, Query()], if_none_match: IfNoneMatch = None
) -> Response:
    """Products that the filters leave, in the order asked for, a page at a time."""
    state = request.app.state

    async def make() -> Entry:
        async with state.database.readers() as session:
            return await _page(session, parameters)

    return answer(await through_cache(request, make), if_none_match, state.settings.max_age)


async def _page(session: AsyncSession, parameters: ListParameters) -> Entry:
    after = paging.position(parameters)
    # One more than asked for tells whether there is a next page.
    found = await store.page(session, parameters, parameters.sort, after, parameters.limit + 1)
    shown = found[: parameters.limit]
    following = paging.after(parameters, shown[-1]) if len(found) > parameters.limit else None
    page = ProductPage(items=[ProductOut.model_validate(product) for product in shown], next=following)
    content = page.model_dump_json().encode()
    return Entry(content, etag_of(content), following)


@router.get(
    "/{product_id}",
    summary="Read a product",
    response_model=ProductOut,
    responses=READ | describe(store.NoSuchProductError),
)
async def read(request: Request, product_id: ProductId, if_none_match: IfNoneMatch = None) -> Response:
    """One product."""
    state = request.app.state

    async def make() -> Entry:
        async with state.database.readers() as session:
            product = await store.read(session, product_id)
        return Entry(ProductOut.model_validate(product).model_dump_json().encode(), etag(product))

    return answer(await through_cache(request, make), if_none_match, state.settings.max_age)


@router.put("/{product_id}", summary="Replace a product", response_model=ProductOut, responses=_CHANGE)
async def replace(
    writer: Writer,
    session: Session,
    expected: Expected,
    product_id: ProductId,
    product: ProductIn,
    response: Response,
) -> Product:
    """Set every field; one that is left out gets its default. A product that is not there is not created."""
    return await _change(session, product_id, product.model_dump(), expected, response)


@router.patch("/{product_id}", summary="Change a product", response_model=ProductOut, responses=_CHANGE)
async def patch(
    writer: Writer,
    session: Session,
    expected: Expected,
    product_id: ProductId,
    changes: ProductPatch,
    response: Response,
) -> Product:
    """Set the fields that are sent and leave the others."""
    return await _change(session, product_id, changes.model_dump(exclude_unset=True), expected, response)


async def _change(
    session: Session,
    product_id: int,
    values: dict[str, Any],
    expected: Expected,
    response: Response,
) -> Product:
    """Set `values`, tell of it, and say which version there is now."""
    changed = await store.change(session, product_id, values, expected)
    note(session, Change(what="product", action="changed", key=product_id))
    response.headers["ETag"] = etag(changed)
    return changed


@router.delete(
    "/{product_id}",
    summary="Delete a product",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=describe(*_MAY, *_ONE),
)
async def delete(writer: Writer, session: Session, expected: Expected, product_id: ProductId) -> None:
    """Delete a product; a second time it is 404."""
    await store.remove(session, product_id, expected)
    note(session, Change(what="product", action="deleted", key=product_id))
