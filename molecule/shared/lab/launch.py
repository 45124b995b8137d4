"""Start a process that outlives the caller, but never unnoticed.

Until it sits in the lab's cgroup it dies with its parent; from then on the cgroup is how it is found.
Run as `python -m lab.launch PARENT DIRECTORY... -- COMMAND...`.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

from lab import cgroup, paths
from lab.command import run

PR_SET_PDEATHSIG = 1


def cgroups(bridge: str, directories: list[Path], part: str) -> list[Path]:
    """Return the directories of one part of a lab."""
    if cgroup.systemd_host():
        return [directory / f"{bridge}-{part}.scope" for directory in directories]
    return [directory / part for directory in directories]


def start(
    argv: list[str], part: str, bridge: str, directories: list[Path], log: Path, memory: int | None = None
) -> subprocess.Popen[bytes]:
    """Start the command in the lab's cgroup `part`, detached from the terminal."""
    fence = ["setpriv", "--pdeathsig", "KILL"]
    join: list[Path] = []
    if cgroup.systemd_host():
        fence += ["systemd-run", "--scope", "--quiet", "--collect", "--property=Delegate=yes"]
        fence += [f"--slice={bridge}.slice", f"--unit={bridge}-{part}"]
        fence += [] if memory is None else [f"--property=MemoryMax={memory}"]
    else:
        join = cgroup.make(directories, part)
        if memory is not None:
            cgroup.limit_memory(join, memory)
    argv = [*fence, sys.executable, "-m", "lab.launch", str(os.getpid()), *map(str, join), "--", *argv]
    environment = {**os.environ, "PYTHONPATH": str(paths.SHARED), "PYTHONDONTWRITEBYTECODE": "1"}
    # Left in, it would let systemd-nspawn report to the service manager of the caller.
    environment.pop("NOTIFY_SOCKET", None)
    with log.open("ab") as messages:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
            start_new_session=True,
            cwd="/",
            env=environment,
        )


def set_memory(bridge: str, part: str, directories: list[Path], size: int) -> None:
    """Change the limit of a part that runs."""
    if cgroup.systemd_host():
        run(["systemctl", "set-property", "--runtime", f"{bridge}-{part}.scope", f"MemoryMax={size}"])
    else:
        cgroup.limit_memory(directories, size)


def main(argv: list[str]) -> None:
    """Join the cgroups, let go of the parent, become the command."""
    split = argv.index("--")
    expected, directories, command = int(argv[0]), argv[1:split], argv[split + 1 :]
    if os.getppid() != expected:
        sys.exit("the process that wanted this is gone")
    for directory in directories:
        (Path(directory) / "cgroup.procs").write_text("0")
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
