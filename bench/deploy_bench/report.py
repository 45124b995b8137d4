"""What was measured, as JSON for programs and as Markdown for people."""

import json
import os
import platform
import re
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .lab import ROOT
from .measure import Measured

RESULTS = ROOT / "bench/results"
ROLE = (
    "A popular Ansible deploy role took 10.2 s for the same change when it was measured by hand. That figure "
    "is cited, not measured here: the role comes from Ansible Galaxy, which was not to be reached."
)


@dataclass(frozen=True)
class Row:
    """All measurements of one way, one action and one number of hosts."""

    way: str
    action: str
    hosts: int
    runs: list[Measured]

    def median(self, what: str) -> float | None:
        """Return the middle of its runs."""
        values = [value for run in self.runs if (value := getattr(run, what)) is not None]
        return statistics.median(values) if values else None


def machine() -> dict[str, Any]:
    """Return what this machine is."""
    cpu = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def commit() -> str:
    """Return the commit that was measured, and whether something was changed beside it."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    state = subprocess.run(
        [*git, "status", "--porcelain", "--", "playbooks", "plugins", "roles", "app", "bench/*_bench"],
        capture_output=True,
        text=True,
        check=False,
    )
    return head.stdout.strip() + (" and uncommitted changes" if state.stdout.strip() else "")


def cell(value: float | None, digits: int = 1) -> str:
    """Return a figure for the table."""
    return "-" if value is None else f"{value:.{digits}f}"


def table(rows: list[Row], ways: dict[str, str], hosts: int, window: int) -> list[str]:
    """Return the table of one number of hosts."""
    found = {(row.way, row.action): row for row in rows if row.hosts == hosts}

    def value(way: str, action: str, what: str) -> float | None:
        row = found.get((way, action))
        return row.median(what) if row else None

    base = value("shell", "deploy", "answers")
    lines = [
        f"### {hosts} host{'s' if hosts > 1 else ''}",
        "",
        f"| way | new version answers, s | without the window of {window} s | times the script "
        "| command ends, s | rollback answers, s | unchanged, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for way, what in ways.items():
        answers = value(way, "deploy", "answers")
        net = answers - window if answers is not None else None
        ratio = net / (base - window) if net is not None and base is not None else None
        cells = [
            cell(answers),
            cell(net),
            cell(ratio),
            cell(value(way, "deploy", "seconds")),
            cell(value(way, "rollback", "answers")),
            cell(value(way, "unchanged", "seconds")),
        ]
        lines.append(f"| **{way}**: {what} | {' | '.join(cells)} |")
    return [*lines, ""]


def markdown(document: dict[str, Any], rows: list[Row]) -> str:
    """Return the report."""
    loads = [run.load for row in rows for run in row.runs]
    cores = document["machine"]["cores"]
    busy = max(loads, default=0.0)
    lines = [
        "# Deploy: a code-only change",
        "",
        f"Commit {document['commit']}, {document['date']}, {document['machine']['cpu']}, {cores} cores for "
        f"controller and machines together. Load before each run: {min(loads, default=0):.1f} to {busy:.1f}, "
        f"middle {statistics.median(loads) if loads else 0:.1f}.",
        "",
        f"Middle of the deploys ({document['repeat']} on one host), from the command to the new version "
        "answering on every host through Nginx. Each way watches the new instance for "
        f"{document['window']} s before it gets traffic; that window is taken out in the third column. "
        "Written by `bench/deploy`; see [bench/README.md](../README.md).",
        "",
    ]
    for hosts in sorted({row.hosts for row in rows}):
        lines += table(rows, document["ways"], hosts, document["window"])
    lines += [f"- {note}" for note in document["notes"]]
    return "\n".join(lines) + "\n"


def write(rows: list[Row], ways: dict[str, str], window: int, repeat: int, notes: list[str]) -> Path:
    """Write both files and return the one for people."""
    document = {
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": machine(),
        "window": window,
        "repeat": repeat,
        "ways": ways,
        "notes": notes,
    }
    RESULTS.mkdir(exist_ok=True)
    everything = {**document, "rows": [asdict(row) for row in rows]}
    (RESULTS / "deploy.json").write_text(json.dumps(everything, indent=1) + "\n")
    path = RESULTS / "deploy.md"
    path.write_text(markdown(document, rows))
    return path
