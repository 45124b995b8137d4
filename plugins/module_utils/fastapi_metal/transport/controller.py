"""How the controller runs a step on a host: one command, everything else on its standard input.

The host keeps the engine as one archive, so a step costs one round trip and one start of Python. It is
sent with the first step that does not find it, and with every step in check mode, which leaves no trace.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bootstrap import MARK
from .kept import pack
from .wire import Call, frame

HERE = Path(__file__).parent
PACKAGE = HERE.parent
KEPT_IN = "/usr/local/lib/fastapi-metal"
# How the package's files import each other: `from .name import thing`, `from . import name, other`, and
# `from ..room.name import thing`, `from ..room import name, other`.
IMPORTS = re.compile(r"^\s*from (\.\.?)([\w.]*) import (\([^)]*\)|.*)$", re.MULTILINE)
# What comes along is held in memory on both sides; anything bigger goes through a file.
MOST = 64 * 1024 * 1024

Result = dict[str, Any]


@dataclass(frozen=True)
class Output:
    """How the command on the host ended."""

    status: int
    stdout: str
    stderr: str


Send = Callable[[str, bytes], Output]


def imported(room: str, text: str) -> list[str]:
    """Return the names of the files that a file in a room of this package imports, as `room/name`."""
    found = []
    for dots, module, names in IMPORTS.findall(text):
        place = "/".join([room] * (dots == ".") + re.findall(r"\w+", module))
        found += [place] if "/" in place else [f"{place}/{name}" for name in re.findall(r"\w+", names)]
    return found


def engine(package: Path = PACKAGE) -> bytes:
    """Return the part of this package that runs on hosts, as one archive."""
    found = {"__init__": (package / "__init__.py").read_bytes()}
    wanted = ["transport/host"]
    while wanted:
        name = wanted.pop()
        if name not in found and (package / f"{name}.py").is_file():
            found[name] = (package / f"{name}.py").read_bytes()
            room = name.partition("/")[0]
            wanted += [f"{room}/__init__", *imported(room, found[name].decode())]
    return pack({f"{package.name}/{name}.py": content for name, content in found.items()})


def command(interpreter: str) -> str:
    """Return the command; it is the same for every step, so nothing of a request can be seen in it."""
    text = (HERE / "bootstrap.py").read_text()
    return f"{shlex.quote(interpreter)} -X utf8 -I -S -c {shlex.quote(text)}"


def answer_in(output: Output) -> Result | None:
    """Return the answer, which may stand between what a login shell prints."""
    for line in reversed(output.stdout.splitlines()):
        if line.startswith(MARK):
            try:
                found = json.loads(line.removeprefix(MARK))
            except ValueError:
                return None
            return found if isinstance(found, dict) else None
    return None


def no_answer(interpreter: str, output: Output) -> str:
    """Return why the engine said nothing, as far as it can be known."""
    said = [line for line in (output.stderr or output.stdout).splitlines() if line.strip()][-1:]
    if output.status == 127 or any("not found" in line and interpreter in line for line in said):
        return (
            f"{interpreter} is missing there; install it (`apt-get install python3`), or set "
            "ansible_python_interpreter in group_vars/all/connection.yml to the one that there is"
        )
    if output.status in {-9, 137}:
        return "the engine was killed there, perhaps for want of memory (`journalctl -k` tells); run again"
    words = f": {said[0].strip()}" if said else ""
    return f"the engine gave no answer (status {output.status}){words}"


def run_step(
    send: Send,
    interpreter: str,
    call: Call,
    request: dict[str, Any],
    files: dict[str, bytes],
) -> Result:
    """Run a step and return its result; whatever goes wrong on the way is a problem in it."""
    archive = engine()
    kept = f"{KEPT_IN}/engine-{hashlib.sha256(archive).hexdigest()[:16]}.pyz"
    body = json.dumps(request).encode()
    for sent in (b"", archive):
        output = send(command(interpreter), frame(call, kept, sent, body, files))
        found = answer_in(output)
        if found is None:
            return {"problem": no_answer(interpreter, output), "changed": False}
        if not found.get("missing"):
            return dict(found.get("result") or {"problem": found.get("problem"), "changed": False})
    return {"problem": "the engine was sent and is said to be missing; run again", "changed": False}
