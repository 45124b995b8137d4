"""Step 7: take away what nobody needs, so that nothing of it can come back."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..engine.effects import Effect
from ..engine.engine import Engine
from ..machine.files import remove
from ..release.layout import Layout
from . import jobs
from .check import prunable


def rest(engine: Engine, name: str) -> bool:
    """Make sure that systemd starts nothing of a release."""
    engine.disable(name)
    engine.stop(name)
    jobs.rest(engine, name)
    return False


def settings_of(layout: Layout) -> tuple[Callable[[str], Path], ...]:
    """Return where systemd finds what it must know of one release."""
    return layout.drop_in, layout.listener_drop_in, layout.handover


def settings(engine: Engine, name: str) -> bool:
    """Remove what systemd knows of a release. Its record goes first: what is cut off is no whole release."""
    engine.layout.record(name).unlink(missing_ok=True)
    removed = [remove(path(name).parent) for path in settings_of(engine.layout)]
    removed.append(jobs.take_away(engine.layout, name))
    return any(removed)


def reload(engine: Engine) -> bool:
    """Let systemd forget."""
    engine.machine.reload()
    return False


def files(engine: Engine, name: str) -> bool:
    """Remove a release."""
    remove(engine.layout.credentials(name))
    return remove(engine.layout.release(name))


def prune(engine: Engine) -> list[Effect]:
    """Return the effects that remove releases which nothing keeps."""
    names = prunable(engine)
    if not names:
        return []
    return [
        *(Effect("prune.rest", partial(rest, engine, name)) for name in names),
        *(Effect("prune.settings", partial(settings, engine, name)) for name in names),
        Effect("prune.reload", partial(reload, engine)),
        *(Effect("prune.files", partial(files, engine, name)) for name in names),
    ]
