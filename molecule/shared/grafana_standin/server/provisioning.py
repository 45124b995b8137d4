"""Read datasources and dashboards from provisioning files, and say everything that is wrong with them.

Stricter than Grafana where a mistake would only show as an empty panel: unknown keys, unknown datasource
types and dashboards that Grafana would log and skip are errors here.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
VARIABLE = re.compile(r"\$\{?\w+(:\w+)?\}?")
DATASOURCE_TYPES = {
    "prometheus",
    "loki",
    "tempo",
    "alertmanager",
    "postgres",
    "mysql",
    "elasticsearch",
    "influxdb",
}
DATASOURCE_KEYS = {
    "name", "type", "uid", "url", "access", "orgId", "isDefault", "editable", "version", "jsonData",
    "secureJsonData", "basicAuth", "basicAuthUser", "user", "database", "withCredentials",
}  # fmt: skip
PROVIDER_KEYS = {
    "name", "type", "orgId", "folder", "folderUid", "disableDeletion", "updateIntervalSeconds",
    "allowUiUpdates", "editable", "options",
}  # fmt: skip
PANEL_TYPES = {
    "timeseries", "stat", "gauge", "bargauge", "table", "row", "text", "heatmap", "histogram",
    "state-timeline", "status-history", "barchart", "piechart", "logs", "alertlist", "dashlist",
}  # fmt: skip
# Panels that show text or group others ask no datasource.
PANELS_WITHOUT_QUERY = {"row", "text", "alertlist", "dashlist"}
BUILT_IN = {"-- Grafana --", "-- Mixed --", "-- Dashboard --", "grafana", "__expr__"}


class ProvisioningError(Exception):
    """What is wrong, one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass
class Provisioned:
    """What the files ask for, and what is wrong with them."""

    datasources: list[dict[str, Any]] = field(default_factory=list)
    dashboards: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def load(root: Path) -> Provisioned:
    """Return what is provisioned below `root`; raise ProvisioningError with every problem found."""
    result = Provisioned()
    _read_datasources(root / "datasources", result)
    for file, provider in _entries(root / "dashboards", "providers", result):
        _read_provider(f"{file}: provider {provider.get('name')!r}", provider, result)
    if result.problems:
        raise ProvisioningError(result.problems)
    return result


def _entries(directory: Path, key: str, result: Provisioned) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the file and each entry of list `key` of all YAML files in `directory`."""
    if not directory.is_dir():
        result.problems.append(f"{directory}: is missing")
        return
    for file in sorted([*directory.glob("*.yaml"), *directory.glob("*.yml")]):
        try:
            content = yaml.safe_load(file.read_text()) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            result.problems.append(f"{file}: is not readable YAML: {' '.join(str(error).split())}")
            continue
        entries = content.get(key) or [] if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            result.problems.append(f"{file}: {key} must be a list of mappings")
            continue
        if entries and content.get("apiVersion") != 1:
            result.problems.append(f"{file}: apiVersion must be 1")
        for entry in entries:
            yield file, entry


def _read_datasources(directory: Path, result: Provisioned) -> None:
    for file, entry in _entries(directory, "datasources", result):
        where = f"{file}: datasource {entry.get('name')!r}"
        result.problems += [f"{where}: {problem}" for problem in _datasource_problems(entry)]
        number = len(result.datasources) + 1
        result.datasources.append({"id": number, "isDefault": False, "uid": f"P{number:016X}", **entry})
    for key in ("name", "uid"):
        for value in _repeated(source.get(key) for source in result.datasources):
            result.problems.append(f"{directory}: two datasources have {key} {value!r}")
    if sum(source["isDefault"] is True for source in result.datasources) > 1:
        result.problems.append(f"{directory}: only one datasource can be the default (isDefault: true)")


def _datasource_problems(entry: dict[str, Any]) -> Iterator[str]:
    for key in sorted(set(entry) - DATASOURCE_KEYS):
        yield f"unknown key {key!r}"
    if not _is_text(entry.get("name")):
        yield "name is missing"
    if entry.get("type") not in DATASOURCE_TYPES:
        yield f"unknown type {entry.get('type')!r}"
    if entry.get("access", "proxy") not in ("proxy", "direct"):
        yield f"access must be proxy or direct, not {entry['access']!r}"
    if "uid" in entry and not _is_uid(entry["uid"]):
        yield f"uid {entry['uid']!r} must be 1 to 40 letters, digits, - or _"
    address = urlsplit(str(entry.get("url") or ""))
    if address.scheme not in ("http", "https") or not address.hostname:
        yield f"url {entry.get('url')!r} is not an http(s) address"
    if not isinstance(entry.get("isDefault", False), bool):
        yield "isDefault must be true or false"


def _read_provider(where: str, provider: dict[str, Any], result: Provisioned) -> None:
    before = len(result.problems)
    result.problems += [f"{where}: unknown key {key!r}" for key in sorted(set(provider) - PROVIDER_KEYS)]
    if not _is_text(provider.get("name")):
        result.problems.append(f"{where}: name is missing")
    if provider.get("type", "file") != "file":
        result.problems.append(f"{where}: type must be file")
    options = provider.get("options")
    path = options.get("path") if isinstance(options, dict) else None
    if not _is_text(path) or not Path(str(path)).is_dir():
        result.problems.append(f"{where}: options.path {path!r} is not a directory")
    if len(result.problems) > before:
        return
    known = {source["uid"] for source in result.datasources} | BUILT_IN
    has_default = any(source["isDefault"] is True for source in result.datasources)
    for file in sorted(Path(str(path)).rglob("*.json")):
        _read_dashboard(file, provider, known, has_default, result)


def _read_dashboard(
    file: Path, provider: dict[str, Any], known: set[str], has_default: bool, result: Provisioned
) -> None:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        result.problems.append(f"{file}: is not readable JSON: {error}")
        return
    if not isinstance(content, dict):
        result.problems.append(f"{file}: is not a JSON object")
        return
    problems = [f"{file}: {problem}" for problem in _dashboard_problems(content, known, has_default)]
    folder = provider.get("folder", "")
    uid = content.get("uid")
    for other in result.dashboards.values():
        if other["dashboard"]["uid"] == uid:
            problems.append(f"{file}: uid {uid!r} is also the uid of {other['file']}")
        if (other["folder"], other["dashboard"]["title"]) == (folder, content.get("title")):
            problems.append(f"{file}: title {content.get('title')!r} is also the title of {other['file']}")
    result.problems += problems
    if not problems:
        result.dashboards[str(uid)] = {"file": str(file), "folder": folder, "dashboard": content}


def _dashboard_problems(dashboard: dict[str, Any], known: set[str], has_default: bool) -> Iterator[str]:
    if not _is_text(dashboard.get("title")):
        yield "title is missing"
    if not _is_uid(dashboard.get("uid")):
        yield f"uid {dashboard.get('uid')!r} must be 1 to 40 letters, digits, - or _"
    if not isinstance(dashboard.get("schemaVersion"), int):
        yield "schemaVersion must be a number"
    panels = list(_panels(dashboard))
    if not panels:
        yield "has no panels"
    for number in _repeated(panel.get("id") for panel in panels):
        yield f"two panels have id {number}"
    for panel in panels:
        for problem in _panel_problems(panel, known, has_default):
            yield f"panel {panel.get('title')!r}: {problem}"


def _panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels, and those that a collapsed row holds."""
    panels = dashboard.get("panels")
    for panel in panels if isinstance(panels, list) else []:
        if isinstance(panel, dict):
            yield panel
            yield from _panels(panel)


def _panel_problems(panel: dict[str, Any], known: set[str], has_default: bool) -> Iterator[str]:
    if not isinstance(panel.get("id"), int):
        yield "id must be a number"
    if panel.get("type") not in PANEL_TYPES:
        yield f"unknown type {panel.get('type')!r}"
    place = panel.get("gridPos")
    if not isinstance(place, dict) or not all(isinstance(place.get(key), int) for key in "hwxy"):
        yield "gridPos needs the numbers h, w, x and y"
    elif not (place["x"] >= 0 and 0 < place["w"] <= 24 - place["x"]):
        yield "gridPos does not fit the 24 columns"
    if panel.get("type") in PANELS_WITHOUT_QUERY:
        return
    targets = panel.get("targets")
    if not isinstance(targets, list) or not targets:
        yield "has no query (targets)"
        return
    yield from _datasource_of(panel, known, has_default)
    for target in targets:
        if not isinstance(target, dict) or not _is_text(target.get("expr")):
            yield "a query without expr"
        elif "datasource" in target:
            yield from _datasource_of(target, known, has_default)


def _datasource_of(owner: dict[str, Any], known: set[str], has_default: bool) -> Iterator[str]:
    source = owner.get("datasource")
    uid = source.get("uid") if isinstance(source, dict) else source
    if uid is None:
        if not has_default:
            yield "names no datasource and none is the default"
    elif not isinstance(uid, str) or (uid not in known and not VARIABLE.fullmatch(uid)):
        yield f"unknown datasource uid {uid!r}"


def _repeated(values: Iterator[Any]) -> list[Any]:
    counts = Counter(value for value in values if isinstance(value, (str, int)))
    return [value for value, count in counts.items() if count > 1]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_uid(value: object) -> bool:
    return isinstance(value, str) and UID.fullmatch(value) is not None
