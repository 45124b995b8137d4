"""Write the dashboards where role grafana takes them from: bin/dashboards [--check]."""

import argparse
import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from . import app, capacity, deploys, fleet, host, nginx, postgresql, valkey

FOLDER = Path(__file__).resolve().parents[1] / "roles/grafana/files/dashboards"
# In the order in which they are read.
ALL = {
    "fleet": fleet,
    "app": app,
    "host": host,
    "nginx": nginx,
    "postgresql": postgresql,
    "valkey": valkey,
    "deploys": deploys,
    "capacity": capacity,
}


def text(dashboard: Dashboard) -> str:
    """Return a dashboard as Grafana reads it from a file."""
    return json.dumps(dashboard, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def texts() -> dict[str, str]:
    """Return every dashboard, by the name of its file."""
    return {f"{name}.json": text(module.build()) for name, module in ALL.items()}


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    """Write the files, or with `--check` tell which are not what the Python makes; return the exit code."""
    parser = argparse.ArgumentParser(prog="bin/dashboards", description="Write Grafana's dashboards as JSON.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is stale")
    check = parser.parse_args(arguments).check
    wanted = texts()
    there = {path.name: path.read_text() for path in folder.glob("*.json")}
    stale = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
    for name in stale:
        if check:
            print(f"{folder.name}/{name} is not what dashboards/ makes: run bin/dashboards", file=sys.stderr)
        elif name in wanted:
            (folder / name).write_text(wanted[name])
            print(f"{folder.name}/{name} written")
        else:
            (folder / name).unlink()
            print(f"{folder.name}/{name} removed")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
