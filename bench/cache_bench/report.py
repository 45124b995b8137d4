"""What was measured, as JSON for programs and as Markdown for people."""

import json
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy_bench.report import RESULTS, commit, machine

from .measure import PATH, PRODUCTS, WAYS, Measured

RIVAL, OURS = WAYS[0].name, WAYS[1].name
WANTED = 5

Runs = dict[str, list[Measured]]


def middle(runs: list[Measured], what: str) -> float:
    """Return the middle of one figure."""
    return float(statistics.median(getattr(run, what) for run in runs))


def ratio(runs: Runs, way: str) -> float:
    """Return how many times the rival's requests a way takes."""
    return middle(runs[way], "requests") / middle(runs[RIVAL], "requests")


def markdown(document: dict[str, Any], runs: Runs) -> str:
    """Return the report."""
    loads = [run.load for measured in runs.values() for run in measured]
    lines = [
        "# A list, cached by Nginx",
        "",
        f"Commit {document['commit']}, {document['date']}, {document['machine']['cpu']}, "
        f"{document['machine']['cores']} cores for the server and for who asks. "
        f"Load before each run: {min(loads):.1f} to {max(loads):.1f}.",
        "",
        f"`GET {PATH}` of the catalogue, {PRODUCTS} products in PostgreSQL, {document['connections']} kept "
        f"connections, {document['seconds']} s a run; the middle of {document['rounds']} runs each, in "
        "turns. Written by `bench/cache`; see [bench/README.md](../README.md).",
        "",
        "| way | requests/s | times `fastapi run` | median, ms | 99 %, ms |",
        "|---|---|---|---|---|",
    ]
    for way in WAYS:
        measured, times = runs[way.name], ratio(runs, way.name)
        lines.append(
            f"| **{way.name}**: {way.what} | {middle(measured, 'requests'):.0f} | {times:.1f} "
            f"| {middle(measured, 'median_ms'):.1f} | {middle(measured, 'worst_ms'):.1f} |"
        )
    verdict = "reached" if ratio(runs, OURS) >= WANTED else "missed"
    lines += ["", f"Asked for: {WANTED} times. It is {ratio(runs, OURS):.1f} times: {verdict}."]
    return "\n".join(lines) + "\n"


def write(runs: Runs, seconds: int, connections: int, rounds: int) -> Path:
    """Write both files and return the one for people."""
    document = {
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": machine(),
        "seconds": seconds,
        "connections": connections,
        "rounds": rounds,
        "ratio": round(ratio(runs, OURS), 2),
        "wanted": WANTED,
    }
    RESULTS.mkdir(exist_ok=True)
    found = {name: [asdict(run) for run in measured] for name, measured in runs.items()}
    (RESULTS / "cache.json").write_text(json.dumps({**document, "runs": found}, indent=1) + "\n")
    path = RESULTS / "cache.md"
    path.write_text(markdown(document, runs))
    return path
