"""The way back: traffic first, then the release that failed."""

from dataclasses import dataclass

from ..database import schema
from ..engine.effects import Effect
from ..engine.engine import Engine
from ..machine.files import point, write
from . import jobs
from .handover import forget, underway
from .switch import target


@dataclass(frozen=True)
class PutBack:
    """The undoing of start and switch for one release."""

    engine: Engine
    failed: str
    back_to: str | None
    reason: str

    def revive(self) -> bool:
        """Make sure that the old release serves before it gets traffic."""
        machine, layout = self.engine.machine, self.engine.layout
        if self.back_to is None or machine.state(layout.service(self.back_to)).active == "active":
            return False
        machine.start([layout.listener(self.back_to), layout.service(self.back_to)], wait=True)
        return True

    def listen(self) -> bool:
        """Let requests wait for the old release; there is no room to start it while the failed one runs."""
        machine, layout = self.engine.machine, self.engine.layout
        if self.back_to is None or machine.state(layout.listener(self.back_to)).active == "active":
            return False
        machine.start([layout.listener(self.back_to)], wait=True)
        return True

    def forget(self) -> bool:
        """End the handover."""
        return forget(self.engine, self.failed)

    def enable(self) -> bool:
        """Let the old release start at boot."""
        if self.back_to is None:
            return False
        return jobs.enable(self.engine, self.back_to) | self.engine.enable(self.back_to)

    def rename(self) -> bool:
        """Move traffic back."""
        return self.back_to is not None and point(self.engine.layout.current, target(self.back_to))

    def disable(self) -> bool:
        """Let the failed release not start at boot."""
        return self.engine.disable(self.failed)

    def stop(self) -> bool:
        """Stop the failed release. Its files stay, for whoever looks for the cause."""
        self.engine.stop(self.failed)
        jobs.rest(self.engine, self.failed)
        return True

    def restart_jobs(self) -> bool:
        """Start the jobs of the old release that had been stopped for those of the new one."""
        effects = jobs.turn_over(self.engine, self.back_to) if self.back_to else []
        return bool([effect.apply() for effect in effects])

    def mark(self) -> bool:
        """Write down why it failed."""
        layout = self.engine.layout
        whole = self.engine.store.read(self.failed) is not None
        return whole and write(layout.failed(self.failed), f"{self.reason}\n", 0o644)


def put_back(
    engine: Engine, failed: str, back_to: str | None, reason: str, tight: bool = False
) -> list[Effect]:
    """Return the effects that undo start and switch; where memory is `tight`, the failed release ends first.

    Where there is nothing to go back to, a live release is left as it is: an application that fails
    now and then serves better than none. Nor is traffic moved to a release that cannot run on the schema.
    """
    store = engine.store
    if back_to is not None and store.read(back_to) is None:
        back_to = None
    if store.live() == failed and (back_to is None or schema.no_way_back(engine, failed, back_to)):
        return []
    undo = PutBack(engine, failed, back_to, reason)
    if tight or underway(engine, failed):
        return [
            Effect("put_back.listen", undo.listen),
            Effect("put_back.enable", undo.enable),
            Effect("put_back.rename", undo.rename),
            Effect("put_back.disable", undo.disable),
            Effect("put_back.stop", undo.stop),
            Effect("put_back.revive", undo.revive),
            Effect("put_back.jobs", undo.restart_jobs),
            Effect("put_back.forget", undo.forget),
            Effect("put_back.mark", undo.mark),
        ]
    return [
        Effect("put_back.revive", undo.revive),
        Effect("put_back.enable", undo.enable),
        Effect("put_back.rename", undo.rename),
        Effect("put_back.disable", undo.disable),
        Effect("put_back.stop", undo.stop),
        Effect("put_back.jobs", undo.restart_jobs),
        Effect("put_back.mark", undo.mark),
    ]
