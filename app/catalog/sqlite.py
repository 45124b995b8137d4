"""What SQLite does not do by itself."""

import sqlite3
from typing import Any

from sqlalchemy import make_url


def prepare(connection: Any, _record: Any) -> None:
    """Set up a connection."""
    cursor = connection.cursor()
    # Several workers share the file: readers do not wait for the writer, a second writer waits.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA busy_timeout=5000")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
    # Its own knows only ASCII, and a search is to find É by é on both databases.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


class FileVersion:
    """The version of a SQLite file: another number after every commit of another connection.

    Asked without waiting: it reads eight bytes of shared memory.
    """

    def __init__(self, url: str) -> None:
        self._path = make_url(url).database or ""
        self._connection: sqlite3.Connection | None = None

    def __call__(self) -> str | None:
        """Return it, or None if there is no such file."""
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=0)
            return str(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:
            return None

    def close(self) -> None:
        """End."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
