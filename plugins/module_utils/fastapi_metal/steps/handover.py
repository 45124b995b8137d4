"""The switch where two releases do not fit side by side: the old one ends before the new one starts.

Requests wait in the new release's socket meanwhile. systemd would start the new release with the first of
them, so it is held until the old one has ended, by a setting that a boot forgets and that gives way by itself
after a while: whoever kills the engine in between leaves a machine that serves.
"""

from functools import partial

from ..engine.effects import Effect
from ..engine.engine import Engine
from ..machine.files import directory, remove, write
from .switch import end, switch

HOLD = """\
# Written by the release engine for a handover, and removed after it.
[Service]
ExecStartPre=-/usr/bin/timeout {patience} /bin/sh -c 'while [ -e {hold} ]; do sleep 0.1; done'
TimeoutStartSec={start}
"""

# The database is waited for and the application imported after the hold.
START = 720


def underway(engine: Engine, release_id: str) -> bool:
    """Tell whether a handover to a release has begun and is not over."""
    return engine.layout.handover(release_id).is_file()


def forget(engine: Engine, release_id: str) -> bool:
    """Hold a release no longer."""
    remove(engine.layout.hold(release_id))
    if not remove(engine.layout.handover(release_id).parent):
        return False
    engine.machine.reload()
    return True


def listen(engine: Engine, release_id: str) -> list[Effect]:
    """Return the effects that let a release listen, and not yet start."""
    layout, machine, entry = engine.layout, engine.machine, engine.settings.entry
    if engine.store.live() == release_id:
        # Requests wait already: nothing may close the socket.
        return []

    def rest() -> bool:
        engine.stop(release_id)
        return False

    def hold() -> bool:
        write(layout.hold(release_id), "", 0o644)
        directory(layout.handover(release_id).parent, 0o755)
        patience = int(entry["drain_timeout"]) + int(entry["server"]["graceful_timeout"]) + 30
        text = HOLD.format(patience=patience, hold=layout.hold(release_id), start=patience + START)
        write(layout.handover(release_id), text, 0o644)
        machine.reload()
        return True

    def socket() -> bool:
        machine.start([layout.listener(release_id)], wait=True)
        return True

    return [
        Effect("handover.rest", rest),
        Effect("handover.hold", hold),
        Effect("handover.listen", socket),
    ]


def hand_over(engine: Engine, release_id: str) -> list[Effect]:
    """Return the effects that move the traffic, end the old release and only then start the new one."""

    def end_others() -> bool:
        ended = [end(engine, other) for other in engine.others(release_id)]
        return any(ended)

    def serve() -> bool:
        remove(engine.layout.hold(release_id))
        engine.machine.start([engine.layout.service(release_id)], wait=False)
        return True

    return [
        *switch(engine, release_id),
        Effect("handover.end", end_others),
        Effect("handover.serve", serve),
    ]


def finish(engine: Engine, release_id: str) -> list[Effect]:
    """Return the effect that ends a handover, once the new release is well."""
    return [Effect("handover.forget", partial(forget, engine, release_id))]
