"""Measure, and write down what was measured: as JSON for programs and as Markdown for people."""

import argparse
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import figures
from bench.load import say

# Of load for each, in each of seven rounds.
_SECONDS = 3
_AIMED = "of a bare route, metrics alone"
RESULTS = Path(__file__).parent / "results"


def _machine() -> dict[str, Any]:
    cpu = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).parent)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", "../catalog", "../migrations", "../requirements.txt", "*.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    return head.stdout.strip() + (" and uncommitted changes" if changed.stdout.strip() else "")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="app/bench/run", description=__doc__)
    measures: dict[str, Callable[[], figures.Figure]] = {
        "requests": lambda: figures.requests(_SECONDS),
        "memory": lambda: figures.shared_memory(1024, 60),
        "start": lambda: figures.start(7),
        "import": lambda: figures.large_import(100_000),
        "queries": figures.queries,
    }
    parser.add_argument("figures", nargs="*", help=f"some of {', '.join(measures)}; all of them by default")
    parser.add_argument("--print", action="store_true", help="print only, and leave the results as they are")
    arguments = parser.parse_args()
    if unknown := set(arguments.figures) - set(measures):
        parser.error(f"there is no figure {', '.join(unknown)}")
    found: dict[str, Any] = {"commit": _commit(), "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}
    found["machine"] = _machine()
    load: dict[str, float] = {}
    for name, measure in measures.items():
        if arguments.figures and name not in arguments.figures:
            continue
        load[name] = round(os.getloadavg()[0], 2)
        begun = time.monotonic()
        say(f"{name}, at a load of {load[name]}")
        found[name] = measure()
        say(f"{name}, after {time.monotonic() - begun:.0f} s: {json.dumps(found[name], indent=1)}")
    found["load before"] = load
    if not arguments.print and not arguments.figures:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "app.json").write_text(json.dumps(found, indent=2) + "\n")
        (RESULTS / "app.md").write_text(_markdown(found))
        say(f"written: {RESULTS / 'app.md'}")


def _verdict(*, good: bool) -> str:
    return "yes" if good else "**no**"


def _markdown(found: dict[str, Any]) -> str:
    machine, asked, loads = found["machine"], found["requests"], found["load before"].values()
    costs = asked["cost of watching"]
    rows = [
        (
            "a cached list under one Gunicorn worker, to a bare FastAPI route of the same bytes",
            f"{asked['cached list to bare route']:.2f}",
            "0.7 or more",
            asked["cached list to bare route"] >= 0.7,
        ),
        *(
            (
                f"what watching adds to the time of a request: {name}",
                f"{cost:.0%}",
                "under 15 %" if name == _AIMED else "",
                cost < 0.15 if name == _AIMED else None,
            )
            for name, cost in costs.items()
        ),
        (
            f"four workers with a matrix of {found['memory']['matrix, MB']} MB after "
            f"{found['memory']['seconds of load']} s of load, sum of PSS",
            f"{found['memory']['sum of PSS, MB']} MB",
            "under 1.4 GB",
            found["memory"]["sum of PSS, MB"] < 1400,
        ),
        (
            "start to ready",
            f"{found['start']['middle, s']:.2f} s",
            "under 1.5 s",
            found["start"]["middle, s"] < 1.5,
        ),
        (
            f"import of {found['import']['rows']} rows into PostgreSQL",
            f"{found['import']['rows per second']} rows/s",
            "10,000 or more",
            found["import"]["rows per second"] >= 10_000,
        ),
        (
            "memory of the worker during it, above idle",
            f"{found['import']['above idle, MB']} MB",
            "under 100 MB",
            found["import"]["above idle, MB"] < 100,
        ),
        *(
            (
                f"queries of GET {path}",
                str(count),
                "2 or fewer" if "?" in path or "s," in path else "1",
                count <= 1,
            )
            for path, count in found["queries"].items()
        ),
    ]
    lines = [
        "# The application",
        "",
        f"Commit {found['commit']}, {found['time']}, {machine['cpu']}, {machine['cores']} cores for the "
        f"server, the database and the load together, Python {machine['python']}. Load of the machine "
        f"before each part: {min(loads)} to {max(loads)}. "
        "Written by `app/bench/run`; see [README.md](../README.md).",
        "",
        "| what | measured | aim | kept |",
        "|---|---|---|---|",
        *(
            f"| {what} | {value} | {aim} | {'' if good is None else _verdict(good=good)} |"
            for what, value, aim, good in rows
        ),
        "",
        f"Requests per second, {asked['bytes']} bytes each, one worker, 16 connections, middle of 7 rounds:",
        "",
        "| what | requests/s | median, ms | processor time of the worker, ms |",
        "|---|---|---|---|",
        *(
            f"| {name} | {rate} | {asked['median, ms'][name]:.2f} | {asked['processor time, ms'][name]:.3f} |"
            for name, rate in asked["requests per second"].items()
        ),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
