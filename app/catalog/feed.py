"""Changes as they happen, to whoever keeps a connection open (server-sent events)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from catalog.changes import Hub, Message
from catalog.drain import Drain
from catalog.problems import ApiError, describe
from catalog.settings import Settings
from catalog.strict import StrictRoute

router = APIRouter(tags=["feed"], route_class=StrictRoute)
# Proxies end a connection on which nothing comes; Nginx does after a minute.
_HEARTBEAT = 15.0


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`change` events with JSON, and `reset` when some may have been missed.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'event: change\ndata: {"what":"product","action":"created","key":7}\n\n',
            }
        },
    },
    **describe(422, 503),
}


class TooManyFeedsError(ApiError):
    """Every place is taken."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    kind = "urn:problem-type:catalog:too-many-feeds"
    title = "Too many feeds"

    def __init__(self) -> None:
        super().__init__("This worker feeds as many clients as it may.", {"Retry-After": "5"})


@router.get(
    "/events",
    summary="Follow the changes",
    response_class=StreamingResponse,
    responses=_ANSWERS,
)
async def events(request: Request) -> StreamingResponse:
    """Tell what is written, from all workers and hosts, until the client or the server goes away.

    The first event is `reset`, and so is every one after something may have been missed: read again what you
    keep. At the end of a release the stream ends; connect again, and the next one goes on.
    """
    hub: Hub = request.app.state.hub
    settings: Settings = request.app.state.settings
    if hub.clients >= settings.feeds:
        raise TooManyFeedsError
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    stream = _stream(hub, request.app.state.drain)
    return StreamingResponse(stream, headers=headers, media_type="text/event-stream")


async def _stream(hub: Hub, drain: Drain) -> AsyncIterator[str]:
    stopped = asyncio.create_task(drain.begun.wait())
    try:
        with hub.subscribed() as queue:
            yield "retry: 1000\nevent: reset\ndata: {}\n\n"
            while True:
                coming = asyncio.create_task(queue.get())
                try:
                    await asyncio.wait(
                        {coming, stopped}, timeout=_HEARTBEAT, return_when=asyncio.FIRST_COMPLETED
                    )
                    if coming.done():
                        yield _event(coming.result())
                    elif stopped.done():
                        return
                    else:
                        yield ": nothing new\n\n"
                finally:
                    coming.cancel()
    finally:
        stopped.cancel()
        with suppress(asyncio.CancelledError):
            await stopped


def _event(message: Message) -> str:
    if message is None:
        return "event: reset\ndata: {}\n\n"
    return f"event: change\ndata: {message.model_dump_json()}\n\n"
