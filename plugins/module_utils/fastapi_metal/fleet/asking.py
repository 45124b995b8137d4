"""What the controller adds to each step's request on behalf of the run, and how it waits for another run."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ..engine import drill
from ..steps.lease import Claim
from . import runs

Result = dict[str, Any]
Request = dict[str, Any]

# A failure after these finds nothing that has begun to run.
NOTHING_TO_UNDO = {"check", "stage", "prepare", "schema"}

# Installing packages has no limit of its own; a run that is silent for longer, its own limits added, is dead.
SILENCE = 900
POLL = 2.0


def silence(entry: Mapping[str, Any], hosts: int) -> float:
    """Return how many seconds one host may hear nothing of a run that is well."""
    # One more, for the turn at the database.
    commands = (len(entry["before_start"]) + len(entry["after_start"]) + 1) * entry["before_start_timeout"]
    health = entry["health"]
    turn = health["timeout"] + health["stable"] + entry["release_watch"]
    return float(SILENCE + commands + turn * (hosts + 1) + entry["drain_timeout"])


def members(group: str, task_vars: Mapping[str, Any]) -> list[str]:
    """Return the application's hosts in the inventory, also those that `--limit` leaves out."""
    return list(task_vars["groups"].get(group, []))


def left_out(app: Mapping[str, Any], task_vars: Mapping[str, Any]) -> str | None:
    """Return the sentence about hosts of the application that `--limit` leaves out."""
    inside = task_vars["ansible_play_hosts_all"]
    missing = [host for host in members(str(app["hosts"]), task_vars) if host not in inside]
    if not missing:
        return None
    return (
        f"--limit leaves out {', '.join(missing)}, and {app['name']} is released on all its hosts or on "
        "none; run without --limit, or look at a part of them with --check"
    )


def on_behalf(
    app: Mapping[str, Any],
    entry: Mapping[str, Any],
    args: Mapping[str, Any],
    task_vars: Mapping[str, Any],
) -> Request:
    """Return what a step must know of its run; raise DrillError for a drill that cannot be."""
    run, host = runs.this_run(), str(task_vars.get("inventory_hostname"))
    hosts = members(str(app["hosts"]), task_vars) or [host]
    plan = args.get("plan") or {}
    after = str(args.get("after", ""))
    claim = Claim(
        run=run.id,
        owner=run.owner,
        place=run.place,
        pid=run.pid,
        seconds=silence(entry, len(hosts)),
        force=bool(app["break_lease"]),
    )
    return {
        "lease": asdict(claim),
        # Whoever has the first host's lease has the application's.
        "first": host == hosts[0],
        "remove_data": bool(args.get("remove_data")),
        "rollback": bool(args.get("rollback")),
        "recorded": bool(plan.get("recorded")),
        "mode": str(plan.get("mode", "")),
        "deploy": bool(plan.get("deploy")),
        "serving": bool(plan.get("serving")),
        "allow_incompatible_schema": bool(app["allow_incompatible_schema"]),
        "undo": bool(plan.get("deploy")) and after not in NOTHING_TO_UNDO,
        "after": after,
        "drill": drilled(str(app["drill"]), host),
    }


def drilled(text: str, host: str) -> str:
    """Return at which effect the engine kills itself on a host; empty for none."""
    asked = drill.read(text)
    if asked is None or asked.host not in {None, host}:
        return ""
    return f"{asked.moment} {asked.effect}"


def patiently(
    ask: Callable[[], Result],
    request: Request,
    wait: float,
    say: Callable[[str], None],
    is_over: Callable[[Result], bool] = runs.is_over,
) -> Result:
    """Ask for the check, and ask again while another run is in the way and `wait` seconds are not over."""
    deadline, waited = time.monotonic() + wait, False
    while True:
        result = ask()
        held = result.get("held")
        if held is None:
            return {**result, "waited": True} if waited else result
        if held and held["run"] != request["lease"]["dead"] and is_over(held):
            request["lease"]["dead"] = held["run"]
            continue
        if time.monotonic() >= deadline:
            return result
        if not waited:
            say(f"waiting for up to {wait:.0f} s: {result['problem']}")
        waited = True
        time.sleep(POLL)
