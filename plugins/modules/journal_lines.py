#!/usr/bin/python
"""Read an application's last lines from this machine's journal."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: journal_lines
short_description: Read an application's last lines from this machine's journal
description:
  - Whatever the release, the process or the timer that said them. Changes nothing.
  - A line that is JSON with a C(level) counts as that: the journal takes all that is printed as C(info).
author: fastapi-metal
options:
  identifier:
    description: What the lines are found by, the application's name.
    type: str
    required: true
  lines:
    description: How many, from the newest on.
    type: int
    default: 100
  since:
    description: Nothing older than this, in the words of C(journalctl).
    type: str
    default: ""
  priority:
    description: Nothing less serious than this, from 0 (emerg) to 7 (debug).
    type: int
    default: 7
  request_id:
    description: Only lines of this request.
    type: str
    default: ""
  directory:
    description: Where to read, if not in this machine's own journal.
    type: path
"""

EXAMPLES = r"""
- name: Read the last errors
  journal_lines: {identifier: shop, lines: 20, priority: 3}
"""

RETURN = r"""
lines:
  description: The lines, oldest first, each with time (microseconds since 1970), priority, unit and text.
  returned: always
  type: list
"""

LEVELS = {
    **dict.fromkeys(("critical", "fatal"), 2),
    **dict.fromkeys(("error", "err"), 3),
    **dict.fromkeys(("warning", "warn"), 4),
    "notice": 5,
    "info": 6,
    **dict.fromkeys(("debug", "trace"), 7),
}
FIELDS = "MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,_HOSTNAME"


def command(params: dict[str, Any]) -> list[str]:
    """Return the call of journalctl: everything that it can leave out by itself, the newest first."""
    argv = ["journalctl", "--identifier", params["identifier"], "--reverse", "--all", "--quiet", "--no-pager"]
    argv += ["--output=json", f"--output-fields={FIELDS}"]
    if params["since"]:
        argv += ["--since", params["since"]]
    if params["directory"]:
        argv += ["--directory", params["directory"]]
    if params["request_id"]:
        argv += ["--grep", "".join(f"[{character}]" for character in params["request_id"])]
    return argv


def text(message: Any) -> str:
    """Return what was said; the journal shows bytes that are no UTF-8 as numbers."""
    if isinstance(message, list):
        return bytes(message).decode(errors="replace")
    return "" if message is None else str(message)


def row(record: dict[str, Any]) -> dict[str, Any]:
    """Return one line."""
    said = text(record.get("MESSAGE"))
    priority = int(record.get("PRIORITY", 6))
    level = level_of(said)
    return {
        "time": int(record["__REALTIME_TIMESTAMP"]),
        "priority": priority if level is None else level,
        "unit": str(record.get("_SYSTEMD_UNIT") or record.get("UNIT") or ""),
        "hostname": str(record.get("_HOSTNAME", "")),
        "text": said,
    }


def level_of(said: str) -> int | None:
    """Return the level that a line of JSON names."""
    if not said.startswith("{"):
        return None
    try:
        found = json.loads(said)
    except ValueError:
        return None
    return LEVELS.get(str(found.get("level", "")).lower()) if isinstance(found, dict) else None


def chosen(records: Iterator[str], params: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the newest lines that are asked for, oldest first; reads no more than it needs."""
    found: list[dict[str, Any]] = []
    for record in records:
        if len(found) == params["lines"]:
            break
        line = row(json.loads(record))
        if line["priority"] <= params["priority"]:
            found.append(line)
    return found[::-1]


def main() -> None:
    """Answer."""
    module = AnsibleModule(
        argument_spec={
            "identifier": {"type": "str", "required": True},
            "lines": {"type": "int", "default": 100},
            "since": {"type": "str", "default": ""},
            "priority": {"type": "int", "default": 7},
            "request_id": {"type": "str", "default": ""},
            "directory": {"type": "path"},
        },
        supports_check_mode=True,
    )
    with subprocess.Popen(
        command(module.params), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as reading:
        assert reading.stdout
        assert reading.stderr
        lines = chosen(iter(reading.stdout), module.params)
        ended = reading.poll()
        reading.terminate()
        problem = reading.stderr.read().strip()
    # With a --grep that finds nothing journalctl ends with 1 and says nothing.
    if ended and problem:
        module.fail_json(msg=f"the journal cannot be read: {problem.splitlines()[-1]}")
    module.exit_json(changed=False, lines=lines)


if __name__ == "__main__":
    main()
