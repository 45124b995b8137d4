"""Which release each application has, how its last deploy ended, and which releases Prometheus is to ask."""

import contextlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .config import App, Config
from .text import Figures, write
from .units import live

FIGURES = (
    ("app_site_info", "1 for the site under which an application is in the access log."),
    ("app_release_info", "1 for the release that gets the traffic."),
    ("app_deploy_timestamp_seconds", "When the live release got the traffic."),
    ("app_deploy_last_timestamp_seconds", "When the last deploy ended here, well or not."),
    ("app_deploy_last_success", "1 if the last deploy ended well here, 0 if it failed."),
    ("app_deploy_lock_age_seconds", "How long the run that holds the lease has been at it; 0 without one."),
)

# Seconds that a release may take from its last figures to its end.
ENDING = 300


def read_json(path: Path) -> dict[str, Any]:
    """Return a file's object; nothing where it is torn or gone."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def history(path: Path) -> list[dict[str, Any]]:
    """Return the lines of an application's history that are whole."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                found.append(entry)
    return found


def seconds(when: object) -> float | None:
    """Return a time of the history in seconds; one without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(str(when).replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def version(record: dict[str, Any]) -> str:
    """Return what a release was made from; of a directory on the controller its name alone."""
    origin = str(record.get("origin") or "")
    return (Path(origin).name if origin.startswith("path ") else origin)[:120]


def deploys(config: Config, figures: Figures, app: App, now: float) -> None:
    """Add what is known of an application's site and deploys."""
    if app.site:
        figures.add("app_site_info", 1, app=app.name, site=app.site)
    home, release = config.home(app.name), live(config, app.name)
    if release:
        record = read_json(home / "releases" / release / "release.json")
        figures.add("app_release_info", 1, app=app.name, release=release, version=version(record))
    lines = history(home / "history.jsonl")
    switched = [seconds(line.get("when")) for line in lines if line.get("to") == release]
    if switched and switched[-1] is not None:
        figures.add("app_deploy_timestamp_seconds", switched[-1], app=app.name, release=release)
    ended = [line for line in lines if "result" in line]
    if ended and (when := seconds(ended[-1].get("when"))) is not None:
        figures.add("app_deploy_last_timestamp_seconds", when, app=app.name)
        figures.add("app_deploy_last_success", ended[-1]["result"] != "failed", app=app.name)
    lease = read_json(home / "lease.json")
    since = seconds(lease.get("since")) if lease else None
    figures.add("app_deploy_lock_age_seconds", max(0.0, now - since) if since else 0, app=app.name)


def lives(config: Config, app: App, release: str) -> bool:
    """Tell whether Prometheus is to ask a release: it listens, it should, or it has ended a moment ago."""
    place = config.home(app.name) / "releases" / release
    last = config.last(app.name, release)
    listens = (place / "app.sock").is_socket()
    # A socket beside it is one that is about to go, or the release runs again and its own figures count.
    patience = 0 if listens else config.keep
    age = time.time() - last.stat().st_mtime if last.is_file() else None
    # First it leaves the list, then the file goes: Prometheus reads the list a moment later.
    if age is not None and age > patience + ENDING:
        last.unlink(missing_ok=True)
    ended = age is not None and age <= config.keep
    return listens or ended or release == live(config, app.name)


def targets(config: Config) -> list[dict[str, Any]]:
    """Return the releases to ask, as Prometheus wants them from an address (`http_sd_configs`)."""
    found = []
    for app in config.apps:
        if app.host is None:
            continue
        places = config.home(app.name) / "releases"
        names = sorted(path.name for path in places.iterdir() if path.is_dir()) if places.is_dir() else []
        found += [
            {
                # The address is where this list came from; Prometheus fills it in.
                "targets": ["gateway"],
                "labels": {
                    "app": app.name,
                    "release": name,
                    "__metrics_path__": f"/app/{app.name}/{name}",
                },
            }
            for name in names
            if lives(config, app, name)
        ]
    return found


def collect(config: Config) -> Figures:
    """Return the figures of all applications, and write down which releases are to be asked."""
    figures = Figures()
    for name, about in FIGURES:
        figures.describe(name, about)
    for app in config.apps:
        deploys(config, figures, app, time.time())
    figures.describe("host_maintenance_until_seconds", "Until when the machine is being worked on.")
    if config.maintenance.is_file():
        figures.add("host_maintenance_until_seconds", round(config.maintenance.stat().st_mtime))
    write(config.targets, json.dumps(targets(config), indent=1) + "\n")
    return figures
