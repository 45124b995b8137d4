"""Every answer tells what came through: nothing is worked out here."""

import asyncio
import hashlib
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.responses import RedirectResponse, StreamingResponse

running = {"now": 0, "most": 0}
count = threading.Lock()
routes = APIRouter()


@routes.get("/health")
async def health() -> dict[str, str]:
    """Be well."""
    return {"status": "ok"}


@routes.get("/process")
async def process(request: Request, seconds: float = 0) -> dict[str, Any]:
    """Tell, after a while, of the process that serves: what it was given, and by whom it was started."""
    await asyncio.sleep(seconds)
    place = os.environ.get("CREDENTIALS_DIRECTORY")
    return {
        "title": request.app.title,
        "environ": dict(os.environ),
        "argv": Path("/proc/self/cmdline").read_text().split("\0"),
        "parent": Path(f"/proc/{os.getppid()}/comm").read_text().strip(),
        "pid": os.getpid(),
        "directory": str(Path.cwd()),
        "file": __file__,
        "prefix": sys.prefix,
        "credentials": {file.name: file.read_bytes().decode() for file in Path(place).iterdir()}
        if place
        else {},
    }


@routes.get("/request")
async def reflect(request: Request) -> dict[str, Any]:
    """Tell of the request as a framework sees it."""
    return {
        "url": str(request.url),
        "scheme": request.url.scheme,
        "client": request.client.host if request.client else None,
        "path": request.scope["path"],
        "root_path": request.scope.get("root_path", ""),
        "headers": dict(request.headers),
        "url_for": str(request.url_for("health")),
    }


@routes.get("/away")
async def away(request: Request) -> RedirectResponse:
    """Redirect to an absolute address, as a login does."""
    return RedirectResponse(request.url_for("health"))


@routes.get("/slow")
async def slow(seconds: float) -> dict[str, float]:
    """Answer late."""
    await asyncio.sleep(seconds)
    return {"seconds": seconds}


@routes.get("/busy")
def busy(seconds: float) -> dict[str, int]:
    """Hold a thread, and tell how many were held at once at most."""
    with count:
        running["now"] += 1
        running["most"] = max(running.values())
    time.sleep(seconds)
    with count:
        running["now"] -= 1
    return running


@routes.post("/upload")
async def upload(request: Request) -> dict[str, Any]:
    """Read a body piece by piece."""
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return {"size": size, "digest": digest.hexdigest()}


@routes.get("/events")
async def events(number: int = 4, pause: float = 0.5) -> StreamingResponse:
    """Send server-sent events, each with the time at which it left."""

    async def each() -> AsyncIterator[str]:
        for event in range(number):
            yield f"id: {event}\ndata: {time.time()}\n\n"
            await asyncio.sleep(pause)

    return StreamingResponse(each(), media_type="text/event-stream")


@routes.websocket("/ws")
async def echo(socket: WebSocket) -> None:
    """Say where the client came in, then repeat what it says."""
    await socket.accept()
    await socket.send_text(str(socket.url))
    async for text in socket.iter_text():
        await socket.send_text(text)


def create_app(title: str = "mirror", prefix: str = "", **options: Any) -> FastAPI:
    """Return the application; the title shows which arguments a factory was called with."""
    app = FastAPI(title=title, **options)
    app.include_router(routes, prefix=prefix)
    return app


app = create_app()
