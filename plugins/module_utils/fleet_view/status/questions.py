"""What Prometheus is asked: figures for the table, and the panels of the dashboards that are drawn."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).resolve().parents[4] / "roles/grafana/files/dashboards"

# What a row of the table shows, for each application and machine.
FIGURES = {
    "rate": "app_host:http_requests:rate5m",
    "errors": "app_host:http_errors:ratio_rate5m",
    "p95": "app_host:http_request_duration_seconds:p95_5m",
    "cpu": "host:cpu_busy:ratio_rate5m",
    "alerts": 'ALERTS{alertstate="firing", severity!="none"}',
    "up": "host:up:min",
}

# The panels that are drawn, by the dashboard's file and the panel's title, below a heading each.
DRAWN: dict[str, tuple[tuple[str, str], ...]] = {
    "Applications": (
        ("fleet", "How many requests, of which application?"),
        ("fleet", "What share of its requests fails?"),
        ("fleet", "How long does an answer take?"),
        ("deploys", "Does a new release need more memory?"),
        ("capacity", "Are there enough workers?"),
        ("capacity", "Are there enough database connections?"),
    ),
    "Sites": (
        ("nginx", "How many requests, by machine?"),
        ("nginx", "What do the connections do?"),
        ("nginx", "Which site is slow?"),
    ),
    "Machines": (
        ("fleet", "Which machine works hardest?"),
        ("fleet", "Which machine runs out of memory?"),
        ("fleet", "Which machine runs out of disk?"),
    ),
    "Database and cache": (
        ("postgresql", "Who is connected?"),
        ("postgresql", "How many transactions?"),
        ("valkey", "How much memory does it take?"),
    ),
}
# Drawn once for each application.
FOR_EACH_APP = (
    ("app", "How many requests take how long?"),
    ("app", "How much memory does a worker take?"),
    ("app", "Which routes are asked most?"),
)


@dataclass(frozen=True)
class Plot:
    """One panel that is drawn."""

    heading: str
    kind: str
    title: str
    why: str
    unit: str
    top: float | None
    stacked: bool
    # Query and legend.
    asks: tuple[tuple[str, str], ...]


def dashboard(name: str) -> dict[str, Any]:
    """Return a dashboard that role grafana ships."""
    found: dict[str, Any] = json.loads((DASHBOARDS / f"{name}.json").read_text())
    return found


def filled(expr: str, variables: Mapping[str, str]) -> str:
    """Return a query with values for its variables."""
    return re.sub(r"\$(\w+)", lambda found: variables[found[1]], expr)


def plot(heading: str, panel: Mapping[str, Any], variables: Mapping[str, str]) -> Plot:
    """Return a panel of a dashboard as it is drawn."""
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults.get("custom", {})
    return Plot(
        heading=heading,
        kind=panel["type"],
        title=panel["title"],
        why=panel["description"],
        unit=defaults["unit"],
        top=defaults.get("max"),
        stacked=custom.get("stacking", {}).get("mode") == "normal",
        asks=tuple(
            (filled(target["expr"], variables), target.get("legendFormat", "")) for target in panel["targets"]
        ),
    )


def plots(apps: Iterable[str], step: int) -> list[Plot]:
    """Return everything that is drawn, in its order. Queries know that figures are `step` seconds apart."""
    variables = {"environment": ".*", "app": ".*", "host": ".*", "__rate_interval": f"{max(4 * step, 60)}s"}
    read: dict[str, dict[str, Any]] = {}

    def panel(name: str, title: str) -> dict[str, Any]:
        found = read.setdefault(name, dashboard(name))
        return next(panel for panel in found["panels"] if panel["title"] == title)

    first, *others = DRAWN.items()
    drawn = [plot(first[0], panel(*which), variables) for which in first[1]]
    for app in apps:
        drawn += [plot(app, panel(*which), {**variables, "app": app}) for which in FOR_EACH_APP]
    return drawn + [plot(heading, panel(*which), variables) for heading, some in others for which in some]
