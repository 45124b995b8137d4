"""The SSH connection that a task came by, as the machine sees it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Connection(NamedTuple):
    """Who came from where; no two connections that are open have the same words."""

    client: str
    client_port: int
    server_port: int
    user: str

    def words(self) -> str:
        """Return what tells it from every other one."""
        return f"{self.client} {self.client_port}"


def current(proc: Path = PROC, process: int | None = None) -> Connection | None:
    """Return the connection of this task, or None for one that came by another way.

    sudo takes `SSH_CONNECTION` out of the environment, so the processes that led here are looked at. The
    first of them, the shell that sshd began, is the user's own; sudo itself is root's.
    """
    number, found = os.getpid() if process is None else process, None
    while number > 1:
        found = _of(proc / str(number)) or found
        number = _parent(proc / str(number))
    return found


def _of(process: Path) -> Connection | None:
    try:
        words = (process / "environ").read_bytes().split(b"\0")
        owner = _owner(process)
    except OSError:
        return None
    for word in words:
        if word.startswith(b"SSH_CONNECTION="):
            parts = word.decode(errors="replace").partition("=")[2].split()
            if len(parts) == 4 and parts[1].isdigit() and parts[3].isdigit():
                # An address of a link carries the interface after a percent sign.
                return Connection(parts[0].partition("%")[0], int(parts[1]), int(parts[3]), owner)
    return None


def _parent(process: Path) -> int:
    try:
        status = (process / "status").read_text(errors="replace")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:")), 0)


def _owner(process: Path) -> str:
    number = process.stat().st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
