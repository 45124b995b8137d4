"""The application of a release, as every server gets it: loaded by name, told where Nginx serves it.

The engine copies this file into each release and adds one line that makes `app`. Standard library only.
"""

import ast
import contextlib
import importlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


def load(target: str) -> Any:
    """Return what `module:attribute` names, or what `module:factory(…)` makes; arguments are literals."""
    name, _, expression = target.partition(":")
    module = importlib.import_module(name)
    wanted = ast.parse(expression.strip(), mode="eval").body
    if not isinstance(wanted, ast.Call):
        return attribute(module, wanted)
    arguments = [ast.literal_eval(argument) for argument in wanted.args]
    options = {str(option.arg): ast.literal_eval(option.value) for option in wanted.keywords}
    return attribute(module, wanted.func)(*arguments, **options)


def attribute(module: Any, path: ast.expr) -> Any:
    """Return an attribute of a module by its dotted name."""
    found = module
    for name in ast.unparse(path).split("."):
        found = getattr(found, name)
    return found


def widen(threads: int) -> None:
    """Let this process run so many calls at once that block, in asyncio and in anyio (FastAPI's `def`)."""
    # Not above: the engine imports this file to copy it, and asyncio would double what that costs.
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(threads, thread_name_prefix="asyncio")
    asyncio.get_running_loop().set_default_executor(pool)
    with contextlib.suppress(ImportError):
        limiter = importlib.import_module("anyio.to_thread").current_default_thread_limiter()
        limiter.total_tokens = threads


def at_once(send: Send) -> Send:
    """Let Nginx pass on at once what has no length when it begins: events, streams."""

    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            if not names & {b"content-length", b"x-accel-buffering"}:
                headers = [*message.get("headers", ()), (b"x-accel-buffering", b"no")]
                message = {**message, "headers": headers}
        await send(message)

    return sent


class Target:
    """An application behind Nginx on a unix socket, where only Nginx can ask: its headers are the truth."""

    def __init__(self, app: Any, root_path: str = "", threads: int | None = None) -> None:
        self.app = app
        self.root_path = root_path
        self.threads = threads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what a server has to say, set right."""
        if self.threads:
            widen(self.threads)
            self.threads = None
        if scope["type"] in {"http", "websocket"}:
            self.see_the_client(scope)
            if self.root_path:
                self.see_the_prefix(scope)
        await self.app(scope, receive, at_once(send) if scope["type"] == "http" else send)

    def see_the_prefix(self, scope: Scope) -> None:
        """Say which part of the path is not the application's; a health check comes without it."""
        if not f"{scope['path']}/".startswith(f"{self.root_path}/"):
            scope["path"] = self.root_path + scope["path"]
        scope["root_path"] = self.root_path

    def see_the_client(self, scope: Scope) -> None:
        """Take scheme and client from Nginx; not every server does."""
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                scope["client"] = (value.decode("latin-1").strip(), 0)
            elif name == b"x-forwarded-proto" and value in {b"http", b"https"}:
                scheme = value.decode("latin-1")
                scope["scheme"] = scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme
