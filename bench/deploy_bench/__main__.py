"""The command: boot, converge, measure, write, take down."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import report, ways
from .lab import NAME, ROOT, BenchError, Lab
from .measure import Bench
from .report import Row
from .running import run, say

ACTIONS = ("deploy", "unchanged", "rollback")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench/deploy", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--hosts", default="1,2,4,8", help="how many machines, one after the other (default: 1,2,4,8)"
    )
    parser.add_argument("--ways", default="", help="only these, for example fastapi-metal,shell")
    parser.add_argument(
        "--repeat", type=int, default=3, help="timed deploys on one host, fewer on more (default: 3)"
    )
    parser.add_argument(
        "--stable", type=int, default=1, help="seconds of each way's health window (default: 1)"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=10,
        help="of measuring; later ones are left out and named (default: 10)",
    )
    return parser.parse_args()


def measure(
    lab: Lab, benches: list[Bench], counts: list[int], repeat: int, end: float
) -> tuple[list[Row], list[str]]:
    """Measure everything that the time allows, and note what it did not."""
    rows: list[Row] = []
    notes: list[str] = []
    for hosts in counts:
        lab.inventory(hosts)
        for bench in benches:
            if time.monotonic() > end:
                notes.append(f"not measured for want of time: {bench.way.name} on {hosts}")
                continue
            try:
                rows += one(bench, hosts, repeat)
            except (BenchError, subprocess.TimeoutExpired) as error:
                say(f"{bench.way.name} on {hosts}: {error}")
                notes.append(f"{bench.way.name} on {hosts} failed: {str(error).splitlines()[0]}")
    return rows, notes


def one(bench: Bench, hosts: int, repeat: int) -> list[Row]:
    """Measure one way on so many hosts. The first deploy of each is not counted: caches are cold."""
    bench.measure("deploy", hosts)
    rows = []
    for action in ACTIONS:
        runs = [
            bench.measure(action, hosts) for _ in range(max(1, repeat // hosts) if action == "deploy" else 1)
        ]
        row = Row(bench.way.name, action, hosts, runs)
        rows.append(row)
        answers = row.median("answers")
        figures = f"{row.median('seconds'):.1f} s" + (f", answers after {answers:.1f} s" if answers else "")
        say(f"{hosts} host{'s' if hosts > 1 else ''}, {bench.way.name}, {action}: {figures}")
    return rows


def work(lab: Lab, counts: list[int], chosen: argparse.Namespace) -> Path:
    """Boot, measure and write."""
    say(f"boot {lab.count} machines (lab {NAME})")
    lab.up()
    say("prepare them; the slowest part")
    lab.converge()
    everything = [ways.ours(lab), ways.shell(lab), ways.pyinfra(lab), ways.tasks(lab)]
    wanted = [way for way in everything if not chosen.ways or way.name in chosen.ways.split(",")]
    if any(way.name == "pyinfra" for way in wanted):
        ways.install_pyinfra(lab)
    benches = [Bench(lab, way) for way in wanted]
    for bench in benches:
        bench.begin()
    end = time.monotonic() + 60 * chosen.minutes
    rows, notes = measure(lab, benches, counts, chosen.repeat, end)
    notes.append(report.ROLE)
    return report.write(rows, {way.name: way.what for way in wanted}, chosen.stable, chosen.repeat, notes)


def main() -> int:
    """Run the bench; whatever happens, its lab is taken down."""
    chosen = arguments()
    counts = sorted({int(number) for number in chosen.hosts.split(",")})
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=cache) as place:
        lab = Lab(Path(place), max(counts), chosen.stable)
        return run("bench/deploy", lab, lambda: work(lab, counts, chosen))


if __name__ == "__main__":
    sys.exit(main())
