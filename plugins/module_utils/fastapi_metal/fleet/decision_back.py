"""To which release all hosts go back: a named one, or the one before. It must be whole on every host."""

from .batches import batch_of
from .decision import Plan, Result, Results, told

PREVIOUS = "previous"


class NoWayBackError(Exception):
    """There is nothing to go back to; the message says what there is instead."""


def choices(results: Results) -> list[str]:
    """Return a line for each release on each host."""
    lines = []
    for host, result in results.items():
        lines.append(f"releases on {host}:")
        for found in result["releases"]:
            marks = f" ({', '.join(found['marks'])})" if found["marks"] else ""
            lines.append(f"  {found['id']}{marks}, from {found['origin']}, by {found['by']}")
    return lines


def refusal(app: str, why: str, results: Results) -> NoWayBackError:
    """Return the error with its way out."""
    text = f"{why}; name one that is on every host: playbooks/rollback.yml -e app={app} -e release=<id>"
    return NoWayBackError("\n".join([text, *choices(results)]))


def candidates(results: Results) -> set[str]:
    """Return the releases that `previous` can mean.

    Where a run has died between two hosts they differ: the one before the deploy is live on some, and the
    previous one on the others.
    """
    live = {result["live"] for result in results.values()}
    sets = [
        {name for name in (result["previous"], result["live"] if len(live) > 1 else None) if name}
        for result in results.values()
    ]
    return set.intersection(*sets) if sets else set()


def target(app: str, results: Results, wanted: str) -> str:
    """Return the release that all hosts go back to; raise NoWayBackError if there is none."""
    if wanted == PREVIOUS:
        found = candidates(results)
        if len(found) != 1:
            raise refusal(app, f"the hosts of {app} do not have one previous release in common", results)
        wanted = found.pop()
    missing = [
        host
        for host, result in results.items()
        if wanted not in {release["id"] for release in result["releases"] if release["recorded"]}
    ]
    if missing:
        raise refusal(
            app,
            f"release {wanted} of {app} is not whole, with its settings, on {', '.join(missing)}",
            results,
        )
    return wanted


def plans_back(app: str, results: Results, wanted: str) -> dict[str, Plan]:
    """Return what each host does to go back."""
    release = target(app, results, wanted)
    unsettled = [host for host, result in results.items() if result["settled"] != release]
    first = next(iter(results.values()))["releases"]
    batch = next(found["batch"] for found in first if found["id"] == release)
    return {
        host: Plan(
            app=app,
            release=release,
            back_to=mine["live"] if mine["live"] != release else None,
            deploy=host in unsettled,
            work=True,
            prepare_on=None,
            after_start_on=None,
            jobs=True,
            schema_on=next(iter(results)) if mine["live"] != release and unsettled else None,
            serving=True,
            send=False,
            packages={},
            prune=True,
            batch=batch_of(host, unsettled, batch) if host in unsettled else None,
            report=report(app, host, release, mine, host in unsettled),
            mode=mine["mode"],
            recorded=True,
        )
        for host, mine in results.items()
    }


def report(app: str, host: str, release: str, mine: Result, deploy: bool) -> list[str]:
    """Return what a user wants to know before anything happens."""
    notices = told(host, mine, deploy)
    if not deploy:
        return [f"{app} on {host}: unchanged, {release} is live", *notices]
    what = f"back to {release}, with the settings of then; live until now: {mine['live'] or 'nothing'}"
    if mine["live"] == release:
        what = f"{release} is live, but something of it has stopped: it is put in order"
    return [f"{app} on {host}: {what}", *notices]
