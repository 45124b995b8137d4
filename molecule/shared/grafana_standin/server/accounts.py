"""The one account, kept as Grafana keeps it: the configured password counts at the first start only."""

import contextlib
import hashlib
import hmac
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

ITERATIONS = 10_000
SHORTEST_PASSWORD = 5


class AccountError(Exception):
    """The account cannot be made or changed."""


class Accounts:
    """The administrator in `grafana.db`."""

    def __init__(self, database: Path) -> None:
        self.database = database

    def create_admin(self, login: str, password: str) -> bool:
        """Make the administrator with the configured password unless there is one already."""
        with self._open() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS user (id INTEGER PRIMARY KEY, login, salt, password)"
            )
            if connection.execute("SELECT 1 FROM user WHERE id = 1").fetchone():
                return False
            salt = os.urandom(8).hex()
            connection.execute("INSERT INTO user VALUES (1, ?, ?, ?)", (login, salt, _digest(password, salt)))
        return True

    def reset_password(self, password: str) -> None:
        """Give the administrator another password, as `grafana cli admin reset-admin-password` does."""
        if len(password) < SHORTEST_PASSWORD:
            raise AccountError("new password is too short")
        if not self.database.is_file():
            raise AccountError(f"{self.database} is missing: the server has not been started yet")
        with self._open() as connection:
            salt = os.urandom(8).hex()
            connection.execute(
                "UPDATE user SET salt = ?, password = ? WHERE id = 1", (salt, _digest(password, salt))
            )

    def accepts(self, login: str, password: str) -> bool:
        """Tell whether this login and password are right."""
        with self._open() as connection:
            row = connection.execute("SELECT login, salt, password FROM user WHERE id = 1").fetchone()
        return row is not None and row[0] == login and hmac.compare_digest(_digest(password, row[1]), row[2])

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.database, timeout=10)) as connection, connection:
            yield connection


def _digest(password: str, salt: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), ITERATIONS).hex()
