"""Products over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status

from catalog.database import ReadSession, Session
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
from catalog.security import Writer

router = APIRouter(prefix="/products", tags=["products"], responses=describe(422, 503))
_WRITE = describe(400, 401, 413)


@router.post(
    "",
    summary="Add a product",
    status_code=status.HTTP_201_CREATED,
    response_model=ProductOut,
    responses=_WRITE | describe(409),
)
async def create(writer: Writer, session: Session, product: ProductIn, response: Response) -> Product:
    """Add a product; `Location` says where it is."""
    created = await store.create(session, product.model_dump())
    response.headers["Location"] = f"/products/{created.id}"
    return created


@router.get("", summary="List products")
async def list_products(
    session: ReadSession, parameters: Annotated[ListParameters, Query()], response: Response
) -> ProductPage:
    """Products by id, a page at a time."""
    after = paging.decode(parameters.cursor) if parameters.cursor is not None else 0
    # One more than asked for tells whether there is a next page.
    found = await store.page(session, after, parameters.limit + 1)
    items = [ProductOut.model_validate(product) for product in found[: parameters.limit]]
    following = None
    if len(found) > parameters.limit:
        following = f"/products?limit={parameters.limit}&cursor={paging.encode(items[-1].id)}"
        response.headers["Link"] = f'<{following}>; rel="next"'
    return ProductPage(items=items, next=following)


@router.get("/{product_id}", summary="Read a product", response_model=ProductOut, responses=describe(404))
async def read(session: ReadSession, product_id: ProductId) -> Product:
    """One product."""
    return await store.read(session, product_id)


@router.put(
    "/{product_id}",
    summary="Replace a product",
    response_model=ProductOut,
    responses=_WRITE | describe(404, 409),
)
async def replace(writer: Writer, session: Session, product_id: ProductId, product: ProductIn) -> Product:
    """Set every field; one that is left out gets its default. A product that is not there is not created."""
    return await store.change(session, product_id, product.model_dump())


@router.patch(
    "/{product_id}",
    summary="Change a product",
    response_model=ProductOut,
    responses=_WRITE | describe(404, 409),
)
async def patch(writer: Writer, session: Session, product_id: ProductId, changes: ProductPatch) -> Product:
    """Set the fields that are sent and leave the others."""
    return await store.change(session, product_id, changes.model_dump(exclude_unset=True))


@router.delete(
    "/{product_id}",
    summary="Delete a product",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=describe(401, 404),
)
async def delete(writer: Writer, session: Session, product_id: ProductId) -> None:
    """Delete a product; a second time it is 404."""
    await store.remove(session, product_id)
