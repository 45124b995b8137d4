"""Step 3: the commands before the start, once, on one machine, in the new release."""

from functools import partial

from .effects import Effect
from .engine import Engine
from .files import directory, remove, write, write_json
from .machine import OneOff
from .rendering import process, working_directory

JOURNAL_LINES = 30


class PrepareError(Exception):
    """A command failed; the message says which, and holds what it printed."""


def script(command: str) -> str:
    """Return a command as a script, so that no quoting stands between the user and the shell."""
    return f"{command}\n"


def prepare(engine: Engine, release_id: str) -> list[Effect]:
    """Return one effect per command, and one that notes their success."""
    if engine.was_prepared(release_id):
        return []
    settings, layout, machine = engine.settings, engine.layout, engine.machine
    scripts = layout.release(release_id) / "commands"

    def run(number: int, command: str) -> bool:
        path = scripts / f"{number}.sh"
        directory(scripts, 0o750)
        machine.give(scripts, "root", settings.name)
        write(path, script(command), 0o640)
        machine.give(path, "root", settings.name)
        unit = f"{settings.name}-before-start-{release_id}-{number}"
        one_off = OneOff(unit, process(settings, release_id), path, settings.entry["before_start_timeout"])
        done = machine.run_once(one_off)
        if done.status != 0:
            lines = machine.journal(f"{unit}.service", JOURNAL_LINES, settings.name) or [done.text]
            raise PrepareError(
                f"`{command}` (apps.{settings.name}.before_start) ended with status {done.status} in "
                f"{working_directory(settings, release_id)}. It printed:\n" + "\n".join(lines)
            )
        return True

    def record() -> bool:
        remove(scripts)
        return write_json(layout.prepared(release_id), {"when": machine.now()}, 0o644)

    commands = settings.entry["before_start"]
    return [
        *(Effect(f"prepare.command.{n}", partial(run, n, command)) for n, command in enumerate(commands, 1)),
        Effect("prepare.record", record),
    ]
