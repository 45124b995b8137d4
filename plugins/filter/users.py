"""Filter of role users: what is wrong with the administrators of the inventory."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_FILE = "group_vars/all/users.yml"
_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_KEY = re.compile(r"(?:\S.* )?(?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]{40,}={0,2}(?: .*)?")
_PRIVATE = "PRIVATE KEY"


def users_problems(
    admins: Iterable[Mapping[str, Any]],
    removed: Iterable[str],
    sudo: Iterable[Mapping[str, Any]],
    there: Iterable[str],
    me: str,
) -> list[str]:
    """Return a sentence for each mistake; `there` are the machine's users, `me` is who Ansible is there."""
    admins, known, found = list(admins), set(there), []
    for admin in admins:
        found += _admin(admin)
    known |= {admin["name"] for admin in admins}
    for name in removed:
        if name == me:
            found.append(
                f"users_removed names {name}, as whom Ansible logs in: log in as somebody else first "
                "(ansible_user in group_vars/all/connection.yml)."
            )
        if name == "root" or name in {admin["name"] for admin in admins}:
            found.append(f"users_removed names {name}, who is to stay: take the name out of it in {_FILE}.")
    gone = set(removed)
    for entry in sudo:
        if entry["user"] not in known - gone:
            found.append(
                f"users_sudo names {entry['user']}, whom neither users_admins nor the machine knows: correct "
                f"the name in {_FILE}, or make the user with users_admins."
            )
    return found


def _admin(admin: Mapping[str, Any]) -> list[str]:
    name = str(admin["name"])
    found = []
    if not _NAME.fullmatch(name):
        found.append(f"users_admins: '{name}' is no name of a user; write it as `alice`, in {_FILE}.")
    if not admin.get("keys"):
        found.append(
            f"users_admins: {name} has no keys and could not log in: add `keys: [ssh-ed25519 AAAA…]`, a line "
            f"of ~/.ssh/id_ed25519.pub, in {_FILE}."
        )
    for key in admin.get("keys") or []:
        if _PRIVATE in key:
            found.append(
                f"users_admins: {name} has a private key in `keys`: put the line of the .pub file there."
            )
        elif not _KEY.fullmatch(key.strip()):
            found.append(
                f"users_admins: '{key[:20]}…' of {name} is no public key: write a line as in "
                "~/.ssh/id_ed25519.pub, `ssh-ed25519 AAAA… alice`."
            )
    return found


class FilterModule:
    """Offer the filter to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by the name that the role uses."""
        return {"users_problems": users_problems}
