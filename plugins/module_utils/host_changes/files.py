"""Files as they are wanted, against those that are there. Standard library only, Python 3.11 and later."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any

# The options of one file, as a module of Ansible declares them.
OPTIONS: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str", "required": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str", "default": "0644"},
    "keep": {"type": "bool", "default": False},
    "validate": {"type": "str"},
}


class RefusedError(Exception):
    """A sentence for the user."""


class File:
    """One file as it is wanted, against the one that is there."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.path = Path(wanted["path"])
        self.text: str = wanted["content"].rstrip("\n") + "\n"
        self.owner: str = wanted["owner"]
        self.group: str = wanted["group"]
        self.mode = int(wanted["mode"], 8)
        self.check: str | None = wanted["validate"]
        if wanted["keep"] and self.path.is_file():
            self.text = self.path.read_text()

    def before(self) -> str | None:
        """Return what is there, in the form of `after`; None when there is no such file."""
        try:
            found = self.path.lstat()
            text = self.path.read_text(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        kind = "a link, " if stat.S_ISLNK(found.st_mode) else ""
        return _described(kind, _user(found.st_uid), _group(found.st_gid), stat.S_IMODE(found.st_mode), text)

    def after(self) -> str:
        """Return what is wanted: a line about owner and mode, then the text."""
        return _described("", self.owner, self.group, self.mode, self.text)

    def validate(self, check_mode: bool) -> None:
        """Ask the command about the text."""
        if not self.check:
            return
        command = shlex.split(self.check)
        if shutil.which(command[0]) is None and check_mode:
            return
        with tempfile.TemporaryDirectory(prefix="config-files-") as directory:
            draft = Path(directory, self.path.name)
            draft.write_text(self.text)
            done = _run([word.replace("%s", str(draft)).replace("%d", directory) for word in command])
            if done is not None:
                words = done.strip().replace(str(draft), str(self.path))
                raise RefusedError(
                    f"{self.path} was refused by {command[0]}, and nothing was changed: {words}"
                )

    def land(self) -> None:
        """Put the file in place in one step."""
        _make_directory(self.path.parent)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(self.text)
                file.flush()
                os.fsync(file.fileno())
            shutil.chown(name, self.owner, self.group)
            Path(name).chmod(self.mode)
            Path(name).rename(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _run(command: list[str]) -> str | None:
    """Run a command; return its words when it refuses."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else (done.stderr + done.stdout)


def _make_directory(path: Path) -> None:
    if path.is_dir():
        return
    _make_directory(path.parent)
    path.mkdir()
    path.chmod(0o755)


def _described(kind: str, owner: str, group: str, mode: int, text: str) -> str:
    return f"({kind}{owner}:{group} {mode:04o})\n{text}"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def accepted(files: list[File], check_mode: bool) -> list[tuple[File, dict[str, str]]]:
    """Return the files that differ, once all of them are accepted, with what `--diff` prints of each."""
    changes = []
    for file in files:
        before, after = file.before(), file.after()
        if before != after:
            header = str(file.path)
            diff = {"before_header": header, "after_header": header, "before": before or "", "after": after}
            changes.append((file, diff))
    for file, _diff in changes:
        file.validate(check_mode)
    return changes


def land(files: list[File], check_mode: bool) -> list[dict[str, str]]:
    """Land what differs, once all of it is accepted; return the differences as `--diff` prints them."""
    changes = accepted(files, check_mode)
    if not check_mode:
        for file, _diff in changes:
            file.land()
    return [diff for _file, diff in changes]
