"""The command: boot, converge, measure in turns, write, take down."""

import argparse
import sys
import tempfile
from pathlib import Path

from deploy_bench.lab import ROOT, BenchError
from deploy_bench.running import run, say

from . import report
from .lab import NAME, Lab
from .measure import WAYS, Measured, fill, measure, proved


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench/cache", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=8, help="of each run (default: 8)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way, in turns (default: 3)")
    parser.add_argument("--connections", type=int, default=16, help="that ask at once (default: 16)")
    return parser.parse_args()


def rounds(lab: Lab, chosen: argparse.Namespace) -> report.Runs:
    """Measure each way in turns, so that a busy minute is nobody's alone."""
    bodies = {proved(lab, way) for way in WAYS}
    if len(bodies) != 1:
        raise BenchError("the ways answer differently, so they cannot be compared")
    runs: dict[str, list[Measured]] = {way.name: [] for way in WAYS}
    for way in WAYS:
        # The first requests find pools and caches empty.
        measure(lab, way, 2, chosen.connections)
    for number in range(chosen.rounds):
        for way in WAYS:
            found = measure(lab, way, chosen.seconds, chosen.connections)
            runs[way.name].append(found)
            say(f"round {number + 1}, {way.name}: {found.requests:.0f} requests/s (load {found.load:.1f})")
    return runs


def work(lab: Lab, chosen: argparse.Namespace) -> Path:
    """Boot, measure and write."""
    say(f"boot a machine (lab {NAME})")
    lab.up()
    say("prepare it; the slowest part")
    lab.converge()
    fill(lab)
    return report.write(rounds(lab, chosen), chosen.seconds, chosen.connections, chosen.rounds)


def main() -> int:
    """Run the bench; whatever happens, its lab is taken down."""
    chosen = arguments()
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=cache) as place:
        lab = Lab(Path(place))
        return run("bench/cache", lab, lambda: work(lab, chosen))


if __name__ == "__main__":
    sys.exit(main())
