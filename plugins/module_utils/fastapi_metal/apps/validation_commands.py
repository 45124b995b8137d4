"""What can be wrong with the commands of an application: one-off commands, processes, timers, its schema."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..release.job_units import DEFAULTS
from .sentences import sentence, shown

WORKDIR = re.compile(r"(?!.*\.\.)[A-Za-z0-9_.][A-Za-z0-9_./-]*")
JOB_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
# One line; what it means is asked of systemd, before anything changes.
SCHEDULE = re.compile(r"[A-Za-z0-9*][A-Za-z0-9 ,.:/*~+_-]*")
ITEM_KEYS = {"command", "workdir"}


def of_commands(variable: str, app: Mapping[str, Any]) -> Iterator[str]:
    """Find everything that is wrong with what an application runs beside its server."""
    yield from of_jobs(variable, app)
    schema = mapping(app, "schema")
    if bool(schema.get("current")) != bool(schema.get("pending")):
        lacks = "pending" if schema.get("current") else "current"
        yield sentence(
            f"{variable}.schema.{lacks}",
            "is missing beside the other command",
            "add it, or leave both out where Alembic is used",
        )
    for key in ("before_start", "after_start"):
        items = app.get(key)
        for number, item in enumerate(items if isinstance(items, list) else ()):
            yield from of_item(f"{variable}.{key}[{number}]", item)


def of_jobs(variable: str, app: Mapping[str, Any]) -> Iterator[str]:
    """Find processes and timers that could be no unit."""
    for kind, works in (
        ("processes", "worker: {command: arq shop.worker.Settings}"),
        ("timers", "report: {command: python -m shop.report, schedule: daily}"),
    ):
        declared = app.get(kind)
        for name, job in declared.items() if isinstance(declared, Mapping) else ():
            yield from of_job(f"{variable}.{kind}.{name}", kind, str(name), job, works)
    both = set(mapping(app, "processes")) & set(mapping(app, "timers"))
    for name in sorted(map(str, both)):
        yield sentence(
            f"{variable}.timers.{name}", "has the name of a process", f"use for example `{name}-job`"
        )


def mapping(app: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return a dictionary of an application, an empty one where something else stands."""
    value = app.get(key)
    return value if isinstance(value, Mapping) else {}


def of_job(variable: str, kind: str, name: str, job: Any, works: str) -> Iterator[str]:
    """Find what is wrong with one process or timer."""
    if not JOB_NAME.fullmatch(name):
        yield sentence(
            variable,
            "has a name that cannot be a unit",
            "use up to 31 small letters, digits and `-`, beginning with a letter, for example `worker`",
        )
    if not isinstance(job, Mapping):
        yield sentence(variable, f"is {shown(job)}, which is no dictionary", f"write `{works}`")
        return
    allowed = {"command", *DEFAULTS[kind], *(("schedule",) if kind == "timers" else ())}
    for key in sorted(set(map(str, job)) - allowed):
        yield sentence(f"{variable}.{key}", "is not known", f"allowed here: {', '.join(sorted(allowed))}")
    yield from of_text(f"{variable}.command", job.get("command"), f"write `{works}`")
    yield from of_workdir(f"{variable}.workdir", job.get("workdir"))
    if "hosts" in job and job["hosts"] not in ("all", "first"):
        yield sentence(
            f"{variable}.hosts",
            f"is {shown(job['hosts'])}, it must be one of all, first",
            "try `hosts: first`",
        )
    for key in ("timeout", "stop_timeout"):
        if key in job and (not isinstance(job[key], int) or isinstance(job[key], bool) or job[key] < 1):
            yield sentence(
                f"{variable}.{key}",
                f"is {shown(job[key])}, it must be seconds",
                f"try `{key}: 60`",
            )
    schedule = job.get("schedule")
    if kind == "timers" and not (isinstance(schedule, str) and SCHEDULE.fullmatch(schedule)):
        yield sentence(
            f"{variable}.schedule",
            f"is {shown(schedule)}, which is no time",
            "use systemd's calendar, as in `daily`, `Mon..Fri 06:30` or `*:0/15`",
        )


def of_item(variable: str, item: Any) -> Iterator[str]:
    """Find what is wrong with one one-off command."""
    works = "write a text as in `alembic upgrade head`, or `{command: ./migrate, workdir: backend}`"
    if isinstance(item, Mapping):
        strange = sorted(set(map(str, item)) - ITEM_KEYS)
        if strange:
            yield sentence(f"{variable}.{strange[0]}", "is not known", "allowed here: command, workdir")
        yield from of_text(f"{variable}.command", item.get("command"), works)
        yield from of_workdir(f"{variable}.workdir", item.get("workdir"))
    else:
        yield from of_text(variable, item, works)


def of_text(variable: str, text: Any, works: str) -> Iterator[str]:
    """Find a command that is none."""
    if not isinstance(text, str) or not text.strip():
        yield sentence(variable, f"is {shown(text)}, which is no command", works)
    elif "\0" in text:
        yield sentence(variable, "holds a NUL character", works)


def of_workdir(variable: str, workdir: Any) -> Iterator[str]:
    """Find a working directory that leads elsewhere."""
    if workdir is not None and not (isinstance(workdir, str) and WORKDIR.fullmatch(workdir)):
        yield sentence(
            variable,
            f"is {shown(workdir)}, which leads elsewhere",
            "use a relative directory without spaces, as in `backend`",
        )
