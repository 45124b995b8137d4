"""What the controller decides after each step, over all hosts of an application at once.

Every decision depends on nothing but the hosts' results.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..steps.room import SIDE_BY_SIDE
from .batches import batch_of

Result = Mapping[str, Any]
Results = Mapping[str, Result]

# After these, the new release serves and stays: what goes wrong is told, and nothing is put back.
AFTER_THE_SWITCH = {"drain"}


@dataclass(frozen=True)
class Plan:
    """What one host does in this run."""

    app: str
    release: str
    back_to: str | None
    deploy: bool
    # Whether any host of the application has something to do.
    work: bool
    prepare_on: str | None
    after_start_on: str | None
    jobs: bool
    schema_on: str | None
    # Whether a release serves anywhere.
    serving: bool
    send: bool
    # What packages are for on that host, and whether a release there has the same ones.
    packages: Mapping[str, Any]
    prune: bool
    # In which turn it switches, beginning with 0.
    batch: int | None
    report: list[str]
    # Go by what is recorded with the release, and not by today's inventory.
    recorded: bool = False
    # side_by_side, or handover where two releases do not fit into memory.
    mode: str = SIDE_BY_SIDE


def problem_of(result: Result) -> str | None:
    """Return why a host's step did not succeed, or nothing."""
    if result.get("unreachable"):
        return f"unreachable: {result.get('msg', 'no answer over SSH')}"
    if result.get("failed"):
        return str(result.get("msg") or "the step failed without a reason")
    problem = result.get("problem")
    return str(problem) if problem else None


def problems(results: Results) -> dict[str, str]:
    """Return the reason of each host whose step did not succeed."""
    return {host: reason for host, result in results.items() if (reason := problem_of(result))}


def release_for(results: Results) -> str:
    """Return the release that all hosts shall run: one that most have, else a new one."""
    counted: Counter[str] = Counter(name for result in results.values() for name in result["matching"])
    if counted:
        return max(counted, key=lambda name: (counted[name], name))
    return str(next(iter(results.values()))["proposed"])


def plans(
    app: str,
    results: Results,
    has_commands: bool,
    has_after: bool = False,
    batch: str = "100%",
    has_schema: bool = False,
) -> dict[str, Plan]:
    """Return what each host does; every host's check must have succeeded."""
    release = release_for(results)
    unsettled = [name for name, result in results.items() if result["settled"] != release]
    prepared = not has_commands or any(release in result["prepared"] for result in results.values())
    completed = not has_after or any(release in result["completed"] for result in results.values())
    first = next(iter(results))
    if not completed and first not in unsettled:
        # All is live, but a run that died has left the commands after the start to this one.
        unsettled.insert(0, first)
    work = bool(unsettled) or any(result["prunable"] for result in results.values())
    found = {}
    for host, mine in results.items():
        deploy = host in unsettled
        found[host] = Plan(
            app=app,
            release=release,
            back_to=mine["live"] if mine["live"] != release else None,
            deploy=deploy,
            work=work,
            prepare_on=first if unsettled and not prepared else None,
            after_start_on=first if not completed else None,
            schema_on=first if unsettled and has_schema and results[first]["live"] != release else None,
            serving=any(result["live"] for result in results.values()),
            jobs=any(result["jobs"] for result in results.values()),
            send=release not in mine["matching"],
            packages=mine["packages"],
            prune=work,
            batch=batch_of(host, unsettled, batch) if deploy else None,
            report=report(app, host, release, mine, deploy),
            mode=mine.get("mode", SIDE_BY_SIDE),
        )
    return found


def plan(app: str, host: str, results: Results, has_commands: bool, has_after: bool = False) -> Plan:
    """Return what one host does; every host's check must have succeeded."""
    return plans(app, results, has_commands, has_after)[host]


def told(host: str, mine: Result, deploy: bool) -> list[str]:
    """Return what a host has to say beside its plan."""
    lines = [f"{host}: {notice}" for notice in mine.get("notices", [])]
    if deploy and mine.get("mode", SIDE_BY_SIDE) != SIDE_BY_SIDE:
        lines.append(f"{host}: {mine['mode']}, {mine['mode_reason']}")
    return lines


def report(app: str, host: str, release: str, mine: Result, deploy: bool) -> list[str]:
    """Return what a user wants to know before anything happens."""
    workers = f"{mine['workers']} workers ({mine['workers_reason']})"
    notices = told(host, mine, deploy)
    if not deploy:
        return [f"{app} on {host}: unchanged, {release} is live with {workers}", *notices]
    if release not in mine["matching"]:
        what = f"new release {release}, because of: {', '.join(mine['why'])}"
    elif mine["live"] == release:
        what = f"{release} is live, but something of it is unfinished or has stopped: it is put in order"
    else:
        what = f"back to release {release}, which is still on this machine"
    return [f"{app} on {host}: {what}", f"live until now: {mine['live'] or 'nothing'}", workers, *notices]


def headline(app: str, step: str, verb: str) -> str:
    """Return what a failure of a step means as a whole."""
    if step in AFTER_THE_SWITCH:
        return f"{app} was {verb} and serves, but not all that follows could be done: {step} failed."
    return f"{app} was not {verb}: {step} failed."


def reason_text(app: str, step: str, results: Results, verb: str = "released") -> str:
    """Return why a run ends: each host's reason, and what the release itself said."""
    lines = [headline(app, step, verb)]
    for host, reason in problems(results).items():
        lines.append(f"{host}: {reason}")
        journal = results[host].get("journal") or []
        if journal:
            lines.append(f"the last lines of its journal on {host}:")
            lines += [f"  {line}" for line in journal]
    return "\n".join(lines)


def end_text(
    app: str, because: str, put_back: Results, planned: Mapping[str, Plan], rows: Sequence[str]
) -> str:
    """Return the last words of a run that failed: why, what serves, and where to look."""
    lines = [because]
    first = next((plan for plan in planned.values() if plan.deploy), None)
    if first:
        lines += [
            f"The new release stays in /srv/{app}/releases/{first.release} to be looked at;",
            f"more of its journal: journalctl -u {app}@{first.release}",
        ]
    lines += [f"Putting back failed on {host}: {reason}" for host, reason in problems(put_back).items()]
    return "\n".join([*lines, "", *rows])


def state_of(before: str | None, now: Any, planned: Plan | None, steps: Mapping[str, Result]) -> str:
    """Return how a run ended on one host, in a few words."""
    last = [result for result in steps.values() if result]
    if last and last[-1].get("unreachable"):
        return "unreachable, as far as known" if planned and planned.deploy else "unreachable"
    failed = any(problem_of(result) for result in last)
    if "remove" in steps and not failed:
        return "removed" if steps["remove"].get("changed") else "nothing to remove"
    if planned is None:
        return "failed" if failed else "not touched"
    if not planned.deploy:
        return "failed" if failed else "unchanged"
    if now == planned.release:
        return "released, but not in order" if failed else "released"
    if "switch" in steps:
        # In check mode the steps only say what they would do.
        return "would be released" if steps["switch"].get("rehearsed") else "put back"
    return "failed" if failed else "not released"


def table(app: str, planned: Mapping[str, Plan], hosts: Mapping[str, Mapping[str, Result]]) -> list[str]:
    """Return a line per host: the release before, the release now, and how it came.

    `hosts` holds each host's results by step, in the order of the steps.
    """
    rows = [("host", "release before", "release now", "state")]
    for host, steps in hosts.items():
        checked = steps.get("check", {})
        known = "live" in checked
        before = checked.get("live")
        seen = [result["live"] for result in steps.values() if "live" in result]
        now = seen[-1] if seen else None
        state = state_of(before, now, planned.get(host), steps)
        rows.append((host, shown(before, known), shown(now, bool(seen)), state))
    return [app, *aligned(rows)]


def shown(release: Any, known: bool) -> str:
    """Return a release as the table names it."""
    return str(release or "nothing") if known else "unknown"


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return rows with their columns one below the other."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
