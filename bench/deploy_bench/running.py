"""What every bench that boots a lab does around its own work."""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from .lab import ROOT, BenchError


class Booted(Protocol):
    """A lab of a bench."""

    def down(self) -> None:
        """Take it down, as far as it is there and its own."""


def say(text: str) -> None:
    """Tell what happens, at once."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(name: str, lab: Booted, work: Callable[[], Path]) -> int:
    """Do the work, show the results that it wrote, and return the exit status.

    Whatever happens, the lab is taken down.
    """
    begun = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        path = work()
        say(f"written: {path.relative_to(ROOT)} ({(time.monotonic() - begun) / 60:.1f} minutes)")
        print(path.read_text())
    except BenchError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    finally:
        lab.down()
    return 0
