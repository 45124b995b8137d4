"""The engine's own list of what it does, by name and in order.

A step is a list of effects. Whoever observes is told before and after each one; tests stop the
engine there, so every place where it can be killed is taken from this list and none is forgotten.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

Moment = Literal["before", "after"]
Observer = Callable[[Moment, str], None]


@dataclass(frozen=True)
class Effect:
    """One change of the host. It can be applied again, and says whether it changed anything."""

    name: str
    apply: Callable[[], bool]


def nobody(moment: Moment, name: str) -> None:
    """Observe nothing."""


def perform(effects: Iterable[Effect], observer: Observer = nobody) -> list[str]:
    """Apply effects in order and return the names of those that changed something."""
    changed = []
    for effect in effects:
        observer("before", effect.name)
        if effect.apply():
            changed.append(effect.name)
        observer("after", effect.name)
    return changed
