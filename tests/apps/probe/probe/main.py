"""The application: what a site does (answers, uploads, streams, websockets), each answer with its release."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, StreamingResponse

from . import faults

RELEASE = os.environ.get("APP_RELEASE", "")
WORD = os.environ.get("PROBE_WORD", "")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Break here, if told to."""
    faults.startup()
    yield


class Marked:
    """Every answer says in a header which release it is from."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on, with one more header."""

        async def marked(message: MutableMapping[str, Any]) -> None:
            if message["type"] in {"http.response.start", "websocket.accept"}:
                message["headers"] = [*message.get("headers", []), (b"x-release", RELEASE.encode())]
            await send(message)

        await self.app(scope, receive, marked)


app = FastAPI(title="probe", lifespan=lifespan)
app.add_middleware(Marked)


@app.get("/version")
async def version() -> dict[str, str]:
    """Say which release answers."""
    return {"release": RELEASE, "word": WORD}


@app.get("/health/ready")
async def ready() -> Response:
    """Say whether this worker is ready."""
    status, word = faults.health()
    return JSONResponse({"state": word}, status)


@app.post("/echo")
async def echo(request: Request) -> Response:
    """Give back what came."""
    return Response(await request.body(), media_type=request.headers.get("content-type"))


@app.get("/slow")
async def slow(seconds: float = 8) -> dict[str, Any]:
    """Answer after so many seconds."""
    await asyncio.sleep(min(seconds, 60))
    return {"release": RELEASE, "seconds": seconds}


@app.post("/upload")
async def upload(request: Request) -> dict[str, Any]:
    """Read a body as it comes; say how long it was, and its digest."""
    digest, length = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        length += len(chunk)
    return {"length": length, "sha256": digest.hexdigest()}


@app.get("/events")
async def events(count: int = 10, every: float = 0.2) -> Response:
    """Send events, one after the other."""

    async def each() -> AsyncIterator[str]:
        for number in range(count):
            yield f"event: tick\ndata: {number} {RELEASE}\n\n"
            await asyncio.sleep(every)

    return StreamingResponse(each(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@app.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    """Give back each message, the release before it."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(f"{RELEASE} {await websocket.receive_text()}")
    except WebSocketDisconnect:
        pass


@app.get("/environ")
async def environ() -> dict[str, Any]:
    """Show what this process was given: its environment, and each credential as it was read."""
    place = os.environ.get("CREDENTIALS_DIRECTORY")
    files = sorted(Path(place).iterdir()) if place else []
    return {
        "environ": dict(os.environ),
        "credentials": {file.name: file.read_bytes().decode(errors="replace") for file in files},
        "directory": str(Path.cwd()),
        "pid": os.getpid(),
    }
