"""One-off commands: what runs once for the fleet, as the application and with everything that it has."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..database.turn import Guard
from ..engine.effects import Effect
from ..engine.engine import Engine
from ..machine.files import directory, remove, write, write_json
from ..machine.interface import OneOff
from ..release.rendering import process, working_directory
from ..release.settings import Command, Key

JOURNAL_LINES = 30
# Seconds that a command which took too long has to end by itself.
GRACE = 10
POLL = 0.5
# A migration by Alembic and nothing beside it.
UPGRADE = re.compile(r"\s*(python -m )?alembic\s[^;&|\n]*\bupgrade\b[^;&|\n]*$")


class CommandError(Exception):
    """A command failed; the message says which, and holds what it printed."""


def script(text: str) -> str:
    """Return a command as a script, so that no quoting stands between the user and the shell."""
    return f"{text}\n"


def surroundings(engine: Engine) -> dict[str, str]:
    """Return what a command finds in its environment beside what the server has; the application's own wins.

    Drivers that are no libpq, as asyncpg, do not read PGOPTIONS: the guard of the turn is for them.
    """
    settings = engine.settings
    if not settings.with_database:
        return {}
    # A statement may take as long as its command: the limit for requests is not meant for a migration.
    options = f"-c statement_timeout={settings.entry['before_start_timeout']}s"
    seconds = settings.entry["before_start_lock_timeout"]
    options += f" -c lock_timeout={seconds}s" if seconds else ""
    return {"PGOPTIONS": options, "PGAPPNAME": f"{settings.name} one-off command"}


def await_orphans(engine: Engine) -> None:
    """Wait for the commands of a run that died: each ends at its own timeout at the latest."""
    machine, app = engine.machine, engine.settings.name
    said = False
    while running := machine.one_offs(app):
        if not said:
            machine.log(f"{app}: waits for {', '.join(sorted(running))}, which a run that died has started")
            said = True
        machine.sleep(POLL)


@dataclass(frozen=True)
class Runner:
    """Runs the commands of one kind in one release."""

    engine: Engine
    release_id: str
    key: Key
    guard: Guard | None

    def run(self, number: int, subject: Command) -> bool:
        """Run one command to its end; raise CommandError if that is a bad one."""
        engine, settings = self.engine, self.engine.settings
        machine = engine.machine
        if self.is_ahead() and UPGRADE.match(subject.text):
            # Alembic would end with an error: it cannot find a revision that a newer release has brought.
            machine.log(f"{settings.name}: skips `{subject.text}`, as the schema is ahead of this code")
            return False
        scripts = engine.layout.release(self.release_id) / "commands"
        path = scripts / f"{number}.sh"
        directory(scripts, 0o750)
        machine.give(scripts, "root", settings.name)
        write(path, script(subject.text), 0o640)
        machine.give(path, "root", settings.name)
        unit = f"{settings.name}-{self.key.replace('_', '-')}-{self.release_id}-{number}"
        timeout = settings.entry["before_start_timeout"]
        properties = [*process(settings, self.release_id, subject.workdir), f"TimeoutStopSec={GRACE}"]
        one_off = OneOff(unit, properties, path, timeout, surroundings(engine))
        begun = machine.clock()
        done = machine.run_once(one_off, self.guard.look if self.guard else None)
        if done.status == 0:
            return True
        late = machine.clock() - begun >= timeout
        if late and self.guard:
            self.guard.sweep()
        ended = (
            f"took more than {timeout} s (apps.{settings.name}.before_start_timeout) and was ended with all "
            "its processes"
            if late
            else f"ended with status {done.status}"
        )
        place = working_directory(settings, self.release_id, subject.workdir)
        lines = machine.journal(f"{unit}.service", JOURNAL_LINES, settings.name) or [done.text]
        raise CommandError(
            f"`{subject.text}` (apps.{settings.name}.{self.key}) {ended}; it ran in "
            f"{place}. It printed:\n" + "\n".join(lines)
        )

    def is_ahead(self) -> bool:
        """Tell whether the schema is newer than this code."""
        record = self.engine.store.read(self.release_id)
        return bool(record and record.schema.get("ahead"))

    def clean(self) -> bool:
        """Remove the scripts."""
        remove(self.engine.layout.release(self.release_id) / "commands")
        return False

    def runs(self) -> list[Callable[[], bool]]:
        """Return one call per command."""
        subjects = self.engine.settings.commands(self.key)
        return [partial(self.run, number, subject) for number, subject in enumerate(subjects, 1)]


def before_start(engine: Engine, release_id: str, guard: Guard | None) -> list[Effect]:
    """Return one effect per command before the start, and one that notes their success."""
    if engine.was_prepared(release_id):
        return []
    runner = Runner(engine, release_id, "before_start", guard)

    def record() -> bool:
        runner.clean()
        return write_json(engine.layout.prepared(release_id), {"when": engine.machine.now()}, 0o644)

    return [
        *(Effect(f"prepare.command.{number}", run) for number, run in enumerate(runner.runs(), 1)),
        Effect("prepare.record", record),
    ]


def after_start(engine: Engine, release_id: str, guard: Guard | None) -> list[Effect]:
    """Return one effect per command after the start, and one that notes their success."""
    if engine.was_completed(release_id):
        return []
    runner = Runner(engine, release_id, "after_start", guard)

    def record() -> bool:
        runner.clean()
        return write_json(engine.layout.completed(release_id), {"when": engine.machine.now()}, 0o644)

    return [
        *(Effect(f"after_start.command.{number}", run) for number, run in enumerate(runner.runs(), 1)),
        Effect("after_start.record", record),
    ]
