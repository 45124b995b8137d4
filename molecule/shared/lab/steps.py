"""Say what is being done, which step of how many, and how long it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Steps:
    """Count the steps of one command."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Print one line: when it begins, and how long it took when it ends."""
        self.done += 1
        began = time.monotonic()
        sys.stdout.write(f"[{self.done}/{self.total}] {what} ... ")
        sys.stdout.flush()
        try:
            yield
        except BaseException:
            sys.stdout.write("failed\n")
            raise
        sys.stdout.write(f"{time.monotonic() - began:.1f} s\n")
        sys.stdout.flush()


def note(what: str) -> None:
    """Print a line between two steps."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()
