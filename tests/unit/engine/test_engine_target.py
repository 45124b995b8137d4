"""What a server gets is the application that `module` names, with the truth about the request."""

import asyncio
import sys
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi_metal.release.target import Target, load


@pytest.fixture(autouse=True)
def module() -> Iterator[types.ModuleType]:
    """A module with an application, a factory, and one inside of something else."""
    shop = types.ModuleType("7shop.__main__")
    shop.app = "app"  # type: ignore[attr-defined]
    shop.create_app = lambda *args, **options: (args, options)  # type: ignore[attr-defined]
    shop.inner = types.SimpleNamespace(app="inner")  # type: ignore[attr-defined]
    sys.modules["7shop"], sys.modules["7shop.__main__"] = types.ModuleType("7shop"), shop
    yield shop
    del sys.modules["7shop"], sys.modules["7shop.__main__"]


@pytest.mark.parametrize(
    ("target", "app"),
    [
        ("7shop.__main__:app", "app"),
        ("7shop.__main__:inner.app", "inner"),
        ("7shop.__main__:create_app()", ((), {})),
        ("7shop.__main__:create_app('a \"b\" \\'c\\'', 1, on=True)", (("a \"b\" 'c'", 1), {"on": True})),
        ("7shop.__main__:create_app([1, None], {'a': -2})", (([1, None], {"a": -2}), {})),
    ],
)
def test_a_target_is_loaded_as_it_is_written(target: str, app: object) -> None:
    """Also from a module whose name no `import` could spell, and from a factory with arguments."""
    assert load(target) == app


def test_a_target_that_is_not_there_is_an_error() -> None:
    """The name that is missing stands in the traceback."""
    with pytest.raises(AttributeError, match="nothing"):
        load("7shop.__main__:nothing")
    with pytest.raises(ModuleNotFoundError, match="not_there"):
        load("not_there:app")


def asked(target: Target, scope: dict[str, Any]) -> dict[str, Any]:
    """Return the scope that the application was called with."""

    async def call() -> dict[str, Any]:
        seen: list[dict[str, Any]] = []

        async def app(scope: dict[str, Any], receive: object, send: object) -> None:
            seen.append(scope)

        target.app = app
        await target(scope, None, None)  # type: ignore[arg-type]
        return seen[0]

    return asyncio.run(call())


HEADERS = [(b"host", b"x"), (b"x-forwarded-for", b"198.18.0.9"), (b"x-forwarded-proto", b"https")]


def test_scheme_and_client_are_what_nginx_says() -> None:
    """A server on a unix socket knows neither; a websocket has a scheme of its own."""
    scope = {"type": "http", "scheme": "http", "client": None, "path": "/a", "headers": HEADERS}
    seen = asked(Target(None), dict(scope))
    assert (seen["scheme"], seen["client"], seen["path"]) == ("https", ("198.18.0.9", 0), "/a")
    assert "root_path" not in seen
    assert asked(Target(None), {**scope, "type": "websocket"})["scheme"] == "wss"
    odd = {**scope, "headers": [(b"x-forwarded-proto", b"gopher")]}
    assert asked(Target(None), odd)["scheme"] == "http"


def test_a_prefix_that_was_taken_off_is_told() -> None:
    """As the ASGI specification wants it: `path` is the whole path, `root_path` its beginning."""
    seen = asked(Target(None, "/shop"), {"type": "http", "path": "/a", "headers": []})
    assert (seen["path"], seen["root_path"]) == ("/shop/a", "/shop")


def test_the_lifespan_has_no_headers() -> None:
    """Start and stop of a server pass through."""
    assert asked(Target(None, "/shop"), {"type": "lifespan"}) == {"type": "lifespan"}


def test_threads_are_what_was_asked_for() -> None:
    """As many calls as that block at once, and no more."""
    running: list[int] = []
    most: list[int] = []

    def block() -> None:
        running.append(1)
        most.append(len(running))
        time.sleep(0.05)
        running.pop()

    async def app(scope: object, receive: object, send: object) -> None:
        await asyncio.gather(*(asyncio.to_thread(block) for _ in range(12)))

    target = Target(app, threads=3)
    asyncio.run(target({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert max(most) == 3
