"""Whether two releases fit into a machine's memory side by side, and what is done if they do not."""

from ..engine.engine import Engine
from ..machine.interface import Resources
from ..release.sizing import Sizing

SIDE_BY_SIDE = "side_by_side"
HANDOVER = "handover"

# MiB that stay free when both are up, at least; on a big machine a thirty-second of its memory.
SPARE = 64
SPARE_SHARE = 32


def needed(engine: Engine, live: str, sizing: Sizing) -> tuple[int, str]:
    """Return how many MiB a second release takes, and how that is known: the live one is the best measure."""
    record = engine.store.read(live)
    used = engine.machine.used_memory(engine.layout.service(live))
    if used is not None and record and record.workers:
        grown = used * max(sizing.workers, 1) // record.workers
        return grown, f"the live release uses {used} MiB with {record.workers} workers"
    if used is not None:
        return used, f"the live release uses {used} MiB"
    each = engine.settings.entry["server"]["worker_memory"]
    return sizing.workers * each, f"{sizing.workers} workers of {each} MiB (server.worker_memory)"


def mode(engine: Engine, resources: Resources, sizing: Sizing) -> tuple[str, str]:
    """Return how the traffic moves on this machine, and why."""
    live = engine.store.live()
    if live is None or not engine.machine.state(engine.layout.service(live)).alive:
        return SIDE_BY_SIDE, "nothing else runs"
    wanted = engine.settings.entry["switch"]
    if wanted != "auto":
        return wanted, "as configured in switch"
    need, how = needed(engine, live, sizing)
    available = engine.machine.available_memory()
    spare = max(SPARE, resources.memory // SPARE_SHARE)
    figures = f"{available} MiB are available, {spare} must stay free, and {how}"
    if available - need >= spare:
        return SIDE_BY_SIDE, figures
    return HANDOVER, (
        f"two releases do not fit side by side: {figures}. The old one ends before the new one starts, "
        "requests wait in between; more memory, fewer `server.workers` or `switch: side_by_side` in "
        "group_vars/all/apps.yml change that"
    )
