"""One client at a time: `ETag` says which version was read, `If-Match` which one may be changed."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import Depends, Header, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy import ColumnElement, and_, delete, exists, false, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from catalog.cache import Entry
from catalog.problems import ApiError
from catalog.tables import Versioned

Row = TypeVar("Row", bound=Versioned)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TAG = r'(?:W/)?"[\x21\x23-\x7e]*"'
_TAGS = re.compile(rf"\s*{_TAG}(?:\s*,\s*{_TAG})*\s*")
# Shorter than what the database's own columns hold, so that no tag can be out of their range.
_OURS = re.compile(r'"([1-9][0-9]{0,8})-([0-9a-f]{1,14})"')


class PreconditionRequiredError(ApiError):
    """A change without saying of what."""

    status = HTTPStatus.PRECONDITION_REQUIRED
    kind = "urn:problem-type:catalog:precondition-required"
    title = "Say which version is to be changed"
    example = "Send `If-Match` with the `ETag` that was read, or `If-Match: *` for whatever is there."

    def __init__(self) -> None:
        super().__init__(self.example)


class PreconditionFailedError(ApiError):
    """Somebody else was faster."""

    status = HTTPStatus.PRECONDITION_FAILED
    kind = "urn:problem-type:catalog:changed-meanwhile"
    title = "It was changed meanwhile"
    example = "It is not the version that `If-Match` names any more: read it again, and decide anew."

    def __init__(self) -> None:
        super().__init__(self.example)


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


_TAG_HEADER = {"ETag": _header("Which version it is.", '"1-644fa0c1d2e80"')}
_CACHE_HEADER = {"Cache-Control": _header("Who may keep it, for how long.", "public, no-cache")}
# For the description: the headers of answers that have a version.
VERSIONED: dict[int | str, dict[str, Any]] = {200: {"headers": _TAG_HEADER}}
CREATED: dict[int | str, dict[str, Any]] = {
    201: {"headers": _TAG_HEADER | {"Location": _header("Where it is.", "/products/7")}}
}
READ: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": _TAG_HEADER
        | _CACHE_HEADER
        | {"Link": _header("The next page of a list, if there is one.", '</products?cursor=…>; rel="next"')}
    },
    304: {"description": "The client has it.", "headers": _TAG_HEADER | _CACHE_HEADER},
}


class Version(NamedTuple):
    """What an `ETag` of a row says."""

    number: int
    moment: datetime


def etag(row: Versioned) -> str:
    """Return the tag of a row: equal if and only if nothing was written to it."""
    microseconds = (row.updated_at - _EPOCH) // timedelta(microseconds=1)
    return f'"{row.version}-{microseconds:x}"'


def etag_of(content: bytes) -> str:
    """Return the tag of an answer that is no single row."""
    return f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'


def unchanged(tag: str, if_none_match: str | None) -> bool:
    """Tell whether the client has what `tag` names. Weakly, as a proxy that compresses weakens a tag."""
    if not if_none_match:
        return False
    if if_none_match.strip() == "*":
        return True
    return tag in (known.strip().removeprefix("W/") for known in if_none_match.split(","))


def answer(entry: Entry, if_none_match: str | None, max_age: int) -> Response:
    """Return what was read, or 304 if the client has it."""
    headers = {
        "ETag": entry.tag,
        "Cache-Control": f"public, max-age={max_age}" if max_age else "public, no-cache",
    }
    if entry.link is not None:
        headers["Link"] = f'<{entry.link}>; rel="next"'
    if unchanged(entry.tag, if_none_match):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(entry.content, headers=headers, media_type="application/json")


async def _expected(
    if_match: Annotated[
        str | None,
        Header(
            description="The `ETag` of what is to be changed, or `*`.",
            examples=["*"],
            json_schema_extra={"pattern": rf"^(\*|{_TAG}(, {_TAG})*)$"},
        ),
    ] = None,
) -> list[Version] | None:
    if if_match is None:
        raise PreconditionRequiredError
    if if_match.strip() == "*":
        return None
    if not _TAGS.fullmatch(if_match):
        fault = {"loc": ("header", "If-Match"), "msg": 'write "…" as in `ETag`, or *', "type": "etag"}
        raise RequestValidationError([fault])
    return [
        Version(int(number), _EPOCH + timedelta(microseconds=int(moment, 16)))
        for number, moment in _OURS.findall(re.sub(r'W/"[^"]*"', "", if_match))
    ]


# Which versions may be changed; None: whichever there is.
Expected = Annotated[list[Version] | None, Depends(_expected)]
IfNoneMatch = Annotated[
    str | None, Header(description="The `ETag` of what the client has: 304 if it is still that.")
]


def _is_expected(model: type[Versioned], expected: Sequence[Version] | None) -> ColumnElement[bool]:
    if expected is None:
        return true()
    return or_(
        false(), *(and_(model.version == number, model.updated_at == moment) for number, moment in expected)
    )


async def change(
    session: AsyncSession,
    model: type[Row],
    row: ColumnElement[bool],
    values: Mapping[str, Any],
    expected: Sequence[Version] | None,
) -> Row | None:
    """Set `values` of the one `row` if it is `expected`, in one statement; None if there is no such row.

    The database itself compares, at the moment it writes: of two clients with the same `ETag`, one wins.
    """
    condition = and_(row, _is_expected(model, expected))
    if values:
        statement = update(model).where(condition)
        changed = await session.scalars(
            statement.values(**values, version=model.version + 1).returning(model),
            execution_options={"synchronize_session": False},
        )
    else:
        changed = await session.scalars(select(model).where(condition))
    found = changed.one_or_none()
    if found is None:
        await _refuse_if_there(session, row)
    return found


async def remove(
    session: AsyncSession,
    model: type[Versioned],
    row: ColumnElement[bool],
    expected: Sequence[Version] | None,
) -> bool:
    """Delete the one `row` if it is `expected`; False if there is no such row."""
    statement = delete(model).where(row, _is_expected(model, expected)).returning(model.version)
    if await session.scalar(statement, execution_options={"synchronize_session": False}) is None:
        await _refuse_if_there(session, row)
        return False
    return True


async def _refuse_if_there(session: AsyncSession, row: ColumnElement[bool]) -> None:
    if await session.scalar(select(exists().where(row))):
        raise PreconditionFailedError
