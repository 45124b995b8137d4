"""What a user may ask of the logs, and the sentence that refuses the rest."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
ALSO = {"critical": "crit", "error": "err", "warn": "warning"}
MOST_LINES = 100_000
SPAN = re.compile(
    r"-?(\d+) ?(s|sec|second|seconds|m|min|minute|minutes|h|hour|hours|d|day|days|w|week|weeks)( ago)?"
)
MOMENT = re.compile(r"(\d{4}-\d\d-\d\d[ T])?\d\d:\d\d(:\d\d)?|\d{4}-\d\d-\d\d|today|yesterday")
REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,200}")


class AskedError(ValueError):
    """What was asked cannot be answered; the text is the sentence for the user."""


def asked(given: Mapping[str, Any], apps: Iterable[str]) -> dict[str, Any]:
    """Return the arguments for module journal_lines, or refuse."""
    names = sorted(apps)
    return {
        "identifier": _app(given.get("app"), names),
        "lines": _lines(given.get("lines", 100)),
        "since": _since(str(given.get("since", ""))),
        "priority": _priority(str(given.get("priority", "debug"))),
        "request_id": _request_id(str(given.get("request_id", ""))),
    }


def _app(app: Any, names: list[str]) -> str:
    if not names:
        raise AskedError("apps in group_vars/all/apps.yml names no application, so nobody has said anything")
    if app in (None, ""):
        raise AskedError(f"say whose lines to show, one of: {', '.join(names)}, as in -e app={names[0]}")
    if app not in names:
        raise AskedError(
            f"app is {app}, which group_vars/all/apps.yml does not name; use one of: {', '.join(names)}, "
            f"as in -e app={names[0]}"
        )
    return str(app)


def _lines(lines: Any) -> int:
    if re.fullmatch(r"\d{1,6}", str(lines)) and 1 <= int(lines) <= MOST_LINES:
        return int(lines)
    raise AskedError(f"lines is {lines}; say how many, from 1 to {MOST_LINES}, as in -e lines=200")


def _since(since: str) -> str:
    if since == "" or MOMENT.fullmatch(since):
        return since.replace("T", " ")
    if found := SPAN.fullmatch(since):
        return f"-{found[1]}{found[2]}"
    raise AskedError(
        f"since is {since}; say a span or a time of the machines, as in -e since=2h, -e since=14:30 or "
        "-e since='2026-11-22 14:30'"
    )


def _priority(priority: str) -> int:
    name = ALSO.get(priority.lower(), priority.lower())
    if name in PRIORITIES:
        return PRIORITIES.index(name)
    if re.fullmatch("[0-7]", priority):
        return int(priority)
    raise AskedError(f"priority is {priority}; use one of: {', '.join(PRIORITIES)}, as in -e priority=err")


def _request_id(request_id: str) -> str:
    if request_id == "" or REQUEST_ID.fullmatch(request_id):
        return request_id
    raise AskedError(
        f"request_id is {request_id}; it has up to 200 letters, digits and . _ : / + = -, and no others"
    )
