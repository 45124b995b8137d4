"""The lines of several machines as one text."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from .asked import PRIORITIES

# What stands in its own place, or says nothing to a reader.
PLACED = {"time", "level", "message", "msg", "event"}


def merged(lines: Mapping[str, Iterable[Mapping[str, Any]]], most: int) -> list[str]:
    """Return the newest lines of all machines, oldest first, each with its machine's name."""
    every = sorted(
        (
            (line["time"], host, number, line)
            for host, said in lines.items()
            for number, line in enumerate(said)
        ),
        key=lambda entry: entry[:3],
    )[-most:]
    width = max((len(host) for _, host, _, _ in every), default=0)
    return [f"{moment(time)}  {host:<{width}}  {told(line)}" for time, host, _, line in every]


def moment(microseconds: int) -> str:
    """Return a time in UTC, as every machine's journal has it."""
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def told(line: Mapping[str, Any]) -> str:
    """Return a line for a reader: of JSON, level and message first and then the rest."""
    level, text = PRIORITIES[line["priority"]], line["text"]
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, dict):
            message = next((str(found[name]) for name in ("message", "msg", "event") if name in found), "")
            rest = "  ".join(f"{name}={_value(value)}" for name, value in found.items() if name not in PLACED)
            text = "  ".join(filter(None, (message, rest)))
    return f"{level:<7}  {text}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
