"""Runs on the machine as root: `looker.py watch` or `looker.py search PLACE…`. It looks for planted words.

The words lie backwards in a file, so that looking for them puts them nowhere.
"""

import json
import os
import sys
import time
from pathlib import Path

WORDS = Path("/root/planted-backwards")
ENOUGH = Path("/root/planted-enough")


def planted() -> list[bytes]:
    """Return the words."""
    return [line[::-1].encode() for line in WORDS.read_text().split()]


def holds(path: Path, words: list[bytes]) -> bool:
    """Tell whether a file holds one of them; it is read by parts that overlap."""
    try:
        with path.open("rb") as file:
            before = b""
            while part := file.read(1 << 20):
                if any(word in before + part for word in words):
                    return True
                before = part[-200:]
    except OSError:
        pass
    return False


def watch(words: list[bytes]) -> dict[str, object]:
    """Read every command line and every environment over and over; return what held one."""
    found: dict[str, str] = {}
    looks = 0
    while not ENOUGH.exists():
        looks += 1
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                if holds(process / name, words):
                    try:
                        found[f"{name} of {(process / 'comm').read_text().strip()}"] = process.name
                    except OSError:
                        found[name] = process.name
        time.sleep(0.05)
    return {"looks": looks, "found": found}


def search(words: list[bytes], places: list[str]) -> dict[str, object]:
    """Read every file below these places; return those that hold one, with mode and owner."""
    found, read = {}, 0
    for place in places:
        for folder, _, names in os.walk(place):
            for path in (Path(folder, name) for name in names):
                if path.is_symlink() or not path.is_file() or path == WORDS:
                    continue
                read += 1
                if holds(path, words):
                    state = path.stat()
                    found[str(path)] = f"{state.st_mode & 0o7777:o} {state.st_uid}"
    return {"read": read, "found": found}


if __name__ == "__main__":
    result = watch(planted()) if sys.argv[1] == "watch" else search(planted(), sys.argv[2:])
    print(json.dumps(result))
