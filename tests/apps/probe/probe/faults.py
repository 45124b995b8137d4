"""What can be wrong with a release, each by one environment variable: `PROBE_FAULT`.

import        the module cannot be imported
lifespan      the startup ends with an error
never-ready   health never says that it is ready
dies          the server ends by itself, PROBE_DIES_AFTER seconds after its start
one-worker    one of the workers answers 500 on health, the others are well
one-dies      one of the workers ends soon after its start, and so does the one in its place
health-500    health answers 500
sick          health answers 500 for as long as /var/lib/probe/sick is there

PROBE_HOLD_MIB is no fault: the application holds so much memory, which preloaded workers share.

PROBE_FAULT_ON limits it to the machine of that name.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import tempfile
from pathlib import Path
from typing import IO

HERE = os.environ.get("PROBE_FAULT_ON", "") in {"", socket.gethostname()}
FAULT = os.environ.get("PROBE_FAULT", "") if HERE else ""
DIES_AFTER = float(os.environ.get("PROBE_DIES_AFTER", "5"))
ONE_DIES_AFTER = 0.5

if FAULT == "import":
    raise ImportError("PROBE_FAULT=import: this module cannot be imported")


# Written to, so that it is really there.
HELD = bytearray(b"x") * (int(os.environ.get("PROBE_HOLD_MIB", "0")) << 20)
SICK = Path("/var/lib/probe/sick")


class Lot:
    """The lot that one worker of a release draws: the lock is let go of when its process ends."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None

    def draw(self) -> bool:
        """Tell whether this worker is the one."""
        # systemd gives each service a /tmp of its own, which its workers share.
        file = (Path(tempfile.gettempdir()) / "probe.lot").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._file = file
        return True

    @property
    def drawn(self) -> bool:
        """Whether this worker has drawn it."""
        return self._file is not None


LOT = Lot()


def end(pid: int, number: signal.Signals) -> None:
    """End a process, and say so."""
    print(f"PROBE_FAULT={FAULT}: {number.name} to process {pid}", flush=True)
    # Another worker may have done it.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def startup() -> None:
    """Do what the fault does when a worker starts."""
    if FAULT == "lifespan":
        raise RuntimeError("PROBE_FAULT=lifespan: the startup ends with an error")
    if FAULT in {"one-worker", "one-dies"}:
        LOT.draw()
    loop = asyncio.get_running_loop()
    if FAULT == "one-dies" and LOT.drawn:
        loop.call_later(ONE_DIES_AFTER, end, os.getpid(), signal.SIGKILL)
    if FAULT == "dies":
        loop.call_later(DIES_AFTER, end, os.getppid(), signal.SIGKILL)


def health() -> tuple[int, str]:
    """Return the status and the word that health answers with."""
    sick = FAULT == "sick" and SICK.exists()
    if FAULT == "health-500" or sick or (FAULT == "one-worker" and LOT.drawn):
        return 500, f"PROBE_FAULT={FAULT}"
    if FAULT == "never-ready":
        return 503, "PROBE_FAULT=never-ready: not yet"
    return 200, "ready"
