"""What can be wrong with the commands of an application: one-off commands, processes, timers, its schema."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .sentences import sentence, shown

WORKDIR = re.compile(r"(?!.*\.\.)[A-Za-z0-9_.][A-Za-z0-9_./-]*")
ITEM_KEYS = {"command", "workdir"}


def of_commands(variable: str, app: Mapping[str, Any]) -> Iterator[str]:
    """Find everything that is wrong with what an application runs beside its server."""
    for key in ("before_start", "after_start"):
        items = app.get(key)
        for number, item in enumerate(items if isinstance(items, list) else ()):
            yield from of_item(f"{variable}.{key}[{number}]", item)


def of_item(variable: str, item: Any) -> Iterator[str]:
    """Find what is wrong with one one-off command."""
    works = "write a text as in `alembic upgrade head`, or `{command: ./migrate, workdir: backend}`"
    if isinstance(item, Mapping):
        strange = sorted(set(map(str, item)) - ITEM_KEYS)
        if strange:
            yield sentence(f"{variable}.{strange[0]}", "is not known", "allowed here: command, workdir")
        yield from of_text(f"{variable}.command", item.get("command"), works)
        yield from of_workdir(f"{variable}.workdir", item.get("workdir"))
    else:
        yield from of_text(variable, item, works)


def of_text(variable: str, text: Any, works: str) -> Iterator[str]:
    """Find a command that is none."""
    if not isinstance(text, str) or not text.strip():
        yield sentence(variable, f"is {shown(text)}, which is no command", works)
    elif "\0" in text:
        yield sentence(variable, "holds a NUL character", works)


def of_workdir(variable: str, workdir: Any) -> Iterator[str]:
    """Find a working directory that leads elsewhere."""
    if workdir is not None and not (isinstance(workdir, str) and WORKDIR.fullmatch(workdir)):
        yield sentence(
            variable,
            f"is {shown(workdir)}, which leads elsewhere",
            "use a relative directory without spaces, as in `backend`",
        )
