"""Panels as SVG, in colours that the page chooses: light or dark.

Each colour is drawn as a mark, a hexadecimal number that nothing else has, and then replaced by a variable of
the page's style sheet. Titles and legends are the page's text and not the picture's.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import matplotlib as mpl

mpl.use("svg")

import numpy as np
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .answers import Series
from .questions import Plot
from .units import shown

WIDTH, HEIGHT = 4.6, 2.1
# As many lines as can be told apart.
MOST = 8
INK, GRID = "#010203", "#040506"
LINES = tuple(f"#0708{number:02x}" for number in range(16, 16 + MOST))
# What the heat of a heat map is mixed from: the page's background shows through where there is none.
HEAT = (0.93, 0.45, 0.13)
# A bucket's upper bound is a bar of the heat map; labels for more of them would overlap.
MOST_LABELS = 7


@dataclass(frozen=True)
class Drawn:
    """A picture, and what its lines are: name, colour's number and newest value."""

    svg: str
    legend: tuple[tuple[str, int | None, str], ...]


def draw(plot: Plot, answers: Sequence[Sequence[Series]], span: tuple[float, float]) -> Drawn | None:
    """Return the picture of a panel, or nothing where there are no figures for it."""
    named = [
        (line.name(legend), line)
        for (_, legend), lines in zip(plot.asks, answers, strict=True)
        for line in lines
        if any(np.isfinite(value) for _, value in line.points)
    ]
    if not named:
        return None
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    legend = _heat(axes, named, span) if plot.kind == "heatmap" else _lines(axes, plot, named)
    _times(axes, span)
    return Drawn(_svg(figure, plot.title), tuple(legend))


def _lines(axes: Axes, plot: Plot, named: list[tuple[str, Series]]) -> list[tuple[str, int | None, str]]:
    """Draw lines, the largest of them where there are too many, or areas upon each other."""
    ordered = sorted(named, key=lambda pair: -_mean(pair[1]))[:MOST]
    legend: list[tuple[str, int | None, str]] = []
    below = None
    for number, (name, line) in enumerate(ordered):
        moments, values = _arrays(line)
        if plot.stacked:
            grid = np.array(sorted({time for _, other in ordered for time, _ in other.points}))
            values = np.interp(grid, [time for time, _ in line.points], values, left=0, right=0)
            moments = np.array([datetime.fromtimestamp(time, UTC) for time in grid])
            top = values if below is None else below + values
            axes.fill_between(
                moments, 0 if below is None else below, top, color=LINES[number], alpha=0.35, lw=0
            )
            axes.plot(moments, top, color=LINES[number], lw=1.3)
            below = top
        else:
            axes.plot(moments, values, color=LINES[number], lw=1.6, solid_joinstyle="round")
        legend.append((name, number, shown(line.last, plot.unit)))
    if len(named) > MOST:
        legend.append((f"{len(named) - MOST} more, smaller", None, ""))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, plot.unit)))
    highest = axes.get_ylim()[1]
    if plot.top is not None:
        highest = plot.top
    axes.set_ylim(0, highest if highest > 0 else 1)
    axes.set_yticks(_ticks(axes.get_ylim()[1], plot.unit))
    return legend


def _heat(
    axes: Axes, named: list[tuple[str, Series]], span: tuple[float, float]
) -> list[tuple[str, int | None, str]]:
    """Draw how many requests took how long: a column is a moment, a row a bucket of the histogram."""
    bounds = sorted(((float(line.labels["le"]), line) for _, line in named), key=lambda pair: pair[0])
    moments = sorted({time for _, line in bounds for time, _ in line.points})
    summed = np.zeros((len(bounds), len(moments)))
    place = {time: column for column, time in enumerate(moments)}
    for row, (_, line) in enumerate(bounds):
        for time, value in line.points:
            summed[row, place[time]] = value if np.isfinite(value) else 0
    # Buckets hold what the ones below them hold.
    each = np.diff(summed, axis=0, prepend=0).clip(min=0)
    used = np.flatnonzero(each.sum(axis=1) > 0)
    low, high = (int(used[0]), int(used[-1])) if len(used) else (0, len(bounds) - 1)
    each = each[low : high + 1]
    picture = np.zeros((*each.shape, 4))
    picture[..., :3] = HEAT
    picture[..., 3] = np.sqrt(each / each.max()) if each.max() > 0 else 0
    begin, end = (_day(datetime.fromtimestamp(time, UTC)) for time in (moments[0], moments[-1]))
    axes.imshow(
        picture,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=(begin, max(end, begin + 1 / 86400), -0.5, len(each) - 0.5),
    )
    every = max(1, -(-len(each) // MOST_LABELS))
    rows = range(0, len(each), every)
    labels = [bounds[low + row][0] for row in rows]
    axes.set_yticks(list(rows), [shown(bound, "s") if np.isfinite(bound) else "more" for bound in labels])
    return []


def _times(axes: Axes, span: tuple[float, float]) -> None:
    """Give the picture its time axis and its looks."""
    begin, end = (datetime.fromtimestamp(time, UTC) for time in span)
    axes.set_xlim(begin, end)  # type: ignore[arg-type]  # matplotlib takes times as well
    locator = dates.AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    kind = "%H:%M" if (end - begin).total_seconds() < 2 * 86400 else "%d %b"
    axes.xaxis.set_major_formatter(dates.DateFormatter(kind))  # type: ignore[no-untyped-call]
    axes.grid(axis="y", color=GRID, lw=0.6)
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(GRID)
    axes.tick_params(colors=INK, labelsize=8, length=0)


def _ticks(highest: float, unit: str) -> list[float]:
    """Return where the axis is labelled: at round numbers, which are others for bytes."""
    scale = 1024.0 ** int(np.log2(highest) // 10) if unit in ("bytes", "Bps") and highest > 1 else 1.0
    found = MaxNLocator(4).tick_values(0, highest / scale)
    return [float(tick) * scale for tick in found if tick * scale <= highest * 1.001]


def _svg(figure: Figure, title: str) -> str:
    """Return the picture as text, without anything of this run."""
    target = io.StringIO()
    # With text as text the page's font is used; the salt keeps ids of two pictures apart.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.family": "sans-serif"}):
        nothing: dict[str, str | None] = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(target, format="svg", transparent=True, metadata=nothing)
    text = target.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text))
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    for number, color in enumerate(LINES):
        text = text.replace(color, f"var(--line{number})")
    return text.replace(INK, "var(--faint)").replace(GRID, "var(--grid)")


def _day(moment: datetime) -> float:
    """Return a time as the axis counts it."""
    return float(dates.date2num(moment))  # type: ignore[no-untyped-call]


def _arrays(line: Series) -> tuple[np.ndarray, np.ndarray]:
    moments = np.array([datetime.fromtimestamp(time, UTC) for time, _ in line.points])
    return moments, np.array([value for _, value in line.points])


def _mean(line: Series) -> float:
    values = [value for _, value in line.points if np.isfinite(value)]
    return sum(values) / len(values) if values else 0.0
