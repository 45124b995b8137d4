"""The end of an application on a machine: what the engine made goes, its data stays unless told."""

from functools import partial

from ..engine.effects import Effect
from ..engine.engine import Engine
from ..machine.files import remove
from . import prune


class RemovalError(Exception):
    """Something of that name is there and is not ours; the message says what."""


def releases(engine: Engine) -> list[str]:
    """Return every release of which anything is left, on disk or in systemd."""
    return sorted({*engine.store.directories(), *engine.others("")})


def shared_units(engine: Engine) -> list[str]:
    """Return the units that all releases of the application share."""
    name = engine.settings.name
    return [f"{name}@.service", f"{name}@.socket"]


def is_there(engine: Engine, data: bool) -> bool:
    """Tell whether there is anything to remove."""
    layout = engine.layout
    paths = [layout.home, layout.etc, *(layout.system_units / unit for unit in shared_units(engine))]
    user = engine.machine.home(engine.settings.name) is not None
    return bool(releases(engine)) or any(path.exists() for path in paths) or (data and user)


def removal(engine: Engine, data: bool) -> list[Effect]:
    """Return the effects that remove the application; none if nothing is left of it."""
    layout, machine, name = engine.layout, engine.machine, engine.settings.name
    # An empty one is what a removal leaves that died right before its end.
    if layout.etc.exists() and not layout.key.exists() and any(layout.etc.iterdir()):
        raise RemovalError(
            f"{layout.etc} is there and was not made by the release engine; `app` is {name}: is that the "
            "name of the application, as in -e app=shop?"
        )
    if not is_there(engine, data):
        return []
    names, mend = releases(engine), f"release-mend@{name}.service"

    def boot() -> bool:
        if not machine.is_enabled(mend):
            return False
        machine.disable(mend)
        return True

    def units() -> bool:
        removed = [remove(layout.system_units / unit) for unit in shared_units(engine)]
        machine.reload()
        return any(removed)

    def user() -> bool:
        return remove(layout.state) | machine.remove_user(name)

    def key() -> bool:
        # Last: a directory without it is taken for another program's.
        remove(layout.all_credentials)
        return remove(layout.etc)

    return [
        Effect("remove.boot", boot),
        *(Effect("remove.rest", partial(prune.rest, engine, release)) for release in names),
        *(Effect("remove.settings", partial(prune.settings, engine, release)) for release in names),
        Effect("remove.units", units),
        *(Effect("remove.release", partial(prune.files, engine, release)) for release in names),
        Effect("remove.home", partial(remove, layout.home)),
        *([Effect("remove.data", user)] if data else []),
        Effect("remove.credentials", key),
    ]
