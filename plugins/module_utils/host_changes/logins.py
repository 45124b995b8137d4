"""Who can log in to this machine with a key. Standard library only, Python 3.11 and later."""

from __future__ import annotations

import pwd
import re
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NO_SHELLS = ("nologin", "false", "sync")
SHADOW = Path("/etc/shadow")
KEY = re.compile(r"(?:^|\s)((?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+)\s+[A-Za-z0-9+/=]{40,}", re.IGNORECASE)
# A comment, or options that leave nothing but one command: the key by which certificates are brought.
FORCED = re.compile(r'^\s*#|^restrict,\S*\bcommand="', re.IGNORECASE)
DAY = 86400


def settings(printed: str) -> dict[str, str]:
    """Return what `sshd -T` printed, by option."""
    lines = (line.partition(" ") for line in printed.splitlines())
    return {name: value.strip() for name, _space, value in lines if name}


def asked() -> dict[str, str]:
    """Return the settings that sshd has now; nothing where it does not say them."""
    try:
        done = subprocess.run(["/usr/sbin/sshd", "-T"], capture_output=True, text=True, check=False)
    except OSError:
        return {}
    return settings(done.stdout)


def keys(text: str) -> int:
    """Return with how many keys of a file one could log in; one that runs a certain program is no way in."""
    return sum(bool(KEY.search(line)) and not FORCED.search(line) for line in text.splitlines())


def expired(shadow: str, today: int) -> set[str]:
    """Return the users whose account has ended."""
    rows = (line.split(":") for line in shadow.splitlines())
    return {row[0] for row in rows if len(row) > 7 and row[7].isdigit() and int(row[7]) < today}


def places(pattern: str, home: str, user: str) -> list[Path]:
    """Return the files in which sshd looks for a user's keys."""
    found = []
    for word in pattern.split():
        if word == "none":
            continue
        path = word.replace("%h", home).replace("%u", user).replace("%%", "%")
        found.append(Path(path) if path.startswith("/") else Path(home, path))
    return found


def _count(paths: Iterable[Path]) -> int:
    count = 0
    for path in paths:
        try:
            count += keys(path.read_text(errors="replace"))
        except OSError:
            continue
    return count


def ways(sshd: dict[str, str], everybody: Iterable[pwd.struct_passwd], shadow: str) -> dict[str, Any]:
    """Return who could log in with a key, and whether sshd knows other ways than files."""
    gone = expired(shadow, int(time.time() // DAY))
    pattern = sshd.get("authorizedkeysfile", ".ssh/authorized_keys")
    logins = [
        user.pw_name
        for user in everybody
        if user.pw_name not in gone
        and user.pw_shell.rpartition("/")[2] not in NO_SHELLS
        and _count(places(pattern, user.pw_dir, user.pw_name))
    ]
    elsewhere = [sshd.get(name, "none") for name in ("authorizedkeyscommand", "trustedusercakeys")]
    return {"logins": logins, "elsewhere": any(value != "none" for value in elsewhere)}


def read() -> dict[str, Any]:
    """Return what this machine says, with the names of all users."""
    try:
        shadow = SHADOW.read_text()
    except OSError:
        shadow = ""
    everybody = pwd.getpwall()
    return {**ways(asked(), everybody, shadow), "users": [user.pw_name for user in everybody]}
