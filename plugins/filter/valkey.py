"""Filters of role valkey: what its templates print but should not compute."""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

# What a server stores is an unsalted hash: it must be hopeless to guess.
SHORTEST = 20


def valkey_passwords(apps: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the secret `cache_password` of each application that has one, by name."""
    secrets = {name: app.get("secrets") or {} for name, app in apps.items()}
    return {name: held["cache_password"] for name, held in secrets.items() if "cache_password" in held}


def valkey_weak_passwords(passwords: Mapping[str, str]) -> list[str]:
    """Return whose password is short, or holds what no address and no file of users can hold."""
    return sorted(name for name, password in passwords.items() if _is_weak(str(password)))


def _is_weak(password: str) -> bool:
    short = len(password) < SHORTEST or len(set(password)) < 5
    return short or not re.fullmatch(r"[\x21-\x7e]+", password)


def valkey_entries(
    users: list[Mapping[str, Any]], passwords: Mapping[str, str], rules: str
) -> list[dict[str, str]]:
    """Return each user with the hash of its password and what it may do: everything, to keys of its own."""
    return [
        {
            "name": user["name"],
            "hash": hashlib.sha256(str(passwords[user["name"]]).encode()).hexdigest(),
            "rules": " ".join(
                [f"~{user['name']}:* resetchannels &{user['name']}:*", rules, user.get("rules") or ""]
            ).strip(),
        }
        for user in users
    ]


def valkey_literal(value: Any) -> str:
    """Return a value as the server's configuration wants it; several words stay several."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    if "\n" in text:
        raise AnsibleFilterError(f"valkey_settings: {text!r} holds a line break; write it in one line")
    return text or '""'


class FilterModule:
    """Offer the filters to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by the name that templates use."""
        return {
            "valkey_entries": valkey_entries,
            "valkey_literal": valkey_literal,
            "valkey_passwords": valkey_passwords,
            "valkey_weak_passwords": valkey_weak_passwords,
        }
