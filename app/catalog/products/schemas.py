"""What is taken and given over HTTP."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

MAX_ID = 2**63 - 1
_TAKEN = ConfigDict(extra="forbid")


_PRICE = r"^[0-9]{1,10}(\.[0-9]{1,2})?$"


def _price(value: object) -> Decimal:
    # Not as a JSON number: those are floats to most clients, and 0.1 + 0.2 is no price.
    if not isinstance(value, str) or not re.fullmatch(_PRICE, value):
        raise ValueError('write it as a string with at most ten digits and two decimals, like "12.50"')
    return Decimal(value).quantize(Decimal("0.01"))


# No control characters: PostgreSQL cannot store NUL, and none of the others belongs in a name.
Sku = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9-]{0,63}$", max_length=64)]
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$"),
]
Description = Annotated[
    str, StringConstraints(max_length=10_000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")
]
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


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class ProductPatch(BaseModel):
    """What is to change of a product; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_without_defaults)

    # The defaults are never used: only fields that were sent are looked at. null is refused.
    sku: Sku = ""
    name: Name = ""
    description: Description = ""
    price: Price = Decimal(0)
    currency: Currency = ""


class ProductOut(BaseModel):
    """A product as it is stored."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    sku: str
    name: str
    description: str
    price: Decimal
    currency: str
    category: str | None
    created_at: datetime
    updated_at: datetime


class ProductPage(BaseModel):
    """Some products, and how to get those after them."""

    items: list[ProductOut]
    next: str | None = Field(None, description="Path of the next page; null on the last one.")


class ListParameters(BaseModel):
    """How a list is asked for."""

    model_config = _TAKEN

    limit: int = Field(50, ge=1, le=200, description="Products on a page.")
    cursor: str | None = Field(
        None, max_length=100, description="From `next` of the page before. It means nothing by itself."
    )
