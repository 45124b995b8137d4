"""Keep one machine running: `python -m lab.supervise MACHINE_DIRECTORY`, started by lab.launch.

Ends when the machine is switched off. A `reboot` inside is code 133 of systemd-nspawn, and starts it again.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

from lab import cgroup, meminfo
from lab.process import identify

REBOOT = 133
REFRESH = 5.0  # seconds between two looks at the memory in use


def main(directory: Path) -> int:
    """Boot the machine, again after each reboot, and return systemd-nspawn's last exit code."""
    me = identify(os.getpid())
    assert me is not None
    write(directory / "supervisor.json", json.dumps({"pid": me.pid, "began": me.began}))
    config = json.loads((directory / "machine.json").read_text())
    running: subprocess.Popen[bytes] | None = None

    def switch_off(_signal: int, _frame: FrameType | None) -> None:
        if running is not None:
            running.terminate()

    signal.signal(signal.SIGTERM, switch_off)
    boots = 0
    while True:
        running = subprocess.Popen(config["argv"], stdin=subprocess.DEVNULL)
        boots += 1
        write(directory / "boots", str(boots))
        code = _wait(running, directory, [Path(path) for path in config["cgroups"]])
        if code != REBOOT:
            return code


def _wait(running: subprocess.Popen[bytes], directory: Path, cgroups: list[Path]) -> int:
    shown = directory / "root/usr/local/lib/lab/meminfo"
    while True:
        try:
            return running.wait(REFRESH)
        except subprocess.TimeoutExpired:
            # Only what is shown depends on it: the machine runs on.
            with suppress(OSError):
                limit = int((directory / "memory").read_text())
                meminfo.write(shown, meminfo.text(limit, *cgroup.memory_used(cgroups)))


def write(path: Path, content: str) -> None:
    """Replace a small file in one step."""
    new = path.with_suffix(path.suffix + ".new")
    new.write_text(content)
    new.rename(path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
