"""The dashboards as the role ships them, and what they ask."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "roles/grafana/files/dashboards"

# Grafana's own variables, with values of the kind that it puts in their place.
BUILT_IN = {"$__rate_interval": "1m", "$__interval": "15s", "$__range": "3h"}
WORDS = {
    *(
        "and",
        "or",
        "unless",
        "on",
        "ignoring",
        "by",
        "without",
        "group_left",
        "group_right",
        "offset",
        "bool",
    ),
    *("inf", "nan"),
}


def dashboards() -> dict[str, dict[str, Any]]:
    """Return every dashboard by the name of its file."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels that ask something."""
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")


def queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the title of the panel and the query, for each query of a dashboard."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for mark in dashboard.get("annotations", {}).get("list", []):
        yield mark["name"], mark["expr"]


def without_variables(expr: str) -> str:
    """Return a query as it is sent, whatever is chosen."""
    for name, value in BUILT_IN.items():
        expr = expr.replace(name, value)
    return re.sub(r"\$\w+", "x", expr)


def metrics(expr: str) -> set[str]:
    """Return the names of the metrics and rules that a query reads."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", expr)
    bare = re.sub(r"\{[^{}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)", " ", bare)
    names = re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\w*\s*\()", bare)
    return {name for name in names if name.lower() not in WORDS}


def recording_rules() -> re.Pattern[str]:
    """Return what the names of role prometheus' recording rules look like."""
    rules = (ROOT / "roles/prometheus/templates/rules/recording.yml.j2").read_text()
    names = re.findall(r"^ *- record: (\S.*)$", rules, re.MULTILINE)
    assert len(names) > 30, "nothing was looked at"
    # One that is written once for several has `<< name >>` where they differ.
    return re.compile("|".join(re.sub(r"<< \w+ >>", r"\\w+", name) for name in names))
