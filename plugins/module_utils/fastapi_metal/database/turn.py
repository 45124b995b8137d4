"""Whose turn it is to change a database: one run at a time, and none that stops the application's readers."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from ..engine.engine import Engine
from ..machine.interface import DatabaseError, Session

POLL = 0.5

# Whoever asks for one of these and waits makes everybody wait who comes after, readers or writers.
MODES = "'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'"

HOLDER = """
SELECT a.application_name, a.pid, coalesce(host(a.client_addr), 'this server'), a.backend_start::timestamp(0)
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND (l.classid::bigint << 32) + l.objid::bigint = {key}
"""

# Only a session of its own role may be cancelled by an application, and only one that waits in the way is.
# MATERIALIZED: else PostgreSQL may cancel first, whole sessions of the role, and look at the rest afterwards.
CANCEL = """
WITH in_the_way AS MATERIALIZED (
    SELECT a.pid, c.relname, left(a.query, 100) AS query
    FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
    WHERE NOT l.granted AND l.locktype = 'relation' AND a.usename = session_user AND l.mode IN ({modes})
      AND clock_timestamp() - l.waitstart > interval '{seconds} seconds'
)
SELECT pid, relname, query FROM in_the_way WHERE pg_cancel_backend(pid)
"""

# The server goes on with a statement whose client is gone.
SWEEP = """
WITH left_over AS MATERIALIZED (
    SELECT a.pid, min(c.relname) AS relname
    FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
    WHERE l.locktype = 'relation' AND a.usename = session_user AND l.mode IN ({modes})
      AND a.pid <> pg_backend_pid()
    GROUP BY a.pid
)
SELECT pid, relname FROM left_over WHERE pg_terminate_backend(pid)
"""


class TurnError(Exception):
    """It is not our turn; the message says whose it is."""


def key_of(app: str) -> int:
    """Return the number of an application's advisory lock, the same for every run from anywhere."""
    # Positive, since pg_locks shows it in two halves.
    return int.from_bytes(hashlib.sha256(f"fastapi-metal {app}".encode()).digest()[:8]) >> 1


def holder(session: Session, app: str) -> str:
    """Return who holds the lock, in words."""
    found = session.rows(HOLDER.format(key=key_of(app)))
    if not found:
        return "somebody who has just let go of it"
    name, pid, where, since = found[0]
    return f"`{name}`, process {pid} of the server, connected from {where} since {since}"


def wait(engine: Engine, session: Session, patience: float) -> None:
    """Take the lock, or say after a while who has it."""
    machine, app = engine.machine, engine.settings.name
    deadline = machine.clock() + patience
    said = False
    while session.rows(f"SELECT pg_try_advisory_lock({key_of(app)})") != [["t"]]:
        if machine.clock() >= deadline:
            who = holder(session, app)
            raise TurnError(
                f"another run changes the database of {app} for more than {patience:.0f} s "
                f"(apps.{app}.before_start_timeout): {who}. Wait for it, or end it on the database's server: "
                f"SELECT pg_terminate_backend({who.partition('process ')[2].partition(' ')[0] or 'pid'})"
            )
        if not said:
            machine.log(f"{app}: waits for its turn at the database, which {holder(session, app)} has")
            said = True
        machine.sleep(POLL)


@dataclass(frozen=True)
class Guard:
    """Watches over the application's readers while a command runs, whatever driver the command uses."""

    engine: Engine
    session: Session

    def rows(self, query: str) -> list[list[str]]:
        """Ask; a lost session has also lost the turn."""
        try:
            return self.session.rows(query)
        except DatabaseError as error:
            app = self.engine.settings.name
            raise TurnError(
                f"the session that holds the turn at the database of {app} was lost: {error}"
            ) from error

    def look(self) -> None:
        """Cancel what waits for a table for too long, since everybody waits behind it."""
        app, seconds = self.engine.settings.name, self.engine.settings.entry["before_start_lock_timeout"]
        if not seconds:
            return
        for pid, table, statement in self.rows(CANCEL.format(modes=MODES, seconds=seconds)):
            self.engine.machine.log(
                f"{app}: cancelled `{statement}` (process {pid} of the database's server): it waited for "
                f"table {table} for over {seconds} s (before_start_lock_timeout), and everybody behind it"
            )

    def sweep(self) -> None:
        """End the sessions that a command which was ended has left on the server, and that are in the way."""
        for pid, table in self.rows(SWEEP.format(modes=MODES)):
            self.engine.machine.log(
                f"{self.engine.settings.name}: ended process {pid} of the database's server, which a command "
                f"that took too long had left with a lock on table {table}"
            )


@contextlib.contextmanager
def turn(engine: Engine, release_id: str) -> Iterator[Guard | None]:
    """Hold the application's turn at its database while the block runs; yield what watches over it."""
    settings = engine.settings
    if not settings.with_database:
        yield None
        return
    name = f"fastapi-metal {settings.name} {release_id} by {settings.deployed_by}"
    try:
        session = engine.machine.session(
            settings.database_url, settings.name, settings.secrets.get("database_password", ""), name
        )
    except DatabaseError as error:
        raise TurnError(
            f"the database of {settings.name} cannot be asked for the turn to change it: {error}; see "
            "`app_database_url` in group_vars/all/app.yml and whether the server runs"
        ) from error
    try:
        wait(engine, session, float(settings.entry["before_start_timeout"]))
        yield Guard(engine, session)
    finally:
        session.close()
