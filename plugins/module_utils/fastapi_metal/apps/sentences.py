"""How a refusal is put into words: one sentence with variable, file and a value that works."""

import json
from typing import Any

from .specs import plain

FILE = "group_vars/all/apps.yml"


def sentence(variable: str, wrong: str, way_out: str) -> str:
    """Return the one sentence that every refusal has: what, where, and what would work."""
    return f"`{variable}` in {FILE} {wrong}; {way_out}."


def shown(value: Any) -> str:
    """Return a value as a user would write it in YAML, on one line."""
    return json.dumps(plain(value), ensure_ascii=False)
