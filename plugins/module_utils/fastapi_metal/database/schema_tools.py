"""How a release is asked for its revisions and the database's: by Alembic, or by commands of its own.

Reads only, as the application's user in its sandbox.
"""

import json
import tomllib
from pathlib import Path

from ..engine.engine import Engine
from ..machine.files import directory, remove, write
from ..machine.interface import OneOff
from ..release.rendering import process, working_directory
from ..steps.commands import surroundings
from .schema import Facts, Revision, SchemaError, behind, known_graph

MARK = "fastapi-metal-schema "
LAST_LINES = 15

# Runs in the release's own virtual environment, with its own Alembic.
ALEMBIC = '''\
"""Tell Alembic's revisions and where the database is. Written by the release engine."""

import json
import sys

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory


def names(value):
    return [] if value is None else [value] if isinstance(value, str) else list(value)


options = {"toml_file": "pyproject.toml"} if sys.argv[1] == "pyproject.toml" else {}
config = Config("alembic.ini", **options)
script = ScriptDirectory.from_config(config)
current = []


def see(found, context):
    current[:] = names(found)
    return []


with EnvironmentContext(config, script, fn=see, dont_mutate=True):
    script.run_env()
own = []
for each in script.walk_revisions():
    needed = [found.revision for name in names(each.dependencies) for found in script.get_revisions(name)]
    declared = getattr(each.module, "backward_compatible", None)
    own.append(
        {
            "revision": each.revision,
            "down": sorted({*names(each.down_revision), *needed}),
            "compatible": declared if isinstance(declared, bool) else None,
        }
    )
print(flush=True)
print("fastapi-metal-schema " + json.dumps({"current": current, "own": own[::-1]}), flush=True)
'''


def alembic_file(place: Path) -> str | None:
    """Return the file that tells Alembic where its migrations are, if a directory has one."""
    if (place / "alembic.ini").is_file():
        return "alembic.ini"
    project = place / "pyproject.toml"
    if project.is_file() and "alembic" in tomllib.loads(project.read_text()).get("tool", {}):
        return "pyproject.toml"
    return None


def alembic_place(engine: Engine, release_id: str) -> tuple[str | None, str] | None:
    """Return in which working directory of a release Alembic is at home, and by which file."""
    if not (engine.layout.virtualenv(release_id) / "bin/alembic").exists():
        return None
    commands = engine.settings.commands("before_start")
    workdirs = [each.workdir for each in commands if each.workdir and "alembic" in each.text]
    for workdir in (*workdirs, None):
        found = alembic_file(Path(working_directory(engine.settings, release_id, workdir)))
        if found:
            return workdir, found
    return None


def ask(engine: Engine, release_id: str, text: str, workdir: str | None, what: str) -> str:
    """Run a command that only reads, and return what it printed."""
    settings, machine = engine.settings, engine.machine
    scripts = engine.layout.release(release_id) / "commands"
    directory(scripts, 0o750)
    machine.give(scripts, "root", settings.name)
    for name, content in (("schema.sh", f"{text}\n"), ("schema.py", ALEMBIC)):
        write(scripts / name, content, 0o640)
        machine.give(scripts / name, "root", settings.name)
    unit = f"{settings.name}-schema-{release_id}"
    properties = process(settings, release_id, workdir)
    limit = settings.entry["before_start_timeout"]
    one_off = OneOff(unit, properties, scripts / "schema.sh", limit, surroundings(engine), capture=True)
    done = machine.run_once(one_off)
    remove(scripts)
    if done.status != 0:
        tail = "\n".join(done.text.strip().splitlines()[-LAST_LINES:])
        raise SchemaError(
            f"the revision of the schema cannot be read: {what} ended with status {done.status}. Mend it, or "
            f"set apps.{settings.name}.schema in group_vars/all/apps.yml: to commands of your own, as in "
            "`{current: ..., pending: ...}`, or to `{enabled: false}`, and nobody watches the way back. "
            f"It printed:\n{tail}"
        )
    return done.text


def by_alembic(engine: Engine, release_id: str, workdir: str | None, file: str) -> Facts:
    """Ask Alembic."""
    script = engine.layout.release(release_id) / "commands/schema.py"
    printed = ask(engine, release_id, f"exec python {script} {file}", workdir, f"Alembic (found by {file})")
    line = next(line for line in reversed(printed.splitlines()) if line.startswith(MARK))
    found = json.loads(line.removeprefix(MARK))
    return Facts(found["current"], [Revision(**each) for each in found["own"]])


def by_commands(engine: Engine, release_id: str) -> Facts:
    """Ask the application's own two commands."""
    schema, variable = engine.settings.entry["schema"], f"apps.{engine.settings.name}.schema"
    current = [
        line.strip()
        for line in ask(engine, release_id, schema["current"], None, f"{variable}.current").splitlines()
        if line.strip()
    ]
    printed = ask(engine, release_id, schema["pending"], None, f"{variable}.pending")
    known = known_graph(engine.store.all())
    found: list[Revision] = []
    before = current
    for line in filter(None, map(str.strip, printed.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "ahead":
            return Facts(current, [known[name] for name in behind([rest.strip()], known) if name in known])
        if rest not in {"", "compatible", "incompatible"}:
            raise SchemaError(
                f"{variable}.pending in group_vars/all/apps.yml printed `{line}`; print one line per "
                "revision, oldest first, as `0042 compatible`, `0042 incompatible` or `0042`, and `ahead "
                "0041` alone where the database is ahead of this code, whose newest revision that is"
            )
        compatible = {"compatible": True, "incompatible": False}.get(rest)
        found.append(Revision(word, before, compatible))
        before = [word]
    applied = [known.get(name, Revision(name)) for name in sorted(behind(current, known))]
    return Facts(current, [*applied, *found])


def facts(engine: Engine, release_id: str) -> Facts | None:
    """Return what a release and its database say of the schema; nothing where there is none to be found."""
    schema = engine.settings.entry["schema"]
    if not schema["enabled"]:
        return None
    if schema["current"]:
        return by_commands(engine, release_id)
    place = alembic_place(engine, release_id)
    return by_alembic(engine, release_id, *place) if place else None
