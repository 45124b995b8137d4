"""The engine's entry on a host, started by `bootstrap`: read the request, run the step, write the answer."""

import errno
import os
import sys
import tempfile
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from .bootstrap import answer
from .entry import execute
from .kept import keep
from .wire import ATTACHED, Head, TornError, read


def attachments(stack: ExitStack, request: dict[str, Any], files: dict[str, bytes]) -> None:
    """Lay the files that came along on disk, for as long as the step runs, and name them in the request."""
    if not files:
        return
    place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastapi-metal-", dir="/var/tmp")))
    for name, content in files.items():
        (place / name).write_bytes(content)
    for key, value in request.items():
        if isinstance(value, str) and value.startswith(ATTACHED):
            request[key] = str(place / value.removeprefix(ATTACHED))


def explain(error: Exception) -> str:
    """Return one sentence for what no step expects."""
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        where = f" below {Path(error.filename).parent}" if error.filename else ""
        return f"no space is left on the disk{where}; free some (`df -h` shows where) and run again"
    return f"{type(error).__name__}: {error}"


def step(head: Head, request: dict[str, Any], files: dict[str, bytes]) -> dict[str, Any]:
    """Run one step; whatever goes wrong is a problem in its result."""
    try:
        with ExitStack() as stack:
            attachments(stack, request, files)
            return execute(head["step"], head["name"], request, head["check_mode"])
    except Exception as error:
        return {"problem": explain(error), "changed": False, "traceback": traceback.format_exc()}


def serve(head: Head, archive: bytes, stream: BinaryIO) -> None:
    """Answer one request."""
    os.environ.update(head["environment"])
    try:
        request, files = read(head, stream)
    except TornError as error:
        answer(problem=str(error))
        return
    note = keep(Path(head["kept"]), archive) if archive and not head["check_mode"] else ""
    # What a step or a program prints must not come between the answer's mark and its end.
    answers = os.dup(1)
    os.dup2(2, 1)
    result = step(head, request, files)
    sys.stdout.flush()
    os.dup2(answers, 1)
    answer(result={**result, **({"note": note} if note else {})})
