"""Step 1: what would be released, and why. Reads only; works where nothing exists yet."""

from typing import Any

from ..engine.engine import Engine
from ..machine.interface import Resources
from ..packages.reuse import donor
from ..packages.versions import allows
from ..release import job_units, serving
from ..release.identity import Identity, differences
from ..release.rendering import ANY_RELEASE, render
from . import jobs, room


def check(engine: Engine, check_mode: bool = False) -> dict[str, Any]:
    """Return what the controller needs to decide."""
    resources = engine.resources()
    # A group is made by the roles before, which in check mode have made nothing.
    missing = missing_group(engine)
    problem = obstacle(engine, resources) or (None if check_mode else missing)
    if problem:
        return {"problem": problem}
    identity = engine.identity(resources)
    sizing = engine.sizing(resources)
    live = engine.store.live()
    record = engine.store.read(live) if live else None
    matching = [found.id for found in engine.store.all() if found.digest == identity.digest]
    moves, why = room.mode(engine, resources, sizing)
    return {
        "problem": None,
        "notices": [missing] if missing else [],
        "mode": moves,
        "mode_reason": why,
        "live": live,
        "settled": live if live and engine.settled(live) and jobs.settled(engine, live) else None,
        "previous": engine.store.previous(),
        "matching": matching,
        "prepared": [name for name in matching if engine.was_prepared(name)],
        "completed": [name for name in matching if engine.was_completed(name)],
        "jobs": jobs.present(engine),
        "proposed": propose(engine, identity),
        "why": differences(record.identity, identity) if record else ["first release"],
        "workers": sizing.workers,
        "workers_reason": serving.OWN_SERVER if engine.settings.own_server else sizing.reason,
        "prunable": prunable(engine),
        "packages": {
            "python": resources.python,
            "architecture": resources.architecture,
            "there": donor(engine, identity) is not None,
        },
        "rendered": render(engine.settings, ANY_RELEASE, sizing.workers).texts(),
        "rendered_before": rendered_before(engine, live),
    }


def obstacle(engine: Engine, resources: Resources) -> str | None:
    """Return why nothing can be released on this machine, or nothing."""
    settings, layout = engine.settings, engine.layout
    if not resources.python:
        return (
            f"{settings.python} is no CPython of Debian on this machine; set `app_python` in "
            "group_vars/all/app.yml to one, for example `/usr/bin/python3`"
        )
    asked = settings.source.requires_python
    if not allows(asked, resources.python):
        return (
            f"the application asks for Python {asked} (`requires-python` in its pyproject.toml) and this "
            f"machine "
            f"has {resources.python}; run it on a machine with another Debian, or let it take "
            f"{resources.python}"
        )
    home = engine.machine.home(settings.name)
    if home is not None and home != str(layout.state):
        return (
            f"this machine has a user `{settings.name}` that is not the application's (its home is {home}); "
            f"give apps.{settings.name} in group_vars/all/apps.yml another name, as in `{settings.name}-app`"
        )
    if layout.etc.exists() and not layout.key.exists():
        return (
            f"{layout.etc} is there and belongs to something else; give apps.{settings.name} in "
            f"group_vars/all/apps.yml another name, for example `{settings.name}-app`"
        )
    for job in job_units.jobs(settings):
        wrong = engine.machine.wrong_schedule(job.settings["schedule"]) if job.kind == "timers" else None
        if wrong:
            return (
                f"apps.{settings.name}.timers.{job.name}.schedule in group_vars/all/apps.yml is "
                f"`{job.settings['schedule']}`, which systemd does not understand ({wrong}); use for example "
                "`daily`, `Mon..Fri 06:30` or `*:0/15`"
            )
    free = engine.machine.free_disk(layout.home)
    if free < settings.minimum_free_disk:
        return (
            f"{free} MiB are free where {layout.home} lies, a release needs {settings.minimum_free_disk}; "
            "free some, or set a smaller `app_minimum_free_disk` in group_vars/all/app.yml"
        )
    return None


def missing_group(engine: Engine) -> str | None:
    """Return which group a release's units name that this machine does not have; systemd would start none."""
    settings = engine.settings
    for variable, group, purpose, example in (
        ("app_cache_group", settings.cache_group, "its processes reach the cache's socket", "redis"),
        ("app_socket_group", settings.socket_group, "Nginx reaches its socket", "www-data"),
    ):
        if group and not engine.machine.has_group(group):
            return (
                f"this machine has no group `{group}`, with which {purpose} (apps.{settings.name} in "
                "group_vars/all/apps.yml); run `playbooks/site.yml`, which makes it, or set "
                f"`{variable}` in group_vars/all/app.yml to one that is there, for example `{example}`"
            )
    return None


def propose(engine: Engine, identity: Identity) -> str:
    """Return an id that no release on this machine has."""
    now = engine.machine.now()
    taken = set(engine.store.directories())
    for time in (now[:-2], now):
        for start in range(0, 48, 6):
            name = f"{time}-{identity.digest[start : start + 6]}"
            if name not in taken:
                return name
    raise AssertionError("sixteen ids of one second are taken")


def prunable(engine: Engine) -> list[str]:
    """Return the releases that keep_releases does not keep, nor anything else."""
    store, layout = engine.store, engine.layout
    live = store.live()
    whole = [record.id for record in store.all()]
    sound = [name for name in whole if not layout.failed(name).exists()]
    keep = {live, store.previous(), *sound[-engine.settings.entry["keep_releases"] :]}
    # A failed release stays until a newer one succeeds, so that somebody can look for the cause.
    keep |= set(whole[whole.index(live) :] if live else whole)
    return [
        name
        for name in store.directories()
        if name not in keep and not engine.alive(name) and not jobs.busy(engine, name)
    ]


def rendered_before(engine: Engine, live: str | None) -> dict[str, str]:
    """Return the live release's configuration, comparable with what is rendered now."""
    if not live:
        return {}
    layout = engine.layout
    release = layout.release(live)
    files = {
        "env": release / "env",
        **{name: release / name for name in serving.FILES},
        "release.conf": layout.drop_in(live),
        "socket.conf": layout.listener_drop_in(live),
        "before_start": release / "before_start",
        "after_start": release / "after_start",
        **jobs.text_files(layout, live),
    }
    return {
        name: path.read_text().replace(live, ANY_RELEASE) if path.is_file() else ""
        for name, path in files.items()
    }
