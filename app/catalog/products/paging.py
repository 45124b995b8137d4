"""Cursors: where a page ends, in a form that invites nobody to count with it."""

import base64
import binascii
from http import HTTPStatus

from catalog.problems import ApiError
from catalog.products.schemas import MAX_ID


class BadCursorError(ApiError):
    """The cursor is not one that this application gave out."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    kind = "urn:problem-type:catalog:bad-cursor"
    title = "The cursor is not valid"


def encode(last_id: int) -> str:
    """Return the cursor of a page that ends with `last_id`."""
    return base64.urlsafe_b64encode(f"id:{last_id}".encode()).decode().rstrip("=")


def decode(cursor: str) -> int:
    """Return the id that the page before ended with."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        last_id = int(
            base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").removeprefix("id:")
        )
    except (binascii.Error, ValueError):
        last_id = 0
    # Only what would be given out again: there is one spelling of each cursor.
    if not 1 <= last_id <= MAX_ID or encode(last_id) != cursor:
        raise BadCursorError("Use `next` of a page as it was given, or start again without a cursor.")
    return last_id
