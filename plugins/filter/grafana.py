"""What role grafana refuses before anything lands: a dashboard that would be missing or show nothing."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
# Grafana's own sources, and a dashboard's variable.
ANY_DATASOURCE = re.compile(r"-- \w+ --|grafana|__expr__|\$.*")
# Panels that show text or group others ask nobody.
SILENT_PANELS = {"row", "text", "alertlist", "dashlist", "news"}
SHORTEST_PASSWORD = 5

Sources = list[Mapping[str, Any]]


def grafana_problems(dashboards: Mapping[str, str], datasources: Sources, password: str) -> list[str]:
    """Return what Grafana could not load, one sentence each; `dashboards` holds texts by file."""
    problems = []
    if password and len(password) < SHORTEST_PASSWORD:
        problems.append(f"grafana_admin_password: Grafana wants {SHORTEST_PASSWORD} characters or more.")
    if "\n" in password:
        problems.append("grafana_admin_password: it must be one line.")
    for key in ("name", "uid"):
        values = [source[key] for source in datasources]
        problems += [
            f"grafana_datasources: two have {key} '{value}'; rename one."
            for value in sorted(set(values))
            if values.count(value) > 1
        ]
    known = {source["uid"] for source in datasources}
    owner: dict[str, str] = {}
    for file, text in dashboards.items():
        problems += [f"grafana_dashboards, {file}: {problem}." for problem in _problems(text, known)]
        for mark in _marks(file, text):
            if owner.setdefault(mark, file) != file:
                problems.append(f"grafana_dashboards, {file}: {mark} is taken by {owner[mark]}.")
    return problems


def grafana_dashboard_files(dashboards: Mapping[str, str], directory: str) -> list[dict[str, str]]:
    """Return the dashboards as files for module config_files, readable for Grafana alone."""
    return [
        {"path": f"{directory}/{_base(file)}", "content": text, "group": "grafana", "mode": "0640"}
        for file, text in dashboards.items()
    ]


def _base(file: str) -> str:
    return file.rsplit("/", 1)[-1]


def _marks(file: str, text: str) -> Iterator[str]:
    """Yield what no two dashboards may share: the name of the file on the machine, uid and title."""
    yield f"the file name {_base(file)}"
    try:
        dashboard = json.loads(text)
    except ValueError:
        return
    if isinstance(dashboard, dict):
        yield from (f"{key} '{dashboard[key]}'" for key in ("uid", "title") if key in dashboard)


def _problems(text: str, known: set[str]) -> Iterator[str]:
    try:
        dashboard = json.loads(text)
    except ValueError as error:
        yield f"it is not JSON ({error}); export it from Grafana again"
        return
    if not isinstance(dashboard, dict) or not isinstance(dashboard.get("panels"), list):
        yield "it is not a dashboard: it has no list of panels"
        return
    if not dashboard.get("title"):
        yield "it has no title"
    if not isinstance(dashboard.get("uid"), str) or not UID.fullmatch(dashboard["uid"]):
        yield "it needs a uid of 1 to 40 letters, digits, '-' or '_', like 'shop-overview'"
    for panel in _panels(dashboard):
        if panel.get("type") in SILENT_PANELS:
            continue
        if not panel.get("targets"):
            yield f"panel '{panel.get('title')}' asks nothing (no targets)"
        for part in (panel, *panel.get("targets", [])):
            uid = _uid(part.get("datasource"))
            if uid is not None and uid not in known and not ANY_DATASOURCE.fullmatch(uid):
                yield f"panel '{panel.get('title')}' asks datasource '{uid}', which grafana_datasources lacks"


def _panels(owner: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the panels, and those inside of collapsed rows."""
    for panel in owner.get("panels", []):
        yield panel
        yield from _panels(panel)


def _uid(datasource: Any) -> str | None:
    """Return the uid that a panel or a query names, in either form that Grafana writes."""
    return datasource.get("uid") if isinstance(datasource, Mapping) else datasource


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"grafana_dashboard_files": grafana_dashboard_files, "grafana_problems": grafana_problems}
