"""A cgroup per machine: without it two machines started from one shell would kill each other's units.

Everything a lab starts is in the lab's cgroup, so that nothing of it can be missed when it is taken down.
"""

import os
import signal
import time
from pathlib import Path

from lab.errors import LabError
from lab.mounts import all_mounts

# Of cgroup v1: systemd's own tree, and the controllers whose limits work inside a machine. cpuset is left
# out: a new group of it refuses processes until it is given processors.
WANTED = {"name=systemd", "memory", "cpu", "cpuacct", "pids", "blkio"}

# Else all machines of a lab together would get as much of a busy processor as one process beside them.
WEIGHT = {"cpu.shares": 8 * 1024, "cpu.weight": 8 * 100}


def systemd_host() -> bool:
    """Tell whether the host itself is run by systemd."""
    return Path("/run/systemd/system").is_dir()


def hierarchies(own: str | None = None) -> list[Path]:
    """Return the caller's own directory in each hierarchy that is mounted."""
    lines = (own if own is not None else Path("/proc/self/cgroup").read_text()).splitlines()
    position = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            position[controller] = path
    found: list[Path] = []
    for mount in all_mounts():
        if mount.kind == "cgroup2":
            path = position.get("", "/")
        elif mount.kind == "cgroup":
            mine = [name for name in mount.options.split(",") if name in WANTED and name in position]
            if not mine:
                continue
            path = position[mine[0]]
        else:
            continue
        inside = path.removeprefix(mount.root.rstrip("/")) if mount.root != "/" else path
        directory = mount.point / inside.lstrip("/")
        directory = directory if directory.is_dir() else mount.point
        if directory not in found:
            found.append(directory)
    if not found:
        raise LabError(
            "no cgroup hierarchy is mounted below /sys/fs/cgroup: the lab needs one to boot machines"
        )
    return found


def lab_directories(bridge: str) -> list[Path]:
    """Return the directories of a new lab, one in each hierarchy."""
    if systemd_host():
        # systemd owns the tree: the lab is a slice, each machine a delegated scope in it.
        roots = {
            m.point for m in all_mounts() if m.kind == "cgroup2" or "name=systemd" in m.options.split(",")
        }
        return sorted(root / f"{bridge}.slice" for root in roots)
    return [directory / bridge for directory in hierarchies()]


def make(directories: list[Path], part: str) -> list[Path]:
    """Create the cgroup of one machine (or of the lab's services) and return its directories."""
    made = []
    for directory in directories:
        _delegate(directory.parent)
        directory.mkdir(exist_ok=True)
        _delegate(directory)
        _weigh(directory)
        (directory / part).mkdir(exist_ok=True)
        made.append(directory / part)
    return made


def _delegate(directory: Path) -> None:
    """On cgroup v2, offer controllers to children; refused where processes sit, then there are no limits."""
    control = directory / "cgroup.subtree_control"
    if not control.exists():
        return
    for controller in ("memory", "cpu", "pids", "io"):
        try:
            control.write_text(f"+{controller}")
        except OSError:
            continue


def _weigh(directory: Path) -> None:
    """Give the machines of a lab the weight of machines."""
    for name, weight in WEIGHT.items():
        if (directory / name).exists():
            (directory / name).write_text(str(weight))


def pids(directories: list[Path]) -> list[int]:
    """Return the processes in these cgroups and below them."""
    found: set[int] = set()
    for directory in directories:
        # A machine makes and removes cgroups all the time: os.walk goes past what is gone, glob does not.
        for path, _, files in os.walk(directory):
            if "cgroup.procs" not in files:
                continue
            try:
                found.update(int(line) for line in (Path(path) / "cgroup.procs").read_text().split())
            except OSError:
                continue
    return sorted(found)


def kill(directories: list[Path], seconds: float = 15) -> None:
    """Kill everything in these cgroups, and whatever it still starts meanwhile."""
    end = time.monotonic() + seconds
    while left := [pid for pid in pids(directories) if not _zombie(pid)]:
        if time.monotonic() > end:
            raise LabError(f"processes {left} do not end after kill -9: look at them with `ps -fp {left[0]}`")
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


def _zombie(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def remove(directories: list[Path], seconds: float = 5) -> None:
    """Remove empty cgroups; the kernel needs a moment after the last process has ended."""
    end = time.monotonic() + seconds
    for directory in directories:
        for path, _, _ in os.walk(directory, topdown=False):
            while True:
                try:
                    Path(path).rmdir()
                except FileNotFoundError:
                    break
                except OSError as error:
                    if time.monotonic() > end:
                        raise LabError(f"the cgroup {path} cannot be removed: {error.strerror}") from None
                    time.sleep(0.02)
                else:
                    break


def limit_memory(directories: list[Path], size: int) -> None:
    """Set the limit of one machine."""
    for directory in directories:
        for name in ("memory.limit_in_bytes", "memory.max"):
            if (directory / name).exists():
                try:
                    (directory / name).write_text(str(size))
                except OSError as error:
                    raise LabError(
                        f"the memory limit cannot be set in {directory}: {error.strerror}"
                    ) from None
                return
    raise LabError("the host offers no memory controller to the lab: leave `memory` out of the machines file")


def memory_used(directories: list[Path]) -> tuple[int, int]:
    """Return the bytes in use without page cache, and the page cache."""
    for directory in directories:
        stat = directory / "memory.stat"
        if stat.exists():
            values = dict(line.split() for line in stat.read_text().splitlines())
            if "total_rss" in values:
                return int(values["total_rss"]), int(values["total_cache"])
            if "anon" in values:
                return int(values["anon"]), int(values["file"])
    return 0, 0
