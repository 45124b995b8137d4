"""What all releases of an application share: directories, the key, and the units that hold no variable."""

import secrets
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..engine.effects import Effect
from ..engine.engine import Engine
from ..machine.files import directory, write

KEY_BYTES = 32


@dataclass(frozen=True)
class SharedFile:
    """A file that the role renders for all releases."""

    path: Path
    content: str
    mode: int


def differing(files: list[SharedFile]) -> list[SharedFile]:
    """Return the files that are not there as they should be."""
    return [
        file
        for file in files
        if not file.path.is_file()
        or file.path.read_text() != file.content
        or (file.path.stat().st_mode & 0o7777) != file.mode
    ]


def user(engine: Engine) -> bool:
    """Make the application's user where there is none."""
    name = engine.settings.name
    missing = engine.machine.home(name) is None
    return missing and engine.machine.make_user(name, str(engine.layout.state))


def ensure(engine: Engine, files: list[SharedFile], enable: list[str]) -> list[Effect]:
    """Return the effects that lay out an application."""
    layout, machine, name = engine.layout, engine.machine, engine.settings.name

    def directories() -> bool:
        changed = False
        # Nginx must pass through these to the socket; 0750 gives 502.
        for path in (layout.home, layout.releases):
            changed |= directory(path, 0o711)
        for path in (layout.etc, layout.all_credentials):
            changed |= directory(path, 0o700)
        changed |= directory(layout.state, 0o750)
        return machine.give(layout.state, name, name) or changed

    def key() -> bool:
        return not layout.key.exists() and write(layout.key, secrets.token_bytes(KEY_BYTES), 0o600)

    def shared() -> bool:
        changed = False
        for file in files:
            directory(file.path.parent, 0o755)
            changed |= write(file.path, file.content, file.mode)
        if changed:
            machine.reload()
        return changed

    def enabled() -> bool:
        missing = [unit for unit in enable if not machine.is_enabled(unit)]
        for unit in missing:
            machine.enable(unit)
        return bool(missing)

    return [
        # The key comes first: a directory without it is taken for another program's.
        Effect("ensure.key", lambda: directory(layout.etc, 0o700) | key()),
        Effect("ensure.user", partial(user, engine)),
        Effect("ensure.directories", directories),
        Effect("ensure.units", shared),
        Effect("ensure.boot", enabled),
    ]
