"""Similar products over HTTP."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from catalog.database import ReadSession
from catalog.problems import ApiError, describe
from catalog.products import store
from catalog.products.schemas import ProductId, ProductOut
from catalog.strict import StrictRoute

if TYPE_CHECKING:
    from catalog.similar.model import Model

router = APIRouter(tags=["products"], route_class=StrictRoute)
# More than are shown, as the model knows products that are not there.
_CANDIDATES = 200


class Similar(BaseModel):
    """A product, and how much it is like the one asked for."""

    product: ProductOut
    likeness: float = Field(description="1 is the same, 0 has nothing to do with it.", examples=[0.31])


class SimilarProducts(BaseModel):
    """Products like another one, the most alike first."""

    items: list[Similar]


class NoModelError(ApiError):
    """This server was not given a model."""

    status = HTTPStatus.NOT_FOUND
    kind = "urn:problem-type:catalog:no-model"
    title = "No model is loaded"
    example = "This server compares no products: CATALOG_SIMILAR_MEGABYTES is 0."

    def __init__(self) -> None:
        super().__init__(self.example)


@router.get(
    "/products/{product_id}/similar",
    summary="Find similar products",
    responses=describe(NoModelError, store.NoSuchProductError, 422, 503),
)
async def similar(
    request: Request,
    session: ReadSession,
    product_id: ProductId,
    limit: Annotated[int, Query(ge=1, le=50, description="Products to find.")] = 10,
) -> SimilarProducts:
    """Products like this one, of those that the model knows and the catalogue has."""
    model: Model | None = request.app.state.model
    if model is None:
        raise NoModelError
    await store.read(session, product_id)
    # The connection is not held meanwhile.
    await session.close()
    # The product of a large matrix takes a while, and leaves the interpreter to others meanwhile. One at a
    # time: more would only wait for memory, and each thread keeps what it once took for the result.
    limiter: CapacityLimiter = request.app.state.comparing
    likeness = dict(await to_thread.run_sync(model.like, product_id, _CANDIDATES, limiter=limiter))
    found = await store.some(session, list(likeness))
    ordered = sorted(found, key=lambda product: likeness[product.id], reverse=True)[:limit]
    return SimilarProducts(
        items=[
            Similar(product=ProductOut.model_validate(product), likeness=round(likeness[product.id], 6))
            for product in ordered
        ]
    )
