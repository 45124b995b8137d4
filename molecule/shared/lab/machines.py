"""Read and check the file that lists a lab's machines."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab.errors import LabError

SUITES = ("trixie", "bookworm")
MOST = 200  # addresses .11 to .210 of the slot's /24
# Not longer than this, so that no interface name on the host is cut (15 letters).
NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")
GROUP = re.compile(r"[a-z][a-z0-9_]*")
DOMAIN = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
MEMORY = re.compile(r"([1-9][0-9]*)([MG])")
SMALLEST = 128 << 20  # below this systemd itself does not come up


@dataclass(frozen=True)
class Machine:
    """One machine as the user describes it."""

    name: str
    suite: str = "trixie"
    groups: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    memory: str | None = None
    snapshot: str | None = None
    processor: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as it is kept in the lab's state."""
        return asdict(self)


def memory_bytes(text: str) -> int:
    """Turn `3G` or `512M` into bytes."""
    match = MEMORY.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not an amount of memory: write 3G or 512M")
    size = int(match[1]) << (30 if match[2] == "G" else 20)
    if size < SMALLEST:
        raise ValueError(f"'{text}' is too little for a machine to boot: give 128M or more")
    return size


def load(path: Path) -> list[Machine]:
    """Return the machines of a file; anything wrong is one sentence with file, key and a value that works."""
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise LabError(f"{path} does not exist: --machines wants a YAML list like `- name: web1`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise LabError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    return parse(document, str(path))


def parse(document: object, where: str) -> list[Machine]:
    """Check a list of machines that was read from `where`."""
    if isinstance(document, dict) and "platforms" in document:
        document = document["platforms"]
    if not isinstance(document, list) or not document:
        raise LabError(f"{where} must hold a list of machines, for example: - name: web1")
    if len(document) > MOST:
        raise LabError(f"{where} lists {len(document)} machines: a lab has room for {MOST}")
    machines = [_machine(entry, f"{where}, machine {number}") for number, entry in enumerate(document, 1)]
    for seen, machine in enumerate(machines):
        if machine.name in (other.name for other in machines[:seen]):
            raise LabError(f"{where}: two machines have the name '{machine.name}': give one of them another")
    return machines


def _machine(entry: object, where: str) -> Machine:
    if not isinstance(entry, dict):
        raise LabError(f"{where} is not a mapping: write - name: web1")
    for key in entry:
        if key not in CHECKS:
            raise LabError(f"{where}: unknown key '{key}': use one of {', '.join(CHECKS)}")
    if "name" not in entry:
        raise LabError(f"{where} has no name: write name: web1")
    values: dict[str, Any] = {}
    for key, value in entry.items():
        try:
            CHECKS[key](value)
        except ValueError as error:
            raise LabError(f"{where}, key {key}: {error}") from None
        values[key] = value
    return Machine(**values)


def _text(pattern: re.Pattern[str], example: str) -> Callable[[object], None]:
    def check(value: object) -> None:
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise ValueError(f"{value!r} does not work here: {example} would")

    return check


def _list_of(pattern: re.Pattern[str], example: str) -> Callable[[object], None]:
    def check(value: object) -> None:
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is not a list: [{example}] would work")
        for item in value:
            _text(pattern, example)(item)

    return check


def _suite(value: object) -> None:
    if value not in SUITES:
        raise ValueError(f"{value!r} is not a supported Debian: use {' or '.join(SUITES)}")


def _memory(value: object) -> None:
    if value is not None:
        memory_bytes(str(value))


def _processor(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no number of a processor: 0 would work")


CHECKS: dict[str, Callable[[object], None]] = {
    "name": _text(NAME, "web1"),
    "suite": _suite,
    "groups": _list_of(GROUP, "web"),
    "names": _list_of(DOMAIN, "catalog.lab.test"),
    "memory": _memory,
    "processor": _processor,
    "snapshot": _text(re.compile(r"[a-z0-9][a-z0-9._-]{0,60}"), "converged"),
}
