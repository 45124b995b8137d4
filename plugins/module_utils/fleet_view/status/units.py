"""Figures as people read them, by the units that the dashboards name."""

import math
from collections.abc import Callable

STEPS = ((1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"))
NONE = "-"


def plain(value: float) -> str:
    """Return a number with as many digits as matter."""
    size = abs(value)
    if size >= 1_000_000:
        return f"{value / 1_000_000:.3g} M"
    if size >= 10_000:
        return f"{value / 1000:.3g} k"
    if size >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 1 else f"{value:.2g}"


def share(value: float) -> str:
    """Return a share as percent; what is not nothing is not shown as nothing."""
    percent = value * 100
    if percent == 0 or percent >= 10:
        return f"{percent:.0f} %"
    return f"{percent:.1f} %" if percent >= 0.1 else "< 0.1 %"


def size(value: float) -> str:
    """Return bytes."""
    for step, name in STEPS:
        if abs(value) >= step:
            number = value / step
            return f"{number:.0f} {name}" if number >= 10 else f"{number:.1f} {name}"
    return f"{value:.0f} B"


def duration(value: float) -> str:
    """Return seconds, in the largest unit that leaves a figure above one."""
    for step, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(value) >= 2 * step:
            return f"{value / step:.0f} {name}"
    if abs(value) >= 1:
        return f"{value:.3g} s"
    if abs(value) >= 0.001 or value == 0:
        return f"{value * 1000:.3g} ms"
    return f"{value * 1_000_000:.0f} µs"


def per_second(of: Callable[[float], str]) -> Callable[[float], str]:
    """Return how a rate is written."""
    return lambda value: f"{of(value)}/s"


FORMATS: dict[str, Callable[[float], str]] = {
    "none": plain,
    "s": duration,
    "d": lambda value: f"{value:.0f} d",
    "bytes": size,
    "Bps": per_second(size),
    "percentunit": share,
    "reqps": per_second(plain),
    "ops": per_second(plain),
    "cps": per_second(plain),
    "pps": per_second(plain),
}


def shown(value: float | None, unit: str) -> str:
    """Return a figure in its unit, or a dash where there is none."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞"
    return FORMATS.get(unit, plain)(value)
