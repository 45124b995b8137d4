"""Command line on the controller: `python -m grafana_standin build OUTDIR`."""

import argparse
import sys
from pathlib import Path

from .build import BuildError, build


def main() -> int:
    """Build the repository and print the paths that a lab hands to its machines."""
    parser = argparse.ArgumentParser(prog="python -m grafana_standin", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build_command = commands.add_parser("build", help="make the package and a signed apt repository")
    build_command.add_argument("outdir", type=Path, help="directory to serve over HTTP")
    arguments = parser.parse_args()
    try:
        built = build(arguments.outdir)
    except BuildError as error:
        print(f"grafana_standin: {error}", file=sys.stderr)
        return 1
    print(f"{'built' if built else 'kept'} {arguments.outdir}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
