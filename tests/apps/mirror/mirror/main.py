"""Every answer tells what came through: nothing is worked out here."""

import asyncio
import hashlib
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Query, Request, Response, WebSocket
from fastapi.responses import RedirectResponse, StreamingResponse

running = {"now": 0, "most": 0}
asked: dict[str, int] = {}
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


@routes.get("/metrics")
async def metrics() -> Response:
    """Show a figure that nobody outside may see."""
    return Response("metrics_seen 1\n", media_type="text/plain; version=0.0.4")


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


@routes.api_route("/kept", methods=["GET", "POST"])
async def kept(request: Request, response: Response, name: str, seconds: float = 0) -> dict[str, Any]:
    """Tell how often this was asked for by that name; headers of the answer come in the query."""
    asked[name] = asked.get(name, 0) + 1
    count = asked[name]
    await asyncio.sleep(seconds)
    for header in ("cache-control", "set-cookie", "vary"):
        if header in request.query_params:
            response.headers[header] = request.query_params[header]
    return {"release": os.environ["APP_RELEASE"], "asked": count}


@routes.get("/valkey")
def valkey(word: Annotated[list[str], Query()]) -> dict[str, str]:
    """Send a command to the cache, by the address that was handed over, and tell a line of the answer."""
    place = Path(os.environ["CREDENTIALS_DIRECTORY"], "cache_url")
    address = urlsplit(place.read_text())
    commands = [["AUTH", address.username or "", address.password or ""], word]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address.path)
        with connection.makefile("rb") as answers:
            for command in commands:
                parts = "".join(f"${len(each.encode())}\r\n{each}\r\n" for each in command)
                connection.sendall(f"*{len(command)}\r\n{parts}".encode())
                answer = answers.readline().decode().strip()
            # A text follows its length, which is -1 where there is none.
            value = (
                answers.readline().decode().strip() if answer.startswith("$") and answer != "$-1" else answer
            )
            return {"answer": "" if value == "$-1" else value}


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
