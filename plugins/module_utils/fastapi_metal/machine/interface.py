"""The seam between the engine and the machine: everything it asks of systemd, processes and sockets.

Files are not behind it: tests give the engine a plain directory as root and a fake of this.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class DatabaseError(Exception):
    """A database refused, or cannot be reached; the message is its own, and so is the code, if it has one."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_refusal(self) -> bool:
        """Tell whether it is name or password that it does not take."""
        return self.code in {"28000", "28P01"}


@dataclass(frozen=True)
class Output:
    """How a command ended."""

    status: int
    text: str


@dataclass(frozen=True)
class UnitState:
    """What systemd says about a unit."""

    active: str = "inactive"
    main_pid: int = 0
    restarts: int = 0
    result: str = "success"
    exit_status: int = 0

    @property
    def alive(self) -> bool:
        """Whether it runs or is about to."""
        return self.active in {"active", "activating", "reloading", "deactivating"}


@dataclass(frozen=True)
class Answer:
    """What came back from a probe: a status, or why there is none."""

    status: int | None
    error: str = ""

    def __str__(self) -> str:
        return f"status {self.status}" if self.status is not None else self.error


@dataclass(frozen=True)
class Probe:
    """A request as Nginx would send it."""

    socket: Path
    host: str
    path: str
    timeout: float


@dataclass(frozen=True)
class OneOff:
    """A command that runs once, in a release, with the release's rights and limits."""

    unit: str
    properties: list[str]
    script: Path
    timeout: int
    env: dict[str, str] = field(default_factory=dict)
    # Its output is returned instead of being written to the journal.
    capture: bool = False


@dataclass(frozen=True)
class Resources:
    """What a machine has; memory in MiB."""

    cores: int
    memory: int
    architecture: str
    python: str = field(default="")


class Session(Protocol):
    """A session with a database; it ends, and lets go of what it holds, with this process."""

    def rows(self, query: str) -> list[list[str]]:
        """Return what a query finds."""

    def close(self) -> None:
        """End it."""


class Machine(Protocol):
    """What the engine asks of a machine."""

    def resources(self, python: str) -> Resources:
        """Return cores, memory, architecture, and the version of the interpreter at `python`."""

    def reload(self) -> None:
        """Let systemd read its units again."""

    def start(self, units: list[str], wait: bool) -> None:
        """Start units."""

    def stop(self, units: list[str]) -> None:
        """Stop units in one call and wait until they have."""

    def reset_failed(self, units: list[str]) -> None:
        """Let systemd forget that units had failed."""

    def enable(self, unit: str) -> None:
        """Let a unit start at boot, durably."""

    def disable(self, unit: str) -> None:
        """Let a unit not start at boot."""

    def is_enabled(self, unit: str) -> bool:
        """Tell whether a unit starts at boot."""

    def state(self, unit: str) -> UnitState:
        """Return a unit's state."""

    def enabled(self, app: str) -> set[str]:
        """Return the releases of an application that start at boot."""

    def loaded(self, app: str) -> set[str]:
        """Return the releases of an application of which systemd holds a unit, also a failed one."""

    def journal(self, unit: str, lines: int, identifier: str | None = None) -> list[str]:
        """Return the last lines of a unit's journal, or what only its processes wrote."""

    def run_once(self, command: OneOff, look: Callable[[], None] | None = None) -> Output:
        """Run a one-off command to its end, calling `look` now and then; end it if that raises."""

    def jobs_alive(self, app: str) -> set[str]:
        """Return the units of processes and timers of an application that run, whatever the release."""

    def jobs_enabled(self, app: str) -> set[str]:
        """Return those that start at boot."""

    def wrong_schedule(self, text: str) -> str | None:
        """Return what is wrong with a time of systemd's calendar, or nothing."""

    def encrypt(self, name: str, value: bytes) -> bytes | None:
        """Return a secret as a credential that only this machine decrypts; None where it cannot."""

    def decrypt(self, name: str, value: bytes) -> bytes | None:
        """Return the secret in such a credential; None where it cannot."""

    def stamp(self, path: Path, age: int) -> None:
        """Leave an empty file of this age, in nanoseconds since 1970."""

    def one_offs(self, app: str) -> set[str]:
        """Return the one-off commands of an application that are running."""

    def session(self, url: str, user: str, password: str, name: str) -> Session:
        """Open a session with a database as this user, under a name that others see there."""

    def run(self, argv: list[str], directory: Path, env: dict[str, str]) -> Output:
        """Run a command as root."""

    def sync(self) -> None:
        """Make everything that was written durable."""

    def give(self, path: Path, user: str, group: str) -> bool:
        """Set a path's owner and return whether it was another."""

    def probe(self, probe: Probe) -> Answer:
        """Ask a release on its own socket."""

    def children(self, pid: int) -> frozenset[int]:
        """Return the processes that a process has started."""

    def connections(self, socket: Path) -> int:
        """Return how many connections to a socket are queued or in flight."""

    def home(self, user: str) -> str | None:
        """Return a user's home directory, or nothing if there is no such user."""

    def has_group(self, name: str) -> bool:
        """Tell whether there is a group of that name."""

    def make_user(self, name: str, home: str) -> bool:
        """Make a system user that nobody can log in as, and a group of its name; return that it is new."""

    def remove_user(self, name: str) -> bool:
        """Remove a system user and return whether there was one."""

    def available_memory(self) -> int:
        """Return MiB that programs can still get without swapping."""

    def used_memory(self, unit: str) -> int | None:
        """Return MiB that the processes of a unit hold together, each page once, or nothing if unknown."""

    def free_disk(self, path: Path) -> int:
        """Return MiB that are free where a path lies or would lie."""

    def clock(self) -> float:
        """Return seconds that only go forward."""

    def wall(self) -> float:
        """Return the time of day in seconds, also after a boot."""

    def now(self) -> str:
        """Return the time of day as 20261121T221000, UTC."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def log(self, message: str) -> None:
        """Write a line to the journal."""
