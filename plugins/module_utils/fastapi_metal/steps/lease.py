"""Who releases an application, from where and since when: one run at a time, over all its machines.

The lock of a host is held while a step runs there, and no longer. The lease lasts from before the first
change to the end of a run, also between two steps, and names whoever holds it.
"""

from dataclasses import asdict, dataclass
from typing import Any

from ..engine.engine import Engine
from ..machine.files import read_json, remove, write_json


@dataclass(frozen=True)
class Claim:
    """The run that asks. `seconds` is how long it may be silent before it counts as dead."""

    run: str
    owner: str
    place: str
    pid: int
    seconds: float
    # A run of which the controller knows that it is over.
    dead: str = ""
    # Take the lease whoever holds it.
    force: bool = False


@dataclass(frozen=True)
class Lease:
    """What stands in lease.json."""

    run: str
    owner: str
    place: str
    pid: int
    since: str
    renewed: str
    until: float
    step: str


class HeldError(Exception):
    """Another run holds the lease, or has taken it from this one."""

    def __init__(self, message: str, held: Lease | None = None) -> None:
        super().__init__(message)
        self.held = held


def claim_of(request: dict[str, Any]) -> Claim | None:
    """Return the run that asks for a step."""
    return Claim(**request["lease"]) if request.get("lease") else None


def read(engine: Engine) -> Lease | None:
    """Return the lease; one that is torn or strange is none."""
    found = read_json(engine.layout.lease)
    try:
        return Lease(**found) if found else None
    except TypeError:
        return None


def spoken(when: str) -> str:
    """Return a time of day as people read it."""
    day, _, clock = when.partition("T")
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {clock[:2]}:{clock[2:4]}:{clock[4:6]} UTC"


def holder(app: str, lease: Lease) -> str:
    """Return who holds a lease, from where and since when."""
    return (
        f"{lease.owner} (process {lease.pid} there) releases {app} since {spoken(lease.since)}; its last "
        f"sign of life was the step {lease.step} at {spoken(lease.renewed)}"
    )


def refusal(app: str, lease: Lease) -> str:
    """Return the sentence for whoever is not let in."""
    return (
        f"{holder(app, lease)}. Wait for it, with a longer `app_lease_wait` in group_vars/all/app.yml for "
        "example 1800; or, if that run must end, take its place: -e app_break_lease=true"
    )


def over(lease: Lease, claim: Claim, now: float) -> str | None:
    """Return why another run's lease counts no more, or nothing."""
    if lease.run == claim.dead:
        return "its process is gone"
    if lease.until < now:
        return "it gave no sign of life in the time that it had set itself"
    return "app_break_lease was set" if claim.force else None


def foreign(engine: Engine, claim: Claim) -> Lease | None:
    """Return the lease if another run holds it."""
    found = read(engine)
    return found if found and found.run != claim.run else None


def hold(engine: Engine, claim: Claim, step: str, take: bool) -> str | None:
    """Take the lease or renew it, and return what a human should know about its former holder.

    Only a step that may `take` it gets one that it does not hold: what another run has taken away in
    between is not taken back.
    """
    machine, app = engine.machine, engine.settings.name
    found, now, notice = read(engine), machine.wall(), None
    if found and found.run != claim.run:
        why = over(found, claim, now)
        if why is None:
            raise HeldError(refusal(app, found), found)
        notice = f"the lease of a run that is over was taken: {holder(app, found)}; {why}"
    if not take and (found is None or notice):
        raise HeldError(
            f"another run has taken the lease of {app} from this one, which ends here; see who it was with: "
            f"cat {engine.layout.lease}; tail {engine.layout.history}"
        )
    if notice:
        machine.log(f"{app}: {notice}")
    since = found.since if found and not notice else machine.now()
    lease = Lease(
        claim.run, claim.owner, claim.place, claim.pid, since, machine.now(), now + claim.seconds, step
    )
    if not engine.layout.home.is_dir():
        engine.layout.home.mkdir(parents=True)
        # Nginx must pass through it, whatever the umask is.
        engine.layout.home.chmod(0o711)
    write_json(engine.layout.lease, asdict(lease), 0o644)
    return notice


def let_go(engine: Engine, claim: Claim) -> None:
    """Give the lease back, if it is this run's."""
    found = read(engine)
    if found is None or found.run == claim.run:
        remove(engine.layout.lease)
