"""What the controller decides after each step, over all hosts of an application at once.

Every host's task comes to the same decision by itself: it depends on nothing but the hosts' results.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Result = Mapping[str, Any]
Results = Mapping[str, Result]


@dataclass(frozen=True)
class Plan:
    """What one host does in this run."""

    app: str
    release: str
    back_to: str | None
    deploy: bool
    prepare_on: str | None
    after_start_on: str | None
    send: bool
    prune: bool
    report: list[str]


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


def plan(app: str, host: str, results: Results, has_commands: bool, has_after: bool = False) -> Plan:
    """Return what one host does; every host's check must have succeeded."""
    release = release_for(results)
    mine = results[host]
    unsettled = [name for name, result in results.items() if result["settled"] != release]
    prepared = not has_commands or any(release in result["prepared"] for result in results.values())
    completed = not has_after or any(release in result["completed"] for result in results.values())
    first = next(iter(results))
    if not completed and first not in unsettled:
        # All is live, but a run that died has left the commands after the start to this one.
        unsettled.append(first)
    return Plan(
        app=app,
        release=release,
        back_to=mine["live"] if mine["live"] != release else None,
        deploy=host in unsettled,
        prepare_on=first if unsettled and not prepared else None,
        after_start_on=first if not completed else None,
        send=release not in mine["matching"],
        prune=host in unsettled or bool(mine["prunable"]),
        report=report(app, host, release, mine, host in unsettled),
    )


def report(app: str, host: str, release: str, mine: Result, deploy: bool) -> list[str]:
    """Return what a user wants to know before anything happens."""
    workers = f"{mine['workers']} workers ({mine['workers_reason']})"
    if not deploy:
        return [f"{app} on {host}: unchanged, {release} is live with {workers}"]
    if release not in mine["matching"]:
        what = f"new release {release}, because of: {', '.join(mine['why'])}"
    elif mine["live"] == release:
        what = f"{release} is live, but something of it is unfinished or has stopped: it is put in order"
    else:
        what = f"back to release {release}, which is still on this machine"
    return [f"{app} on {host}: {what}", f"live until now: {mine['live'] or 'nothing'}", workers]


def reason_text(app: str, step: str, results: Results) -> str:
    """Return why a run ends: each host's reason, and what the release itself said."""
    lines = [f"{app} was not released: {step} failed."]
    for host, reason in problems(results).items():
        lines.append(f"{host}: {reason}")
        journal = results[host].get("journal") or []
        if journal:
            lines.append(f"the last lines of its journal on {host}:")
            lines += [f"  {line}" for line in journal]
    return "\n".join(lines)
