"""Cursors: where a page ends, in a form that invites nobody to count with it."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from pydantic import TypeAdapter, ValidationError

from catalog.fields import Name
from catalog.problems import ApiError
from catalog.products.models import Product
from catalog.products.schemas import ListParameters, Price, ProductId

_DIGEST = 6
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What a row can hold, so that a cursor that was made up asks for nothing the database cannot compare.
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_PRICE: TypeAdapter[Decimal] = TypeAdapter(Price)
_ID: TypeAdapter[int] = TypeAdapter(ProductId)


class BadCursorError(ApiError):
    """The cursor is not one that this application gave out for this list.

    404, and not 422: the parameter is well formed, but there is no page behind it.
    """

    status = HTTPStatus.NOT_FOUND
    kind = "urn:problem-type:catalog:bad-cursor"
    title = "There is no such page"
    example = "query/cursor: use `next` of a page as it was given, or start again without a cursor."

    def __init__(self) -> None:
        super().__init__(self.example)


Position = tuple[Any, int]


def _moment(microseconds: str) -> datetime:
    return _EPOCH + timedelta(microseconds=int(microseconds))


_READ: dict[str, Callable[[str], Any]] = {
    "id": lambda _: None,
    "name": _NAME.validate_python,
    "price": _PRICE.validate_python,
    "updated_at": _moment,
}
_WRITE: dict[str, Callable[[Product], str]] = {
    "id": lambda _: "",
    "name": lambda product: product.name,
    "price": lambda product: str(product.price),
    "updated_at": lambda product: str((product.updated_at - _EPOCH) // timedelta(microseconds=1)),
}


def query(parameters: ListParameters) -> dict[str, Any]:
    """Return the parameters of a list as they stand in a query, without those that are not set."""
    return parameters.model_dump(mode="json", exclude_unset=True, exclude_none=True)


def _token(parameters: ListParameters, value: str, last_id: int) -> str:
    """Return the cursor of a position in the list of these filters and this order, and in no other."""
    of_list = {name: text for name, text in query(parameters).items() if name not in ("limit", "cursor")}
    of_list["sort"] = parameters.sort
    content = f"{last_id}:{value}".encode()
    digest = hashlib.sha256(json.dumps(of_list, sort_keys=True).encode() + b"\0" + content).digest()
    return base64.urlsafe_b64encode(digest[:_DIGEST] + content).decode().rstrip("=")


def after(parameters: ListParameters, product: Product) -> str:
    """Return the path of the page that begins behind `product`."""
    cursor = _token(parameters, _WRITE[parameters.sort.lstrip("-")](product), product.id)
    return "/products?" + urlencode(query(parameters) | {"cursor": cursor})


def position(parameters: ListParameters) -> Position | None:
    """Return where the page before ended, or None at the beginning."""
    if parameters.cursor is None:
        return None
    try:
        padded = parameters.cursor + "=" * (-len(parameters.cursor) % 4)
        content = base64.b64decode(padded, altchars=b"-_", validate=True)[_DIGEST:].decode()
        number, _, value = content.partition(":")
        last_id = _ID.validate_python(int(number))
        read = _READ[parameters.sort.lstrip("-")](value)
    except (binascii.Error, ValueError, OverflowError, ValidationError):
        raise BadCursorError from None
    # Only what would be given out again: there is one spelling of each cursor.
    if _token(parameters, value, last_id) != parameters.cursor:
        raise BadCursorError
    return read, last_id
