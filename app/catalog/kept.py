"""Answers a read that is kept, before anything else looks at it.

What is kept was asked for before in the same words, and was right then: there is nothing to find out about
it, which would take several times as long as the answer itself.
"""

import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from catalog.cache import Cache, Entry, Looked
from catalog.versions import answer

_LOOKED = "catalog.looked"


class _Template(NamedTuple):
    """Stands for the route that would have answered."""

    path: str


def _key(scope: Scope) -> str:
    # As it was asked for: another spelling of the same is only made once more.
    return f"{scope['path']}?{scope['query_string'].decode('latin-1')}"


async def through_cache(request: Request, make: Callable[[], Awaitable[Entry]]) -> Entry:
    """Return what is kept of this request, or make it and keep it."""
    cache: Cache = request.app.state.cache
    looked: Looked | None = request.scope.get(_LOOKED)
    return await cache.answer(_key(request.scope), make, looked)


class Kept:
    """Looks at reads of these templates, whose numbers are digits."""

    def __init__(self, app: ASGIApp, templates: tuple[str, ...]) -> None:
        self.app = app
        self._of_path = [
            (re.compile(re.sub(r"\\{\w+\\}", "[0-9]+", re.escape(template))), _Template(template))
            for template in templates
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "GET":
            for path, template in self._of_path:
                if path.fullmatch(scope["path"]):
                    if await self._answered(scope, receive, send, template):
                        return
                    break
        await self.app(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send, template: _Template) -> bool:
        state = scope["app"].state
        cache: Cache = state.cache
        looked = await cache.kept(_key(scope))
        entry = looked[1]
        if entry is None:
            scope[_LOOKED] = looked
            return False
        scope["route"] = template
        known = [value for name, value in scope["headers"] if name == b"if-none-match"]
        response = answer(entry, known[0].decode("latin-1") if known else None, state.settings.max_age)
        await response(scope, receive, send)
        return True
