"""The releases that lie on a host, as they were recorded."""

import json
from dataclasses import dataclass, field
from typing import Any

from ..machine.files import append, read_json
from .layout import Layout


@dataclass(frozen=True)
class Record:
    """One whole release."""

    id: str
    digest: str
    identity: dict[str, Any]
    workers: int
    created: str
    origin: str
    deployed_by: str
    # What a later rollback needs of the settings of then.
    settings: dict[str, Any]
    jobs: dict[str, str] = field(default_factory=dict)
    schema: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Store:
    """Reads releases; an application without a directory has none."""

    layout: Layout

    def read(self, release_id: str) -> Record | None:
        """Return a release if it is whole."""
        found = read_json(self.layout.record(release_id))
        if not found or found.get("id") != release_id:
            return None
        return Record(
            id=release_id,
            digest=str(found.get("digest")),
            identity=found.get("identity", {}),
            workers=int(found.get("workers", 0)),
            created=str(found.get("created")),
            origin=str(found.get("origin")),
            deployed_by=str(found.get("deployed_by")),
            settings=found.get("settings", {}),
            jobs=found.get("jobs", {}),
            schema=found.get("schema", {}),
        )

    def directories(self) -> list[str]:
        """Return the names of all release directories, whole or not, oldest first."""
        if not self.layout.releases.is_dir():
            return []
        return sorted(path.name for path in self.layout.releases.iterdir() if path.is_dir())

    def all(self) -> list[Record]:
        """Return every whole release, oldest first."""
        found = [record for name in self.directories() if (record := self.read(name))]
        return sorted(found, key=lambda record: (record.created, record.id))

    def live(self) -> str | None:
        """Return the release that gets the traffic."""
        try:
            name = self.layout.current.readlink().name
        except OSError:
            return None
        return name if self.read(name) else None

    def switches(self) -> list[dict[str, Any]]:
        """Return the switches of the history, oldest first; a line that a power cut tore is none."""
        return [entry for entry in self.history() if "to" in entry]

    def history(self) -> list[dict[str, Any]]:
        """Return every line of the history, oldest first."""
        try:
            lines = self.layout.history.read_text(errors="replace").splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                found.append(entry)
        return found

    def previous(self) -> str | None:
        """Return the release that was live before the one that is."""
        live = self.live()
        for entry in reversed(self.switches()):
            if entry.get("to") == live and entry.get("from") != live:
                before = entry.get("from")
                return before if isinstance(before, str) and self.read(before) else None
        return None

    def note_deploy(self, run: str, **line: Any) -> bool:
        """Write down how a run ended here, once."""
        if any(entry.get("run") == run and "result" in entry for entry in self.history()):
            return False
        append(self.layout.history, json.dumps({"run": run, **line}))
        return True

    def note_switch(self, before: str | None, after: str, when: str, who: str) -> bool:
        """Write down a switch that is about to happen, once."""
        switches = self.switches()
        if switches and (switches[-1].get("from"), switches[-1].get("to")) == (before, after):
            return False
        append(self.layout.history, json.dumps({"from": before, "to": after, "when": when, "by": who}))
        return True
