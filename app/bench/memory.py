"""What processes take."""

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path


def pss(pids: Iterable[int]) -> float:
    """Return how many megabytes these processes take together, what they share counted once."""
    kilobytes = 0
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        (line,) = [line for line in rollup.splitlines() if line.startswith("Pss:")]
        kilobytes += int(line.split()[1])
    return kilobytes / 1024


def peak(pids: Iterable[int], work: Callable[[], None]) -> float:
    """Return the most that these processes take at once while the work is done."""
    seen = [pss(pids)]
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(pss(pids))
            time.sleep(0.05)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        work()
    finally:
        done.set()
        looking.join()
    return max(seen)
