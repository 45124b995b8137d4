"""What systemd knows of the units that matter: whether they are up, their restarts, what they take."""

import contextlib
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .config import Config
from .text import Figures

PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "Result",
    "NRestarts",
    "MemoryCurrent",
    "MemoryMax",
    "CPUUsageNSec",
    "TasksCurrent",
    "ControlGroup",
)
# systemd prints the largest number where there is none, or words.
NONE = {"[not set]", "infinity", str(2**64 - 1), ""}
FIGURES = (
    ("unit_active", "1 while systemd says that the unit is active.", "gauge"),
    ("unit_restarts_total", "Restarts by systemd since the unit was loaded.", "counter"),
    ("unit_start_limit_hit", "1 when systemd has given up to start the unit.", "gauge"),
    ("unit_memory_bytes", "Memory of the unit's control group.", "gauge"),
    ("unit_memory_limit_bytes", "What the unit may take, where there is a limit.", "gauge"),
    ("unit_cpu_seconds_total", "Processor time of the unit's control group.", "counter"),
    ("unit_processes", "Tasks of the unit's control group.", "gauge"),
    ("unit_memory_pss_bytes", "Memory of the unit's processes, what they share divided among them.", "gauge"),
    ("unit_process_memory_pss_max_bytes", "The same of its largest process.", "gauge"),
    ("unit_open_files", "Open files of the process that is nearest to its limit.", "gauge"),
    ("unit_open_files_limit", "That limit.", "gauge"),
    ("unit_failed", "1 for each unit of the machine that systemd calls failed.", "gauge"),
    ("units_failed", "How many units systemd calls failed.", "gauge"),
)


@dataclass(frozen=True)
class Named:
    """A unit by the labels of its figures."""

    unit: str
    app: str = ""
    release: str = ""

    def labels(self) -> dict[str, str]:
        """Return the labels."""
        return {"unit": self.unit, "app": self.app, "release": self.release}


def named(identity: str, apps: Iterable[str]) -> Named:
    """Return what a unit is called: a release's id is a label and no part of the name."""
    name = identity.removesuffix(".service")
    base, at, instance = name.partition("@")
    app = base.partition(".")[0]
    if at and app in set(apps):
        return Named(base, app, instance)
    return Named(name)


def show(patterns: Iterable[str]) -> str:
    """Ask systemd about all units at once."""
    command = ["systemctl", "show", f"--property={','.join(PROPERTIES)}", "--", *patterns]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout


def failed_units() -> list[str]:
    """Return the units that systemd calls failed."""
    command = ["systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--all"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    return [line.split()[0] for line in listed.splitlines() if line.split()]


def blocks(shown: str) -> Iterator[dict[str, str]]:
    """Return the properties of each unit that is there."""
    for block in shown.split("\n\n"):
        found = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if found.get("LoadState") == "loaded":
            yield found


def processes(config: Config, group: str) -> list[Path]:
    """Return the /proc directories of a control group's processes, under both versions of control groups."""
    if not group:
        return []
    pids: set[str] = set()
    for place in ("sys/fs/cgroup", "sys/fs/cgroup/systemd"):
        top = config.root / place / group.lstrip("/")
        for path in (top, *sorted(top.glob("*/"))):
            with contextlib.suppress(OSError):
                pids.update((path / "cgroup.procs").read_text().split())
    return [config.root / "proc" / pid for pid in sorted(pids, key=int)]


def pss(process: Path) -> int:
    """Return a process's share of memory in bytes."""
    for line in (process / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def open_files(process: Path) -> tuple[int, int]:
    """Return how many files a process has open, and how many it may."""
    limit = 0
    for line in (process / "limits").read_text().splitlines():
        if line.startswith("Max open files"):
            limit = int(line.split()[3])
    return sum(1 for _ in (process / "fd").iterdir()), limit


def number(found: dict[str, str], name: str) -> float | None:
    """Return a property that is a number."""
    value = found.get(name, "")
    return None if value in NONE else float(value)


def measure_processes(config: Config, figures: Figures, group: str, who: Named) -> None:
    """Add what only the processes themselves know."""
    shares: list[int] = []
    fullest: tuple[int, int] | None = None
    for process in processes(config, group):
        # It may have ended meanwhile.
        with contextlib.suppress(OSError, ValueError, IndexError):
            used, limit = open_files(process)
            if limit and (fullest is None or used / limit > fullest[0] / fullest[1]):
                fullest = (used, limit)
            if who.app:
                shares.append(pss(process))
    if shares:
        figures.add("unit_memory_pss_bytes", sum(shares), **who.labels())
        figures.add("unit_process_memory_pss_max_bytes", max(shares), **who.labels())
    if fullest:
        figures.add("unit_open_files", fullest[0], **who.labels())
        figures.add("unit_open_files_limit", fullest[1], **who.labels())


def live(config: Config, app: str) -> str:
    """Return the release that gets an application's traffic."""
    try:
        return (config.home(app) / "current").readlink().name
    except OSError:
        return ""


def collect(config: Config, shown: str | None = None, failed: list[str] | None = None) -> Figures:
    """Return the figures of all units."""
    figures = Figures()
    for name, about, kind in FIGURES:
        figures.describe(name, about, kind)
    apps = [app.name for app in config.apps]
    patterns = [*config.units, *(f"{app}{kind}@*.service" for app in apps for kind in ("", ".*"))]
    # systemd forgets a unit that is stopped, and so a pattern does not find it; its name does.
    patterns += [f"{app}@{release}.service" for app in apps if (release := live(config, app))]
    units = {found["Id"]: found for found in blocks(show(patterns) if shown is None else shown)}
    for found in units.values():
        who = named(found["Id"], apps)
        active = found["ActiveState"] == "active"
        is_live = bool(who.app) and who.unit == who.app and who.release == live(config, who.app)
        figures.add("unit_active", active, live="1" if is_live else "0", **who.labels())
        figures.add("unit_restarts_total", number(found, "NRestarts") or 0, **who.labels())
        # A release is restarted always, so one that failed was given up.
        given_up = found["ActiveState"] == "failed" and (
            found["Result"] == "start-limit-hit" or bool(who.app)
        )
        figures.add("unit_start_limit_hit", given_up, **who.labels())
        for name, property_, scale in (
            ("unit_memory_bytes", "MemoryCurrent", 1.0),
            ("unit_memory_limit_bytes", "MemoryMax", 1.0),
            ("unit_cpu_seconds_total", "CPUUsageNSec", 1e-9),
            ("unit_processes", "TasksCurrent", 1.0),
        ):
            value = number(found, property_)
            if value is not None:
                figures.add(name, value * scale, **who.labels())
        if active:
            measure_processes(config, figures, found.get("ControlGroup", ""), who)
    names = sorted({named(unit, apps).unit for unit in (failed_units() if failed is None else failed)})
    for name in names:
        figures.add("unit_failed", 1, unit=name)
    figures.add("units_failed", len(names))
    return figures
