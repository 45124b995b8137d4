"""What the module does on a host for each step that the controller asks for."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .check import check
from .commands import CommandError, after_start, await_orphans, before_start
from .engine import Engine
from .ensure import SharedFile, differing, ensure
from .gate import Watched, gate, watch
from .prune import prune
from .putback import put_back
from .stage import StageError, stage
from .switch import drain, start, switch
from .turn import TurnError, turn
from .virtualenv import InstallError

# Two workers that fail to import print some twenty lines each before the one that tells.
JOURNAL_LINES = 60
LOCK_PATIENCE = 60.0

Result = dict[str, Any]
Request = dict[str, Any]


class BusyError(Exception):
    """Another run is at work on this host."""


@contextlib.contextmanager
def alone(engine: Engine) -> Iterator[None]:
    """Hold the host's lock of this application; the kernel lets go of it when this process ends."""
    engine.layout.lock.parent.mkdir(parents=True, exist_ok=True)
    deadline = engine.machine.clock() + LOCK_PATIENCE
    with engine.layout.lock.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if engine.machine.clock() > deadline:
                    raise BusyError(
                        f"another run is at work on {engine.settings.name} on this machine for more than "
                        f"{LOCK_PATIENCE:.0f} s; wait for it, or see who it is: fuser -v {engine.layout.lock}"
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
    """Put the release on disk."""
    archive = request.get("archive")
    effects = stage(engine, request["release"], Path(archive) if archive else None)
    return done(engine.perform(effects))


def step_prepare(engine: Engine, request: Request) -> Result:
    """Run the commands before the start, in this application's turn at its database."""
    release_id = request["release"]
    if engine.was_prepared(release_id):
        return done([])
    await_orphans(engine)
    with turn(engine, release_id) as guard:
        return done(engine.perform(before_start(engine, release_id, guard)))


def step_after_start(engine: Engine, request: Request) -> Result:
    """Run the commands after the start, while what served before is still there."""
    release_id = request["release"]
    if engine.was_completed(release_id):
        return done([])
    await_orphans(engine)
    with turn(engine, release_id) as guard:
        return done(engine.perform(after_start(engine, release_id, guard)))


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
    """Start the release and watch it through the gate."""
    release_id = request["release"]
    subject = watched(engine, release_id)
    changed = engine.perform(start(engine, release_id))
    return observed(engine, release_id, changed, gate(subject))


def step_switch(engine: Engine, request: Request) -> Result:
    """Move traffic."""
    return done(engine.perform(switch(engine, request["release"])))


def step_watch(engine: Engine, request: Request) -> Result:
    """Watch the release with traffic, and move traffic back at once where it fails."""
    release_id = request["release"]
    problem = watch(watched(engine, release_id), float(engine.settings.entry["release_watch"]))
    result = observed(engine, release_id, [], problem)
    if problem:
        result["effects"] = engine.perform(put_back(engine, release_id, request["back_to"], problem))
        result["changed"] = bool(result["effects"])
    return result


def step_drain(engine: Engine, request: Request) -> Result:
    """End the old release."""
    return done(engine.perform(drain(engine, request["release"])))


def step_put_back(engine: Engine, request: Request) -> Result:
    """Undo start and switch."""
    effects = put_back(engine, request["release"], request["back_to"], request["reason"])
    return done(engine.perform(effects))


def step_prune(engine: Engine, request: Request) -> Result:
    """Take away old releases."""
    return done(engine.perform(prune(engine)))


STEPS: dict[str, Callable[[Engine, Request], Result]] = {
    "ensure": step_ensure,
    "stage": step_stage,
    "prepare": step_prepare,
    "start": step_start,
    "switch": step_switch,
    "watch": step_watch,
    "after_start": step_after_start,
    "drain": step_drain,
    "put_back": step_put_back,
    "prune": step_prune,
}


def rehearse(engine: Engine, step: str, request: Request) -> Result:
    """Return what a step would do, without doing it; the controller rehearses all but this one."""
    assert step == "ensure"
    files = differing(shared_files(request))
    before = {str(file.path): file.path.read_text() if file.path.is_file() else "" for file in files}
    missing = not engine.layout.key.exists() or not engine.layout.releases.is_dir()
    return {**done(["ensure"] if files or missing else []), "before": before}


def run(engine: Engine, step: str, request: Request, check_mode: bool) -> Result:
    """Run one step and return its result; what a user can cause is a problem in it and no exception."""
    if step == "check":
        return {**done([]), **check(engine)}
    if check_mode:
        return rehearse(engine, step, request)
    try:
        with alone(engine):
            return STEPS[step](engine, request)
    except (StageError, InstallError, CommandError, TurnError, BusyError) as error:
        return {**done([]), "problem": str(error)}
