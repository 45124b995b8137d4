"""What was measured, as JSON for programs and as Markdown for people."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy_bench.report import RESULTS, commit, machine

from .measure import Fleet, Rest

WANTED_CPU, WANTED_MB, WANTED_QUERY = 2.0, 300.0, 1.0


def verdict(value: float, wanted: float) -> str:
    """Return whether a figure is what was asked for."""
    return "reached" if value < wanted else "missed"


def at_rest(rest: Rest) -> list[str]:
    """Return the part about one machine."""
    cpu, memory = sum(rest.cpu_percent.values()), sum(rest.memory_mb.values())
    lines = [
        "## At rest, one machine",
        "",
        f"Over {rest.seconds:.0f} s, in percent of one processor; load of the host {rest.load:.1f}.",
        "",
        "| what watches | processor, % | memory, MB |",
        "|---|---|---|",
    ]
    lines += [
        f"| {unit} | {percent:.2f} | {rest.memory_mb.get(unit, 0):.0f} |"
        for unit, percent in sorted(rest.cpu_percent.items(), key=lambda row: -row[1])
    ]
    return [
        *lines,
        f"| **together** | **{cpu:.2f}** | **{memory:.0f}** |",
        "",
        f"Asked for: under {WANTED_CPU:.0f} % and {WANTED_MB:.0f} MB. "
        f"Processor: {verdict(cpu, WANTED_CPU)}; memory: {verdict(memory, WANTED_MB)}.",
        "",
    ]


def with_many(fleet: Fleet) -> list[str]:
    """Return the part about many hosts."""
    slowest = fleet.questions[0]
    return [
        f"## {fleet.hosts} hosts",
        "",
        f"Six jobs each, asked every 15 s, ten applications; after {fleet.minutes:.0f} minutes. They are "
        f"answered for by a generator on the same machine, whose load was {fleet.load:.1f}.",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| {name} | {value:,.2f} |" for name, value in fleet.figures.items()),
        "",
        "| group of rules | longest evaluation, s |",
        "|---|---|",
        *(
            f"| {name} | {value:.3f} |"
            for name, value in sorted(fleet.groups.items(), key=lambda row: -row[1])
        ),
        "",
        f"Each query of each panel ({len(fleet.questions)}), over all of it in 720 steps; the ten slowest:",
        "",
        "| dashboard | panel | seconds | rows |",
        "|---|---|---|---|",
        *(
            f"| {row['dashboard']} | {row['panel']} | {row['seconds']:.3f} | {row['rows']} |"
            for row in fleet.questions[:10]
        ),
        "",
        f"Asked for: the slowest under {WANTED_QUERY:.0f} s. It takes {slowest['seconds']:.3f} s: "
        f"{verdict(slowest['seconds'], WANTED_QUERY)}.",
    ]


def write(rest: Rest | None, fleet: Fleet | None) -> Path:
    """Write both files and return the one for people; what was not measured now stays as it was."""
    RESULTS.mkdir(exist_ok=True)
    place = RESULTS / "watch.json"
    before: dict[str, Any] = json.loads(place.read_text()) if place.exists() else {}
    about = {
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": machine(),
    }
    parts = {name: {**about, **asdict(part)} for name, part in (("rest", rest), ("fleet", fleet)) if part}
    document = {**before, **parts}
    place.write_text(json.dumps(document, indent=1) + "\n")
    lines = [
        "# What watching takes",
        "",
        "Written by `bench/watch`; see [bench/README.md](../README.md).",
        "",
    ]
    for name in ("rest", "fleet"):
        if name in document:
            kept = dict(document[name])
            words = {key: kept.pop(key) for key in about}
            heading, *more = at_rest(Rest(**kept)) if name == "rest" else with_many(Fleet(**kept))
            where = words["machine"]
            told = f"Commit {words['commit']}, {words['date']}, {where['cpu']}, {where['cores']} cores."
            lines += [heading, "", told, *more]
    path = RESULTS / "watch.md"
    path.write_text("\n".join(lines) + "\n")
    return path
