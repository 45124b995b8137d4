"""Steps 4 to 6: start beside the old release, move traffic by one rename, end the old one."""

from functools import partial

from ..engine.effects import Effect
from ..engine.engine import Engine
from ..machine.files import point
from . import jobs

POLL = 0.1
# Nginx reads the link and connects a moment later, so one empty look is not enough.
EMPTY_LOOKS = 3


def target(release_id: str) -> str:
    """Return what the link `current` holds for a release."""
    return f"releases/{release_id}"


def start(engine: Engine, release_id: str) -> list[Effect]:
    """Return the effects that start a release on a socket of its own."""
    layout, machine = engine.layout, engine.machine
    service, listener = layout.service(release_id), layout.listener(release_id)
    if engine.store.live() == release_id and machine.state(service).active == "active":
        return []

    def rest() -> bool:
        # What an earlier run left of it, or its crashes, must not count now.
        engine.stop(release_id)
        return False

    def listen() -> bool:
        machine.start([listener], wait=True)
        return True

    def serve() -> bool:
        # The gate waits for it, within the time that the application set.
        machine.start([service], wait=False)
        return True

    return [
        Effect("start.rest", rest),
        Effect("start.listen", listen),
        Effect("start.serve", serve),
    ]


def switch(engine: Engine, release_id: str) -> list[Effect]:
    """Return the effects that make a release the live one."""
    store = engine.store

    def history() -> bool:
        live = store.live()
        who = engine.settings.deployed_by
        return live != release_id and store.note_switch(live, release_id, engine.machine.now(), who)

    def keep_static() -> bool:
        live = store.live()
        return live not in {None, release_id} and point(engine.layout.before, target(str(live)))

    def enable() -> bool:
        # Its jobs too: until the rename they refuse to start, and from then on a boot starts them.
        return jobs.enable(engine, release_id) | engine.enable(release_id)

    def disable() -> bool:
        others = sorted(engine.machine.enabled(engine.settings.name) - {release_id})
        disabled = [engine.disable(other) for other in others]
        wanted = jobs.wanted(engine, release_id)
        disabled.append(jobs.disable(engine, engine.machine.jobs_enabled(engine.settings.name) - wanted))
        return any(disabled)

    return [
        Effect("switch.history", history),
        # Two enabled releases are harmless at boot, none is an outage.
        Effect("switch.enable", enable),
        # Pages that were loaded before the rename ask for their static files after it.
        Effect("switch.static", keep_static),
        Effect("switch.rename", partial(point, engine.layout.current, target(release_id))),
        Effect("switch.disable", disable),
        Effect("switch.forget_failure", partial(engine.forget_failure, release_id)),
    ]


def wait_until_idle(engine: Engine, release_id: str, timeout: float) -> int:
    """Wait until nothing is queued or in flight; return how many requests were left when patience ended."""
    machine, socket = engine.machine, engine.layout.socket(release_id)
    deadline = machine.clock() + timeout
    empty = 0
    while empty < EMPTY_LOOKS:
        left = machine.connections(socket)
        if left and machine.clock() >= deadline:
            return left
        empty = 0 if left else empty + 1
        machine.sleep(POLL)
    return 0


def end(engine: Engine, release_id: str) -> bool:
    """Stop a release once its last request is answered."""
    if not engine.alive(release_id):
        engine.stop(release_id)
        return False
    left = wait_until_idle(engine, release_id, float(engine.settings.entry["drain_timeout"]))
    if left:
        engine.machine.log(
            f"{engine.settings.name}: {left} requests were still open in {release_id} after drain_timeout"
        )
    engine.stop(release_id)
    return True


def drain(engine: Engine, release_id: str) -> list[Effect]:
    """Return the effects that end every other release; none if this one is not live."""
    if engine.store.live() != release_id:
        return []
    return [Effect("drain.stop", partial(end, engine, other)) for other in engine.others(release_id)]
