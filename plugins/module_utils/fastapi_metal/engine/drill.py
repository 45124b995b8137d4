"""A drill: the engine kills itself right before or right after one of its own effects.

What a machine looks like after that can be seen, and that the next run completes it.
"""

import ast
import functools
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

from .effects import Moment, Observer, nobody

PACKAGE = Path(__file__).resolve().parents[1]
SHAPE = re.compile(r"(before|after) (\S+)(?: on (\S+))?")


class DrillError(ValueError):
    """A drill that cannot be; the message says why, and what can."""


@dataclass(frozen=True)
class Drill:
    """Where the engine dies, on every host or on one."""

    moment: Moment
    effect: str
    host: str | None = None


@functools.cache
def effect_names() -> tuple[str, ...]:
    """Return the name of every effect that the engine has, read from its own code on the controller.

    A part that is only known in a run is `*`, as in `prepare.command.*`.
    """
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Effect":
                name = literal(node.args[0]) if node.args else None
                if name:
                    found.add(name)
    return tuple(sorted(found))


def literal(node: ast.expr) -> str | None:
    """Return a text that stands in the code, its variable parts as `*`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
    return None


def matches(pattern: str, name: str) -> bool:
    """Tell whether an effect has this name."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".+"), name) is not None


def read(text: str) -> Drill | None:
    """Return the drill that was asked for, nothing for none; raise DrillError for one that cannot be."""
    if not text:
        return None
    shape = SHAPE.fullmatch(text)
    if not shape:
        raise DrillError(
            f"`app_drill` is `{text}`; write a moment and an effect, and a host where only one shall be hit: "
            "-e \"app_drill='before switch.rename on web1'\""
        )
    moment, effect, host = shape.groups()
    if not any(matches(name, effect) for name in effect_names()):
        raise DrillError(
            f"`app_drill` names {effect}, which is no effect; use one of: {', '.join(effect_names())}"
        )
    return Drill("before" if moment == "before" else "after", effect, host)


def observer(drilled: str) -> Observer:
    """Return who watches the effects on a host, and dies with the engine at `before switch.rename`."""

    def die(moment: Moment, name: str) -> None:
        if f"{moment} {name}" == drilled:
            # Nothing may catch it and nothing be tidied up: a crash and a power cut ask nobody either.
            os.kill(os.getpid(), signal.SIGKILL)

    return die if drilled else nobody
