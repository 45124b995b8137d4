"""Name a process so that a later one with the same number is not taken for it."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessId:
    """A process: its number and when it began (clock ticks since the host booted)."""

    pid: int
    began: int

    def alive(self) -> bool:
        """Tell whether this very process still runs."""
        return began_at(self.pid) == self.began


def began_at(pid: int) -> int | None:
    """Return when a process began, or None if there is none or it is only a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may hold spaces and parentheses itself.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def identify(pid: int) -> ProcessId | None:
    """Return the identity of a running process."""
    began = began_at(pid)
    return None if began is None else ProcessId(pid, began)


def boot_id() -> str:
    """Return what changes when the host itself restarts."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def parent(pid: int) -> int:
    """Return the number of a process's parent, 0 at the end of the line."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(text.rpartition(")")[2].split()[1])


def ancestor_running(program: str, argument: str, unless: str) -> int | None:
    """Return the nearest ancestor that is this program with this argument, and without the other one."""
    pid = os.getppid()
    while pid > 1:
        try:
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            return None
        if argument in argv and any(Path(part).name == program for part in argv[:3]):
            return None if unless in argv else pid
        pid = parent(pid)
    return None
