"""A configuration that the stand-in accepts, to be spoilt by tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SHARED = Path(__file__).resolve().parents[3] / "molecule/shared"
# With signs that an INI file would take for comments.
PASSWORD = "se'c#r;et"  # noqa: S105 - of a server that lives for one test
SOURCE: dict[str, Any] = {
    "name": "Prometheus",
    "uid": "prometheus",
    "type": "prometheus",
    "url": "http://127.0.0.1:9090",
    "isDefault": True,
}


def dashboard(**changes: Any) -> dict[str, Any]:
    """Return a dashboard that is right, with some keys changed."""
    panel = {
        "id": 1,
        "type": "timeseries",
        "title": "Requests",
        "gridPos": {"h": 8, "w": 12, "x": 0, "y": 0},
        "datasource": {"type": "prometheus", "uid": "prometheus"},
        "targets": [{"refId": "A", "expr": "up"}],
    }
    return {"uid": "shop", "title": "Shop", "schemaVersion": 39, "panels": [panel]} | changes


@dataclass
class Tree:
    """The files of one server."""

    root: Path
    port: int

    @property
    def config(self) -> Path:
        """Return grafana.ini."""
        return self.root / "grafana.ini"

    @property
    def provisioning(self) -> Path:
        """Return the directory with datasources and dashboards."""
        return self.root / "provisioning"

    def write(self, name: str, content: Any) -> None:
        """Write a file below the root: text as it is, anything else as JSON or YAML by the file's name."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(content, str):
            content = json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content)
        path.write_text(content)

    def sources(self, *sources: dict[str, Any]) -> None:
        """Write the datasources."""
        self.write("provisioning/datasources/a.yaml", {"apiVersion": 1, "datasources": list(sources)})

    def provider(self, **changes: Any) -> None:
        """Write the provider of dashboards."""
        provider = {"name": "a", "type": "file", "options": {"path": str(self.root / "dashboards")}} | changes
        self.write("provisioning/dashboards/a.yaml", {"apiVersion": 1, "providers": [provider]})
