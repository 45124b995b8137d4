"""What is remembered about a lab between two commands, in its lab.json."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab import paths
from lab.errors import LabError
from lab.lock import held
from lab.machines import Machine
from lab.process import ProcessId, ancestor_running, boot_id, identify
from lab.slots import Slot
from lab.steps import note
from lab.supervise import write


@dataclass
class Lab:
    """One lab, up or being made."""

    name: str
    slot: Slot
    mtu: int
    machines: list[Machine]
    cgroups: list[Path]
    boot_id: str
    project: str
    owner: ProcessId | None = None
    complete: bool = False
    apt: dict[str, Any] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """Everything of this lab on disk."""
        return paths.lab(self.key)

    @property
    def key(self) -> str:
        """The lab's name and its checkout's."""
        return paths.key(self.name, self.project)

    @property
    def sockets(self) -> Path:
        """Connections that Ansible and testinfra keep open, one per machine, named by its address."""
        return paths.RUN / self.slot.bridge

    def machine_directory(self, machine: Machine) -> Path:
        """Everything of one machine on disk."""
        return self.directory / "machines" / machine.name

    def index(self, name: str) -> int:
        """Return the place of a machine in the list; its address follows from it."""
        for index, machine in enumerate(self.machines):
            if machine.name == name:
                return index
        names = ", ".join(machine.name for machine in self.machines)
        raise LabError(f"the lab '{self.name}' has no machine '{name}': it has {names}")

    def machine(self, name: str) -> Machine:
        """Return a machine by its name."""
        return self.machines[self.index(name)]

    def address(self, name: str) -> str:
        """Return a machine's IPv4 address."""
        return self.slot.address(self.index(name))

    def address6(self, name: str) -> str:
        """Return a machine's IPv6 address."""
        return self.slot.address6(self.index(name))

    def dead(self) -> str | None:
        """Say why nobody needs this lab any more, or None while somebody may."""
        if self.boot_id != boot_id():
            return "the host was restarted since"
        if not self.complete:
            return "it was never finished"
        if not Path(self.project).is_dir():
            return f"its checkout {self.project} is gone"
        if self.owner is not None and not self.owner.alive():
            return f"its owner, process {self.owner.pid}, is gone"
        return None

    def save(self) -> None:
        """Write the state in one step."""
        document = asdict(self)
        document["slot"] = self.slot.number
        document["cgroups"] = [str(path) for path in self.cgroups]
        self.directory.mkdir(parents=True, exist_ok=True)
        write(self.directory / "lab.json", json.dumps(document, indent=2) + "\n")


def load(key: str) -> Lab | None:
    """Return a lab's state, or None if nothing of it was made yet."""
    path = paths.lab(key) / "lab.json"
    try:
        document = json.loads(path.read_text())
        document["slot"] = Slot(document["slot"])
        document["machines"] = [Machine(**entry) for entry in document["machines"]]
        document["cgroups"] = [Path(directory) for directory in document["cgroups"]]
        document["owner"] = ProcessId(**document["owner"]) if document["owner"] else None
        return Lab(**document)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(
            f"{path} was written by another version of the lab ({error!r}): take that lab down with "
            "the checkout that made it"
        ) from None


def claimed_slots() -> list[int]:
    """Return the slots of every lab, also of those that are only being made."""
    found = []
    for key in all_keys():
        # A state that cannot be read has its bridge up, if anything, and that is looked at as well.
        with suppress(LabError):
            lab = load(key)
            if lab is not None:
                found.append(lab.slot.number)
    return found


def running(name: str) -> Lab:
    """Return a lab that is up; otherwise say how to get one."""
    found = load(paths.key(name))
    if found is None or not found.complete or found.boot_id != boot_id():
        raise LabError(f"no lab '{name}' is up: `bin/lab up {name} --machines FILE` makes one")
    return found


def all_keys() -> list[str]:
    """Return every lab of the host that has a directory, whole or not, of any checkout."""
    directory = paths.state() / "labs"
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Be the only command that changes this lab."""
    lock = paths.lock(paths.key(name))
    with held(lock, lambda: note(f"another command works on the lab '{name}': waiting for it")):
        yield


def owner_from_environment() -> ProcessId | None:
    """Return the process that LAB_OWNER_PID names, or else the `molecule test` that this runs in."""
    text = os.environ.get("LAB_OWNER_PID", "")
    if not text:
        tester = ancestor_running("molecule", "test", unless="--destroy=never")
        return None if tester is None else identify(tester)
    owner = identify(int(text)) if text.isdigit() else None
    if owner is None:
        raise LabError(f"LAB_OWNER_PID={text} is not a running process: unset it, or give the number of one")
    return owner
