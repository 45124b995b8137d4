"""Prometheus' text format, and files that are whole or not there."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def escaped(value: str) -> str:
    """Return a label's value as it stands between its quotes."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


class Figures:
    """Figures by name; each name is printed once, with all its rows."""

    def __init__(self) -> None:
        self._rows: dict[str, list[str]] = {}
        self._about: dict[str, tuple[str, str]] = {}

    def describe(self, name: str, about: str, kind: str = "gauge") -> None:
        """Say what a figure is; one that has no row is not printed."""
        self._about[name] = (about, kind)

    def add(self, name: str, value: float, **labels: str) -> None:
        """Add a row."""
        pairs = ",".join(f'{key}="{escaped(labels[key])}"' for key in sorted(labels))
        number = repr(int(value)) if value == int(value) else repr(float(value))
        self._rows.setdefault(name, []).append(f"{name}{{{pairs}}} {number}" if pairs else f"{name} {number}")

    def text(self) -> str:
        """Return all of it."""
        lines: list[str] = []
        for name, rows in sorted(self._rows.items()):
            about, kind = self._about[name]
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}", *rows]
        return "".join(f"{line}\n" for line in lines)


def counted(exposition: Iterable[str]) -> list[str]:
    """Return the lines of an exposition that stay true when the process has ended.

    What was counted stays counted; a gauge says what is now.
    """
    kept: list[str] = []
    names: tuple[str, ...] = ()
    for line in exposition:
        words = line.split(None, 3)
        if line.startswith("# TYPE ") and len(words) >= 4:
            lasting = words[3].strip() in {"counter", "histogram", "summary"}
            # A counter named x has rows named x or x_total; a histogram x_bucket, x_sum and x_count.
            names = (words[2], *(f"{words[2]}_{part}" for part in PARTS)) if lasting else ()
            if lasting:
                kept.append(line)
        elif not line.startswith("#") and line.split("{")[0].split(" ")[0].strip() in names:
            kept.append(line)
    return kept


PARTS = ("total", "bucket", "sum", "count")


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Put a file in place by one rename: who reads it meets the old one or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(name).chmod(mode)
        Path(name).rename(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
