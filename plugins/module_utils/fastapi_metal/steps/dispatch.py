"""What the module does on a host for each step that the controller asks for."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ..database import login, schema, schema_tools
from ..database.turn import Guard, TurnError, turn
from ..engine.effects import Effect
from ..engine.engine import Engine
from ..packages.virtualenv import InstallError
from . import handover, jobs, lease
from .check import check
from .commands import CommandError, after_start, await_orphans, before_start
from .ensure import SharedFile, differing, ensure
from .gate import Watched, gate, still_well, watch
from .prune import prune
from .putback import put_back
from .removal import RemovalError, is_there, removal
from .rollback import as_recorded, look_back
from .room import HANDOVER
from .stage import StageError, stage
from .static import StaticError
from .switch import drain, start, switch

# Two workers that fail to import print some twenty lines each before the one that tells.
JOURNAL_LINES = 60
# Of a reason, the history keeps what stands before the journal's lines.
REASON_LINES = 3
# An engine that has outlived its connection may be installing packages.
LOCK_PATIENCE = 600.0
# The controller itself waits before a run begins: it can say so.
LOCK_PATIENCE_OF_CHECK = 2.0

# What a user can cause, or can do something about: a problem of the step, and no exception.
FAILURES = (StageError, StaticError, InstallError, CommandError, schema.SchemaError, TurnError, RemovalError)

Result = dict[str, Any]
Request = dict[str, Any]
Commands = Callable[[Engine, str, Guard | None], list[Effect]]


class BusyError(Exception):
    """Another run is at work on this host."""


@contextlib.contextmanager
def alone(engine: Engine, patience: float = LOCK_PATIENCE) -> Iterator[None]:
    """Hold the host's lock of this application; the kernel lets go of it when this process ends."""
    engine.layout.lock.parent.mkdir(parents=True, exist_ok=True)
    deadline = engine.machine.clock() + patience
    with engine.layout.lock.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if engine.machine.clock() > deadline:
                    raise BusyError(
                        f"a step of another run is at work on {engine.settings.name} on this machine, "
                        "perhaps one that has outlived its connection; wait for it, with a longer "
                        "`app_lease_wait` in group_vars/all/app.yml for example 1800, or see which process "
                        "it is: "
                        f"fuser -v {engine.layout.lock}"
                    ) from None
                engine.machine.sleep(0.5)
        yield


def done(changed: list[str]) -> Result:
    """Return the result of a step that succeeded."""
    return {"changed": bool(changed), "effects": changed, "problem": None, "journal": []}


def shared_files(request: Request) -> list[SharedFile]:
    """Return the files that the role has rendered."""
    return [
        SharedFile(Path(file["path"]), file["content"], int(file["mode"], 8)) for file in request["files"]
    ]


def step_ensure(engine: Engine, request: Request) -> Result:
    """Lay out what all releases share."""
    files = shared_files(request)
    before = {
        str(file.path): file.path.read_text() if file.path.is_file() else "" for file in differing(files)
    }
    result = done(engine.perform(ensure(engine, files, request["enable"])))
    return {**result, "before": before}


def step_stage(engine: Engine, request: Request) -> Result:
    """Lay out what all releases share, then put the release on disk."""
    shared = step_ensure(engine, request)
    archive = request.get("archive")
    wheels = request.get("wheels")
    effects = stage(
        engine, request["release"], Path(archive) if archive else None, Path(wheels) if wheels else None
    )
    staged = engine.perform(effects)
    return {**done([*shared["effects"], *staged]), "before": shared["before"]}


def step_schema(engine: Engine, request: Request) -> Result:
    """See whether the release can run on the schema, and what its migrations would shut. Reads only."""
    release_id, store = request["release"], engine.store
    # Whoever asks for the schema would only say that nobody let it in.
    if shut := login.refusal(engine, release_id, going_back=bool(request.get("recorded"))):
        return {**done([]), "problem": shut}
    facts = schema_tools.facts(engine, release_id)
    if facts is None:
        return done([])
    live = store.live()
    verdict = schema.judge(
        engine.settings.name,
        facts,
        store.all(),
        store.read(live) if live and live != release_id else None,
        serving=bool(request.get("serving", live)),
        allowed=engine.settings.allow_incompatible_schema,
    )
    if verdict.problem:
        return {**done([]), "problem": verdict.problem}
    found = {"release": release_id, "schema": verdict.schema}
    return {**done(note_schema(engine, found)), "found": found, "notices": verdict.notices}


def note_schema(engine: Engine, found: Result | None) -> list[str]:
    """Write down what was found of the schema, on whatever host."""
    if not found:
        return []
    note = partial(schema.record, engine, found["release"], found["schema"])
    return engine.perform([Effect("schema.record", note)])


def in_turn(engine: Engine, release_id: str, commands: Commands) -> Result:
    """Run commands in this application's turn at its database, once those of a run that died have ended."""
    await_orphans(engine)
    with turn(engine, release_id) as guard:
        return done(engine.perform(commands(engine, release_id, guard)))


def step_prepare(engine: Engine, request: Request) -> Result:
    """Run the commands before the start, in this application's turn at its database."""
    release_id = request["release"]
    return done([]) if engine.was_prepared(release_id) else in_turn(engine, release_id, before_start)


def step_after_start(engine: Engine, request: Request) -> Result:
    """Run the commands after the start, while what served before is still there."""
    release_id = request["release"]
    return done([]) if engine.was_completed(release_id) else in_turn(engine, release_id, after_start)


def watched(engine: Engine, release_id: str) -> Watched:
    """Return a release under observation, with as many workers as it was staged with."""
    record = engine.store.read(release_id)
    if record is None:
        raise StageError(f"release {release_id} is not whole on this machine; run again")
    return Watched(engine, release_id, record.workers)


def observed(engine: Engine, release_id: str, changed: list[str], problem: str | None) -> Result:
    """Return the result of a step that ends with an observation, and what the release itself said."""
    unit = engine.layout.service(release_id)
    journal = engine.machine.journal(unit, JOURNAL_LINES) if problem else []
    return {**done(changed), "problem": problem, "journal": journal}


def step_start(engine: Engine, request: Request) -> Result:
    """Start the release and watch it through the gate; in a handover, let it listen."""
    release_id = request["release"]
    subject = watched(engine, release_id)
    if shut := login.refusal(engine, release_id, going_back=bool(request.get("recorded"))):
        return {**done([]), "problem": shut}
    noted = note_schema(engine, request.get("schema"))
    if engine.store.live() == release_id and handover.underway(engine, release_id):
        return done(noted)
    if request.get("mode") == HANDOVER:
        return done([*noted, *engine.perform(handover.listen(engine, release_id))])
    begun = handover.finish(engine, release_id) if handover.underway(engine, release_id) else []
    changed = [*noted, *engine.perform([*begun, *start(engine, release_id)])]
    return observed(engine, release_id, changed, gate(subject))


def moved(engine: Engine, release_id: str) -> tuple[list[str], str | None]:
    """Move traffic, and return what changed and a reason to go back; in a handover the gate follows."""
    subject = watched(engine, release_id)
    if not handover.underway(engine, release_id):
        problem = still_well(subject) if engine.store.live() != release_id else None
        return ([], problem) if problem else (engine.perform(switch(engine, release_id)), None)
    return engine.perform(handover.hand_over(engine, release_id)), gate(subject)


def step_switch(engine: Engine, request: Request) -> Result:
    """Move traffic, watch the release with it, and move it back at once where that fails."""
    release_id = request["release"]
    changed, problem = moved(engine, release_id)
    if problem is None:
        problem = watch(watched(engine, release_id), float(engine.settings.entry["release_watch"]))
    if problem is None and handover.underway(engine, release_id):
        changed += engine.perform(handover.finish(engine, release_id))
    result = observed(engine, release_id, changed, problem)
    if problem:
        stuck = schema.no_way_back(engine, release_id, request["back_to"])
        tight = request.get("mode") == HANDOVER
        back = engine.perform(put_back(engine, release_id, request["back_to"], problem, tight))
        result.update(effects=[*changed, *back], changed=True)
        if stuck:
            result["problem"] = f"{problem}; {stuck}"
    return result


def step_jobs(engine: Engine, request: Request) -> Result:
    """End the processes and timers of the old release, start those of the new one, and watch them."""
    release_id = request["release"]
    changed = engine.perform(jobs.turn_over(engine, release_id))
    problem, journal = jobs.watch(engine, release_id) or (None, [])
    return {**done(changed), "problem": problem, "journal": journal}


def step_drain(engine: Engine, request: Request) -> Result:
    """End the old release, take away what nobody keeps, and note how the run ended."""
    changed = engine.perform(drain(engine, request["release"])) if request.get("deploy", True) else []
    changed += engine.perform(prune(engine))
    note(engine, request, "rolled back" if request.get("recorded") else "released")
    return done(changed)


def step_put_back(engine: Engine, request: Request) -> Result:
    """Undo start and switch where they have begun, and note how the run ended."""
    changed = []
    live = engine.store.live() == request["release"]
    stuck = schema.no_way_back(engine, request["release"], request["back_to"]) if live else None
    if request.get("undo"):
        tight = request.get("mode") == HANDOVER
        undo = put_back(engine, request["release"], request["back_to"], request["reason"], tight)
        changed = engine.perform(undo)
    note(engine, request, "failed")
    return {**done(changed), "problem": stuck}


def step_remove(engine: Engine, request: Request) -> Result:
    """Take the application away from this machine."""
    return done(engine.perform(removal(engine, bool(request.get("remove_data")))))


def note(engine: Engine, request: Request, result: str) -> None:
    """Add the history's line of this run; a run that changed nothing on this host has none."""
    claim = lease.claim_of(request)
    if claim is None or not engine.layout.home.is_dir() or (result != "failed" and not request.get("deploy")):
        return
    reason = request["reason"].splitlines() if result == "failed" else []
    engine.store.note_deploy(
        claim.run,
        result=result,
        release=request["release"],
        before=request["back_to"],
        step=request.get("after", ""),
        reason=" ".join(reason[:REASON_LINES]),
        when=engine.machine.now(),
        by=claim.owner,
    )


STEPS: dict[str, Callable[[Engine, Request], Result]] = {
    "ensure": step_ensure,
    "stage": step_stage,
    "schema": step_schema,
    "prepare": step_prepare,
    "start": step_start,
    "switch": step_switch,
    "after_start": step_after_start,
    "jobs": step_jobs,
    "drain": step_drain,
    "put_back": step_put_back,
    "remove": step_remove,
}


def rehearse(engine: Engine, step: str, request: Request) -> Result:
    """Return what a step would do, without doing it; the controller rehearses all but these."""
    assert step in {"ensure", "stage", "remove"}
    if step == "remove":
        return done(["remove"] if is_there(engine, bool(request.get("remove_data"))) else [])
    files = differing(shared_files(request))
    before = {str(file.path): file.path.read_text() if file.path.is_file() else "" for file in files}
    missing = (
        not engine.layout.key.exists()
        or not engine.layout.releases.is_dir()
        or engine.machine.home(engine.settings.name) is None
    )
    changed = ["ensure"] if files or missing else []
    if step == "stage" and request.get("deploy"):
        changed.append("stage")
    return {**done(changed), "before": before}


# These may take a host's lease before its first change. The first host's is taken with the check alone.
TAKES_LEASE = {"ensure", "stage"}
# A rollback stages nothing, and starts nothing where the release is live already.
TAKES_LEASE_BACK = {"start", "drain"}
# These may run on a machine that knows nothing of the application, and leave it so.
LEAVES_NO_TRACE = {"put_back", "remove"}
# With these a run ends on a host, and the lease with it.
ENDS_RUN = {"ensure", "drain", "put_back", "remove"}


def refuse_rival(engine: Engine, claim: lease.Claim) -> lease.Lease | None:
    """Raise HeldError while another run lives that holds the lease; return a lease that is over."""
    other = lease.foreign(engine, claim)
    if other and not lease.over(other, claim, engine.machine.wall()):
        raise lease.HeldError(lease.refusal(engine.settings.name, other), other)
    return other


def look(engine: Engine, request: Request, check_mode: bool) -> Result:
    """Return what would be released, and take the lease where that is asked for or its holder is gone."""
    claim = lease.claim_of(request)
    see = look_back if request.get("rollback") else partial(check, check_mode=check_mode)
    if claim is None:
        return {**done([]), **see(engine)}
    other = lease.foreign(engine, claim)
    if check_mode:
        # Nobody is in the way of one who only looks.
        notices = [lease.holder(engine.settings.name, other)] if other else []
        found = see(engine)
        return {**done([]), **found, "notices": [*notices, *found.get("notices", [])]}
    # Before the lock too: the other run's step may hold it, and then this one would not know whose it is.
    refuse_rival(engine, claim)
    with alone(engine, LOCK_PATIENCE_OF_CHECK):
        other = refuse_rival(engine, claim)
        found = see(engine)
        notice = None
        if found["problem"] is None and (other or request.get("first")):
            notice = lease.hold(engine, claim, "check", take=True)
        return {**done([]), **found, "notices": [notice] if notice else []}


def act(engine: Engine, step: str, request: Request) -> Result:
    """Run a step that may change something, under the lock and the lease."""
    claim = lease.claim_of(request)
    taking = TAKES_LEASE_BACK if request.get("recorded") else TAKES_LEASE
    if claim and step == "put_back" and not request.get("undo"):
        # Whoever was refused does not wait for the other run's step, which may take long.
        refuse_rival(engine, claim)
    with alone(engine):
        # A run that ends before it has begun here leaves no trace on a machine without the application.
        if claim and (step not in LEAVES_NO_TRACE or request.get("undo") or lease.read(engine)):
            take = step == "remove" or (step in taking and not request.get("first"))
            lease.hold(engine, claim, step, take)
        try:
            result = STEPS[step](engine, request)
        except Exception:
            if claim and step in ENDS_RUN:
                lease.let_go(engine, claim)
            raise
        if claim and step in ENDS_RUN:
            lease.let_go(engine, claim)
        return {**result, "live": engine.store.live()}


def run(engine: Engine, step: str, request: Request, check_mode: bool) -> Result:
    """Run one step and return its result; what a user can cause is a problem in it and no exception."""
    if request.get("recorded"):
        engine = as_recorded(engine, request["release"])
    try:
        if step == "check":
            return look(engine, request, check_mode)
        return rehearse(engine, step, request) if check_mode else act(engine, step, request)
    except lease.HeldError as error:
        held = asdict(error.held) if error.held else {}
        # Who was never let in has nothing to undo.
        problem = None if step == "put_back" and not request.get("undo") else str(error)
        return {**done([]), "problem": problem, "held": held, "live": engine.store.live()}
    except BusyError as error:
        return {**done([]), "problem": str(error), "held": {}, "live": engine.store.live()}
    except FAILURES as error:
        return {**done([]), "problem": str(error), "live": engine.store.live()}
