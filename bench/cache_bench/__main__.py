"""The command: boot, converge, measure in turns, write, take down."""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from deploy_bench.lab import ROOT, BenchError

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


def say(text: str) -> None:
    """Tell what happens, at once."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


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


def main() -> int:
    """Run the bench; whatever happens, its lab is taken down."""
    chosen = arguments()
    begun = time.monotonic()
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="bench-", dir=cache) as work:
        lab = Lab(Path(work))
        try:
            say(f"boot a machine (lab {NAME})")
            lab.up()
            say("prepare it; the slowest part")
            lab.converge()
            fill(lab)
            runs = rounds(lab, chosen)
            path = report.write(runs, chosen.seconds, chosen.connections, chosen.rounds)
            say(f"written: {path.relative_to(ROOT)} ({(time.monotonic() - begun) / 60:.1f} minutes)")
            print(path.read_text())
        except BenchError as error:
            print(f"bench/cache: {error}", file=sys.stderr)
            return 1
        finally:
            lab.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
