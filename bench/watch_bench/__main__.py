"""The command: boot, converge, measure at rest, simulate, measure, write, take down."""

import argparse
import sys
import time
from pathlib import Path

from deploy_bench.running import run, say

from . import report
from .lab import Lab
from .measure import fleet, rest


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench/watch", description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=100, help="that are simulated (default: 100)")
    parser.add_argument(
        "--minutes", type=float, default=12, help="with them before it measures (default: 12)"
    )
    parser.add_argument(
        "--rest", type=int, default=300, help="seconds at rest; 0 leaves it out (default: 300)"
    )
    parser.add_argument("--repeat", type=int, default=3, help="times that each query is asked (default: 3)")
    parser.add_argument("--lab", help="a lab of one machine that is there already; it stays up")
    return parser.parse_args()


def work(lab: Lab, chosen: argparse.Namespace) -> Path:
    """Boot, measure and write."""
    if lab.ours:
        say(f"boot a machine and prepare it (lab {lab.name})")
        lab.up()
    alone = many = None
    if chosen.rest:
        say(f"rest for {chosen.rest} s")
        alone = rest(lab, chosen.rest)
    if chosen.hosts:
        say(f"simulate {chosen.hosts} hosts for {chosen.minutes:.0f} minutes")
        lab.generate()
        lab.watch(chosen.hosts)
        time.sleep(chosen.minutes * 60)
        say("ask every question of every dashboard")
        many = fleet(lab, chosen.hosts, chosen.minutes, chosen.repeat)
    return report.write(alone, many)


def main() -> int:
    """Run the bench; whatever happens, its own lab is taken down."""
    chosen = arguments()
    lab = Lab(chosen.lab or "bench-watch", ours=chosen.lab is None)
    return run("bench/watch", lab, lambda: work(lab, chosen))


if __name__ == "__main__":
    sys.exit(main())
