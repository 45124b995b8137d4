"""Changes as they happen, to whoever keeps a connection open (server-sent events)."""

import asyncio
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from catalog.changes import PAGE, Event, Hub, Message, Seen, Signal, after, newest
from catalog.database import Database
from catalog.drain import Drain
from catalog.problems import ApiError, describe
from catalog.settings import Settings
from catalog.strict import StrictRoute

router = APIRouter(tags=["feed"], route_class=StrictRoute)
# Proxies end a connection on which nothing comes; Nginx does after a minute.
_HEARTBEAT = 15.0
_RETRY = 1.0


class TooManyFeedsError(ApiError):
    """Every place is taken."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    kind = "urn:problem-type:catalog:too-many-feeds"
    title = "Too many feeds"
    example = "This worker feeds as many clients as it may."

    def __init__(self) -> None:
        super().__init__(self.example, {"Retry-After": "5"})


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`change` events with JSON, and `reset` where the stream cannot go on where it ended.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": (
                    "retry: 1000\n\nid: 41-5f3a\nevent: reset\ndata: {}\n\n"
                    'id: 42-5f3b\nevent: change\ndata: {"what":"product","action":"created","key":7}\n\n'
                ),
            }
        },
    },
    **describe(422, TooManyFeedsError),
}
_SEEN = re.compile(r"([0-9]{1,18})-([0-9a-f]{1,14})")
_LastEventId = Annotated[
    str | None,
    Header(
        pattern=f"^{_SEEN.pattern}$",
        description="The `id` of the last event that was received; browsers send it by themselves.",
        examples=["41-5f3a"],
    ),
]


@router.get(
    "/events",
    summary="Follow the changes",
    response_class=StreamingResponse,
    responses=_ANSWERS,
)
async def events(request: Request, last_event_id: _LastEventId = None) -> StreamingResponse:
    """Tell what is written, from all workers and hosts, until the client or the server goes away.

    With `Last-Event-ID` it begins with what came after that event, whichever worker or release told of it.
    Without one, or with one that is too old, it begins with `reset`: read again what you keep.

    At the end of a release the stream ends; connect again, and the next one goes on.
    """
    hub: Hub = request.app.state.hub
    settings: Settings = request.app.state.settings
    if hub.clients >= settings.feeds:
        raise TooManyFeedsError
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    found = _SEEN.fullmatch(last_event_id or "")
    seen = Seen(int(found[1]), int(found[2], 16)) if found else None
    stream = _stream(hub, request.app.state.database, request.app.state.drain, seen)
    return StreamingResponse(stream, headers=headers, media_type="text/event-stream")


async def _stream(hub: Hub, database: Database, drain: Drain, seen: Seen | None) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    with hub.subscribed() as queue:
        while not drain.begun.is_set():
            try:
                # Behind the subscription: what is written meanwhile is in both, and told once.
                async for event in _missed(database.autocommit, seen):
                    seen = event.at
                    yield _text(event)
            except (OperationalError, InterfaceError, PoolTimeout):
                # Not an error of the stream, which would make a browser give up for good.
                yield ": the database does not answer\n\n"
                await _next(queue, drain, _RETRY)
                continue
            assert seen is not None
            async for coming in _coming(queue, drain, seen):
                if coming is not None:
                    seen = coming.at
                yield _text(coming)


class _Reset(NamedTuple):
    """The stream begins anew, here."""

    at: Seen


async def _missed(engine: AsyncEngine, seen: Seen | None) -> AsyncIterator[Event | _Reset]:
    if seen is not None:
        page = await after(engine, seen)
        while page:
            for event in page:
                yield event
            page = await after(engine, page[-1].at) if len(page) >= PAGE else []
        if page is not None:
            return
    yield _Reset(await newest(engine))


async def _coming(
    queue: asyncio.Queue[Message], drain: Drain, seen: Seen
) -> AsyncIterator[Event | _Reset | None]:
    """Yield what comes, or None after a while, until something was missed or the server is told to stop."""
    while not drain.begun.is_set():
        message = await _next(queue, drain, _HEARTBEAT)
        if isinstance(message, Event):
            if message.at.number > seen.number + 1:
                return
            if message.at.number == seen.number + 1:
                seen = message.at
                yield message
        elif message is Signal.LOOK:
            return
        else:
            yield _Reset(seen) if message is Signal.UNKNOWN else None


async def _next(queue: asyncio.Queue[Message], drain: Drain, seconds: float) -> Message | None:
    """Return the next message, or None after a while and at the end."""
    coming = asyncio.create_task(queue.get())
    stopped = asyncio.create_task(drain.begun.wait())
    try:
        await asyncio.wait({coming, stopped}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return coming.result() if coming.done() else None
    finally:
        coming.cancel()
        stopped.cancel()


def _text(event: Event | _Reset | None) -> str:
    if event is None:
        return ": nothing new\n\n"
    if isinstance(event, _Reset):
        return f"id: {event.at}\nevent: reset\ndata: {{}}\n\n"
    return f"id: {event.at}\nevent: change\ndata: {event.change.model_dump_json()}\n\n"
