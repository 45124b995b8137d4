"""Command line: `python3 -m fastapi_metal.certificates SETTINGS`, as the timer runs it.

It asks for what is still missing and says on standard output what came of it.
"""

import fcntl
import os
import sys
from pathlib import Path

from .issuing import RefusedError
from .stored import load


def main() -> int:
    """Do it; the status tells whether a certificate is still missing."""
    os.umask(0o022)
    path = Path(sys.argv[1])
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another run asks just now")
            return 0
        work, refuse = load(path)
        try:
            result = work.all(refuse)
        except RefusedError as sentence:
            print(sentence)
            return 1
    for warning in work.warnings:
        print(warning)
    for name, cause in result["issued"].items():
        print(f"{name} has a certificate now: {cause}.")
    return 1 if result["pending"] else 0


if __name__ == "__main__":
    sys.exit(main())
