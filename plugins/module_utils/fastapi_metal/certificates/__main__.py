"""Command line: `python3 -m fastapi_metal.certificates SETTINGS`, as the timer runs it.

It asks for what is still missing and says on standard output what came of it. With `share` behind it,
as Certbot's hook runs it, it only brings what is there to the other machines.
"""

import fcntl
import os
import sys
from pathlib import Path

from .issuing import RefusedError
from .stored import load, shared, whole


def main() -> int:
    """Do it; the status tells whether a certificate is still missing somewhere."""
    os.umask(0o022)
    path = Path(sys.argv[1])
    if sys.argv[2:] == ["share"]:
        # Certbot waits for it, so it does not wait for a run that waits for Certbot.
        given, work = load(path)
        return told(work.warnings, [f"brought: {each}" for each in shared(given, work)])
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another run asks just now")
            return 0
        given, work = load(path)
        try:
            result = whole(given, work)
        except RefusedError as sentence:
            # What is there already may be missing elsewhere.
            work.warnings.append(str(sentence))
            result = {"issued": {}, "brought": shared(given, work)}
    news = [f"{name} has a certificate now: {cause}." for name, cause in result["issued"].items()]
    return told(work.warnings, news + [f"brought: {each}" for each in result["brought"]])


def told(warnings: list[str], news: list[str]) -> int:
    """Print them; the status tells whether there was a warning."""
    for line in [*warnings, *news]:
        print(line)
    return 1 if warnings else 0


if __name__ == "__main__":
    sys.exit(main())
