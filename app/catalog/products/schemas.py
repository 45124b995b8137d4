"""What is taken and given over HTTP."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from catalog.categories.schemas import Slug
from catalog.fields import Description, Name, without_defaults

MAX_ID = 2**63 - 1
_TAKEN = ConfigDict(extra="forbid")


_PRICE = r"^[0-9]{1,10}(\.[0-9]{1,2})?$"


def _price(value: object) -> Decimal:
    # Not as a JSON number: those are floats to most clients, and 0.1 + 0.2 is no price.
    if not isinstance(value, str) or not re.fullmatch(_PRICE, value):
        raise ValueError('write it as a string with at most ten digits and two decimals, like "12.50"')
    return Decimal(value).quantize(Decimal("0.01"))


Sku = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9-]{0,63}$", max_length=64)]
Price = Annotated[
    Decimal, BeforeValidator(_price), WithJsonSchema({"type": "string", "pattern": _PRICE}, mode="validation")
]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
ProductId = Annotated[int, Field(ge=1, le=MAX_ID)]


class ProductIn(BaseModel):
    """A product as it is created or replaced."""

    model_config = _TAKEN

    sku: Sku = Field(description="Your own number of it; unique.", examples=["MUG-BLUE-350"])
    name: Name = Field(examples=["Blue mug"])
    description: Description = Field("", examples=["350 ml, dishwasher safe."])
    price: Price = Field(description="A string, so that no float is on the way.", examples=["12.50"])
    currency: Currency = Field("EUR", description="ISO 4217.", examples=["EUR"])
    category: Slug | None = Field(None, description="Slug of a category that is there.", examples=[None])


class ProductPatch(BaseModel):
    """What is to change of a product; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=without_defaults)

    # The defaults are never used: only fields that were sent are looked at. null is refused.
    sku: Sku = ""
    name: Name = ""
    description: Description = ""
    price: Price = Decimal(0)
    currency: Currency = ""
    category: Slug | None = None


class ProductOut(BaseModel):
    """A product as it is stored."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(examples=[7])
    sku: str = Field(examples=["MUG-BLUE-350"])
    name: str = Field(examples=["Blue mug"])
    description: str = Field(examples=["350 ml, dishwasher safe."])
    price: Decimal = Field(examples=["12.50"])
    currency: str = Field(examples=["EUR"])
    category: str | None = Field(examples=["mugs"])
    created_at: datetime = Field(examples=["2026-11-21T22:10:00Z"])
    updated_at: datetime = Field(examples=["2026-11-21T22:10:00Z"])


class ProductPage(BaseModel):
    """Some products, and how to get those after them."""

    items: list[ProductOut]
    next: str | None = Field(
        None,
        description="Path of the next page; null on the last one.",
        examples=["/products?limit=1&cursor=5WJ3mYk3Nzo"],
    )


_MOMENT = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)


def _written_out(value: object) -> object:
    # Not a number of seconds, which would be taken as well.
    if isinstance(value, str) and not re.fullmatch(_MOMENT, value):
        raise ValueError('write it with its zone, like "2026-11-21T22:10:00Z"')
    return value


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("the first and the last day of the calendar are out of reach") from None


class Filters(BaseModel):
    """Which products are asked for. All that is given must hold."""

    model_config = _TAKEN

    q: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Words that are all in SKU, name or description, in whatever case.",
        examples=["blue mug"],
    )
    category: Slug | None = Field(None, description="In this category.")
    currency: Currency | None = Field(None, description="Priced in this currency.")
    min_price: Price | None = Field(None, description="At this price or more.", examples=["5.00"])
    max_price: Price | None = Field(None, description="At this price or less.", examples=["20.00"])
    updated_since: Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_in_utc)] | None = (
        Field(
            None,
            description="Changed at this moment or later; with its zone.",
            examples=["2026-11-21T22:10:00Z"],
        )
    )


class ListParameters(Filters):
    """How a list is asked for."""

    sort: Literal["id", "-id", "name", "-name", "price", "-price", "updated_at", "-updated_at"] = Field(
        "id", description="Order; `-` turns it round. Among equals, by id."
    )
    limit: int = Field(50, ge=1, le=200, description="Products on a page.")
    cursor: str | None = Field(
        None,
        max_length=1200,
        description="From `next` of the page before, for the same list. It means nothing by itself.",
    )
