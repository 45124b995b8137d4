"""What Prometheus answers, with types."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Series:
    """One line: what it is of, and its values at their times."""

    labels: Labels
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float | None:
        """The newest value."""
        return self.points[-1][1] if self.points else None

    def name(self, legend: str) -> str:
        """Return what a legend such as `{{app}} 95 %` says of it."""
        if not legend:
            return " ".join(value for name, value in sorted(self.labels.items()) if name != "__name__")
        named = re.sub(r"{{\s*(\w+)\s*}}", lambda found: self.labels.get(found[1], ""), legend)
        return " ".join(named.split())


def series(result: Iterable[Mapping[str, Any]]) -> list[Series]:
    """Return the lines of an answer, of a moment (`value`) or of a span (`values`)."""
    found = []
    for row in result:
        values = row["values"] if "values" in row else [row["value"]]
        points = tuple((float(time), float(value)) for time, value in values)
        found.append(Series(dict(row.get("metric", {})), points))
    return found


def value(lines: Iterable[Series], **labels: str) -> float | None:
    """Return the newest value of the line with these labels; where there are several, the largest."""
    found = [
        line.last
        for line in lines
        if line.last is not None and all(line.labels.get(name) == wanted for name, wanted in labels.items())
    ]
    return max(found, default=None)
