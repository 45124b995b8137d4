"""Command line: `python3 -m machine_figures collect [--all]`, or `… last APP RELEASE`."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import last, machine, releases, units
from .config import Config, load
from .text import Figures, write

CONFIG = Path("/etc/machine-figures.json")
# What is collected, and after how many seconds again.
COLLECTORS: tuple[tuple[str, Callable[[Config], Figures], float], ...] = (
    ("units", units.collect, 0),
    ("releases", releases.collect, 0),
    ("certificates", machine.certificates, 300),
    ("packages", machine.packages, 3600),
)


def collect(config: Config, every: bool) -> int:
    """Write the figures that are due; one collector that fails leaves the others alone."""
    failed = 0
    for name, collector, age in COLLECTORS:
        path = config.textfiles / f"machine-{name}.prom"
        if not every and path.is_file() and time.time() - path.stat().st_mtime < age:
            continue
        try:
            figures = collector(config)
            figures.describe("host_facts_timestamp_seconds", "When these figures were collected.")
            figures.add("host_facts_timestamp_seconds", round(time.time()), kind=name)
            write(path, figures.text())
        except Exception as error:
            # Its file keeps its time, and the alert FactsOld tells of it.
            print(f"{name}: {error}", file=sys.stderr)
            failed += 1
    return failed


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="machine_figures")
    commands = parser.add_subparsers(dest="command", required=True)
    collecting = commands.add_parser("collect")
    collecting.add_argument("--all", action="store_true", help="also what is not due yet")
    ending = commands.add_parser("last")
    ending.add_argument("app")
    ending.add_argument("release")
    arguments = parser.parse_args()
    config = load(CONFIG)
    if arguments.command == "last":
        last.keep(config, arguments.app, arguments.release)
        return 0
    return 1 if collect(config, arguments.all) else 0


if __name__ == "__main__":
    sys.exit(main())
