"""Runs on the machine as an application's user: what somebody who has taken it over would try, told as JSON.

    write PLACE…        where it can write, on the whole machine and in these places: it really tries
    read WORDS PLACE…   which files that it can read hold one of the words, which lie backwards in WORDS
    open LIST           which of the files that LIST names it can read
    knock ADDRESS PORT… what each port answers
    stay SECONDS        leave processes behind, in every way it knows

It has nothing but the standard library.
"""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NEW = ".intruder"


def entries(places: list[str]) -> Iterator[tuple[Path, bool]]:
    """Walk over the whole machine as far as it lets, without what the kernel shows of each process.

    What lies in a directory that cannot be listed is tried and walked where it is named.
    """
    for place in ["/", *places]:
        yield Path(place), False
        for folder, folders, names in os.walk(place):
            if folder == "/proc":
                folders[:] = [name for name in folders if not name.isdigit()]
            yield Path(folder), True
            for name in names:
                yield Path(folder, name), False


def writes(path: Path, is_folder: bool) -> bool:
    """Try to make a file in a directory, or to open a file for writing; nothing of it is changed."""
    try:
        if is_folder:
            (path / NEW).touch(exist_ok=False)
            (path / NEW).unlink()
            return True
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            os.close(os.open(path, os.O_WRONLY))
            return True
        # A pipe would wait for a reader, and a device would do something.
        return not stat.S_ISLNK(mode) and not stat.S_ISSOCK(mode) and os.access(path, os.W_OK)
    except OSError:
        return False


def write(*places: str) -> dict[str, object]:
    """Return what can be written."""
    found, looked = [], 0
    for path, is_folder in entries(list(places)):
        looked += 1
        if writes(path, is_folder):
            found.append(str(path))
    return {"looked": looked, "written": sorted(found)}


def content(path: Path, most: int = 1 << 24) -> bytes | None:
    """Return what a file holds, or nothing when it cannot be read."""
    try:
        if not path.is_file():
            return None
        with path.open("rb", buffering=0) as file:
            return file.read(most)
    except OSError:
        return None


def shown(places: tuple[str, ...]) -> Iterator[Path]:
    """Return every file below some places, and what processes show of themselves."""
    for place in places:
        for folder, _, names in os.walk(place):
            yield from (Path(folder, name) for name in names)
    for process in Path("/proc").glob("[0-9]*"):
        yield from (process / "environ", process / "cmdline")


def read(words: str, *places: str) -> dict[str, object]:
    """Return the files that hold one of the words."""
    wanted = [line[::-1].encode() for line in Path(words).read_text().split()]
    found, count = [], 0
    for path in shown(places):
        text = content(path)
        count += text is not None
        if text and any(word in text for word in wanted):
            found.append(str(path))
    return {"read": count, "found": found}


def opened(listing: str) -> list[str]:
    """Return those of some files that it can open."""
    return [line for line in Path(listing).read_text().splitlines() if content(Path(line), 1) is not None]


def knock(address: str, *ports: str) -> dict[str, str]:
    """Return what each port says: open, or the reason why not."""
    told = {}
    for port in ports:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as door:
            door.settimeout(2)
            try:
                door.connect((address, int(port)))
                told[port] = "open"
            except OSError as error:
                told[port] = type(error).__name__
    return told


# Another session, another parent, no signal but the one that nobody can refuse.
NOBODYS = "setsid nohup sh -c '(exec sleep {0}) & exit' > /dev/null 2>&1"
# Each would outlive the unit, were it let.
WAYS = {
    "a unit of its own": "systemd-run --user sleep {0}",
    "a unit of the machine": "systemd-run --no-ask-password sleep {0}",
    "a scope of the machine": "systemd-run --no-ask-password --scope sleep {0}",
    "to linger": "loginctl --no-ask-password enable-linger",
    "cron": "echo '* * * * * sleep {0}' | crontab -",
    "at": "echo 'sleep {0}' | at now",
    "sudo": "sudo -n sleep 0",
    "another control group": "for place in $(find /sys/fs/cgroup -name cgroup.procs); do "
    "echo $$ > $place && exit; done; exit 1",
}


def stay(seconds: str) -> dict[str, int]:
    """Return the exit code of each way to stay."""
    return {
        name: subprocess.run(
            ["/bin/sh", "-c", way.format(seconds)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        ).returncode
        for name, way in {"a process of nobody's": NOBODYS, **WAYS}.items()
    }


if __name__ == "__main__":
    verbs = {"write": write, "read": read, "open": opened, "knock": knock, "stay": stay}
    print(json.dumps(verbs[sys.argv[1]](*sys.argv[2:])))  # type: ignore[operator]
