"""Who this run is, as seen on the controller: the same for all hosts and steps of one ansible-playbook."""

import functools
import getpass
import multiprocessing
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROC = Path("/proc")


@dataclass(frozen=True)
class Run:
    """One ansible-playbook."""

    id: str
    owner: str
    # Where a process id means something: this boot of this host, and this namespace of processes.
    place: str
    pid: int


def started(pid: int) -> str:
    """Return when a process began, in the kernel's count; empty where there is none or nobody can tell."""
    try:
        # The name, in parentheses, may hold spaces; the 22nd field of all is the 20th after it.
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def place() -> str:
    """Return what tells one set of process ids from another; empty where nobody can tell."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


@functools.cache
def this_run() -> Run:
    """Return the run that asks. Each task is a process of its own; their parent is the run."""
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent and parent.pid else os.getpid()
    host = socket.gethostname()
    owner = f"{getpass.getuser()}@{host}"
    return Run(id=f"{host}-{place()[:8]}-{pid}-{started(pid)}", owner=owner, place=place(), pid=pid)


def is_over(lease: dict[str, Any]) -> bool:
    """Tell whether the run that holds a lease was one of this controller's and has ended."""
    if not lease.get("place") or lease["place"] != place():
        return False
    return not str(lease["run"]).endswith(f"-{lease['pid']}-{started(int(lease['pid'])) or 'gone'}")
