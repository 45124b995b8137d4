"""Commands, processes and timers have everything that the server has, and none of them stops what serves."""

import json
import shlex
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from client import Site, wait_until
from conftest import Lab
from played import why
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[3]
MIGRATE = ["alembic upgrade head"]


@pytest.fixture(scope="module")
def works(lab: Lab) -> Site:
    """The application with a database, as the inventory describes it."""
    done = lab.deploy("works")
    assert done.returncode == 0, why(done)
    return lab.site("works")


@pytest.fixture
def source(tmp_path: Path, lab: Lab) -> Iterator[Path]:
    """Yield a copy of the application that a test may change; the one of the inventory comes back."""
    copy = tmp_path / "ledger"
    shutil.copytree(ROOT / "tests/apps/ledger", copy, ignore=shutil.ignore_patterns("__pycache__"))
    yield copy
    done = lab.deploy("works")
    assert done.returncode == 0, why(done)


def sql(host: Host, query: str) -> str:
    """Ask the application's database, as its administrator."""
    inner = f"psql -qXAt -v ON_ERROR_STOP=1 -d works -c {shlex.quote(query)}"
    return str(host.check_output(f"runuser -u postgres -- {inner}")).strip()


def runs(host: Host, what: str) -> int:
    """Return how often something has noted in the table that it ran."""
    return sql(host, "SELECT what FROM ran").split().count(what)


@contextmanager
def busy(host: Host, query: str, name: str = "somebody") -> Iterator[None]:
    """Hold what a query takes, in a session of somebody else."""
    inner = f"runuser -u postgres -- env PGAPPNAME={name} psql -qX -d works -c {shlex.quote(query)}"
    host.check_output(f"systemd-run --quiet --collect --unit=busy-database {inner}")
    sleeping = "SELECT application_name FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    wait_until("the other session has it", lambda: name in sql(host, sleeping))
    ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    try:
        yield
    finally:
        sql(host, ending)
        host.run("systemctl stop busy-database.service")


@contextmanager
def reading(site: Site) -> Iterator[list[float]]:
    """Read the table again and again while the block runs; yield how long each reader took, -1 for none."""
    stop, took = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            begun = time.monotonic()
            good = site.get("/entries").status == 200
            took.append(time.monotonic() - begun if good else -1)
            time.sleep(0.05)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield took
    finally:
        stop.set()
        reader.join()


def migration(source: Path, number: int, before: int, body: str, declared: str = "True") -> None:
    """Add a migration to a copy of the application."""
    lines = body.replace("\n", "\n    ")
    (source / f"migrations/versions/{number:04}.py").write_text(
        "import subprocess, time\nfrom alembic import op\n"
        f'revision = "{number:04}"\ndown_revision = "{before:04}"\n'
        f"backward_compatible = {declared}\n\n\ndef upgrade():\n    {lines}\n"
    )


def refused(done: Any) -> str:
    """Return what a run that failed has printed."""
    assert done.returncode != 0, why(done)
    return str(done.stdout).replace("\\n", "\n").replace('\\"', '"')


def test_a_migration_runs_once(lab: Lab, host: Host, works: Site) -> None:
    """Deploys and a changed setting do not repeat what is done.

    Red when `before_start` runs again in a run that changes nothing.
    """
    assert lab.deploy("works").returncode == 0
    assert runs(host, "0001") == 1


def test_commands_have_what_the_server_has(lab: Lab, host: Host, works: Site, source: Path) -> None:
    """Environment, credentials, user, directory and sandbox; and the journal knows them by the app's name.

    Red when a command runs as root, outside of its sandbox, or without a secret.
    """
    values = {"LIST": "a b", "QUOTES": "\"'`$HOME %h \\", "EMPTY": "", "LINES": "one\ntwo"}
    done = lab.deploy(
        "works",
        env=values,
        secrets={"token": "s3cret-value"},
        before_start=[*MIGRATE, "python -m ledger.tell before"],
        after_start=[{"command": "python -m tell after", "workdir": "ledger"}, "python -m ledger.tell after"],
    )
    # `python -m tell` is no package there: the directory is the one that was asked for.
    assert "/src/ledger" in refused(done)
    done = lab.deploy(
        "works",
        env=values,
        secrets={"token": "s3cret-value"},
        before_start=[*MIGRATE, "python -m ledger.tell before"],
        after_start=["python -m ledger.tell after"],
    )
    assert done.returncode == 0, why(done)
    server = works.get("/surroundings").json()
    for name in ("before", "after"):
        given = json.loads(host.check_output(f"cat /var/lib/works/{name}.json"))
        assert given == server, name
    assert server["credentials"] == {"token": "s3cret-value"}
    assert {name: server["env"][name] for name in values} == values
    assert (server["user"], server["no_new_privileges"], server["may_write_etc"]) == ("works", True, False)
    assert "after was here" in host.check_output("journalctl -t works -n 200 -o cat")
    assert runs(host, "after") == 1


def test_a_failing_command_after_the_start_puts_traffic_back(lab: Lab, works: Site, source: Path) -> None:
    """It ran with traffic on the new release, and the old one was still up.

    Red when the old release is stopped before these commands have run.
    """
    before = works.get("/health").json()["release"]
    text = refused(lab.deploy("works", after_start=["echo no seed; exit 3"]))
    assert "(apps.works.after_start) ended with status 3" in text
    assert "no seed" in text
    assert works.get("/health").json()["release"] == before


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_a_migration_that_waits_for_a_table_stops_no_reader(
    lab: Lab, host: Host, works: Site, source: Path, driver: str
) -> None:
    """Somebody reads a table for long; a migration that needs it gives up before readers notice much.

    Red when the waiting migration is not limited: readers queue behind it. asyncpg does not read PGOPTIONS.
    """
    alter = "ALTER TABLE entries ADD COLUMN note text"
    if driver == "psycopg":
        migration(source, 2, 1, f'op.execute("{alter}")')
        command = "alembic upgrade head"
    else:
        (source / "alter.py").write_text(
            "import asyncio, asyncpg, os\n\n\nasync def main():\n"
            '    connection = await asyncpg.connect(os.environ["DATABASE_URL"])\n'
            f'    await connection.execute("{alter}")\n\n\nasyncio.run(main())\n'
        )
        command = "python alter.py"
    before = works.get("/health").json()["release"]
    long_reader = "BEGIN; LOCK TABLE entries IN ACCESS SHARE MODE; SELECT pg_sleep(120)"
    with busy(host, long_reader), reading(works) as took:
        text = refused(
            lab.deploy(
                "works", source={"path": str(source)}, before_start=[command], before_start_lock_timeout=2
            )
        )
    assert {"psycopg": "lock timeout", "asyncpg": "canceling statement due to user request"}[driver] in text
    assert works.get("/health").json()["release"] == before
    print(f"{len(took)} readers, the longest waited {max(took):.2f} s")
    assert len(took) > 20
    assert min(took) >= 0, "a reader got no answer"
    assert 1 < max(took) < 4, "nobody waited behind it, or too long"


def test_a_migration_that_hangs_is_ended_with_its_processes(
    lab: Lab, host: Host, works: Site, source: Path
) -> None:
    """After the timeout neither it, nor what it started, nor its lock in the database is left.

    Red when only the first process of the command is ended, or its session stays on the server.
    """
    hang = 'op.execute("LOCK TABLE ran IN ACCESS EXCLUSIVE MODE")\nsubprocess.Popen(["sleep", "4711"])\n'
    migration(source, 2, 1, f'{hang}op.execute("SELECT pg_sleep(600)")')
    with reading(works) as took:
        text = refused(lab.deploy("works", source={"path": str(source)}, before_start_timeout=6))
    assert "took more than 6 s (apps.works.before_start_timeout)" in text
    assert host.run("pgrep -f '[s]leep 4711'").rc != 0
    held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND locktype = 'relation'"
    wait_until("the lock is gone", lambda: sql(host, held) == "0", 8)
    assert min(took) >= 0
    assert max(took) < 4
    assert works.is_well("/health")


def test_somebody_else_has_the_turn(lab: Lab, host: Host, works: Site, source: Path) -> None:
    """A run that finds the lock taken waits, then ends and says by whom it is held.

    Red when two runs migrate at the same time.
    """
    key = host.check_output(
        "python3 -c 'import hashlib; "
        'print(int.from_bytes(hashlib.sha256(b"fastapi-metal works").digest()[:8], "big") >> 1)\''
    )
    with busy(host, f"SELECT pg_advisory_lock({key}), pg_sleep(120)", "ann-at-her-laptop"):
        begun = time.monotonic()
        text = refused(lab.deploy("works", env={"TURN": "1"}, before_start_timeout=5))
        assert time.monotonic() - begun > 5
    assert "`ann-at-her-laptop`, process " in text
    assert "Wait for it, or end it" in text
    assert runs(host, "0001") == 1


def test_processes_and_timers_are_of_the_release(lab: Lab, host: Host, works: Site, source: Path) -> None:
    """They have what the server has, are restarted with it from their own path, and go when undeclared.

    Red when a unit runs through `current`, lacks a secret, or stays after its key is gone.
    """
    declared: dict[str, Any] = {
        "secrets": {"token": "s3cret-value"},
        "processes": {"worker": {"command": "python -m ledger.worker", "stop_timeout": 5}},
        "timers": {"tick": {"command": "python -m ledger.tell tick", "schedule": "*:*:0/2"}},
    }

    def running() -> dict[str, str]:
        listing = host.check_output(
            "systemctl list-units --plain --no-legend --full 'works.*@*' | awk '{print $1, $3}'"
        )
        return dict(line.split() for line in listing.splitlines())

    def told(name: str, server: Any) -> bool:
        return bool(json.loads(host.check_output(f"cat /var/lib/works/{name}.json")) == server)

    releases = []
    for word in ("first", "second"):
        done = lab.deploy("works", env={"WORD": word}, **declared)
        assert done.returncode == 0, why(done)
        release = works.get("/health").json()["release"]
        server = works.get("/surroundings").json()
        assert server["prefix"] == f"/srv/works/releases/{release}/venv"

        wait_until("the worker of this release", partial(told, "worker", server), 20)
        wait_until("the timer of this release", partial(told, "tick", server), 20)
        jobs = running()
        assert jobs[f"works.worker@{release}.service"] == "active"
        assert jobs[f"works.tick@{release}.timer"] == "active"
        assert {unit.partition("@")[2].rpartition(".")[0] for unit in jobs} == {release}
        releases.append(release)
    assert releases[0] != releases[1]
    pid = host.check_output(f"systemctl show -P MainPID works.worker@{releases[1]}.service")
    assert "python" in host.check_output(f"cat /proc/{pid}/cmdline"), "the shell stands in between"
    # By hand too, only the live release's can be started.
    host.run(f"systemctl start works.worker@{releases[0]}.service")
    assert running().get(f"works.worker@{releases[0]}.service") is None
    assert "changed=0" in lab.deploy("works", env={"WORD": "second"}, **declared).stdout
    done = lab.deploy("works", env={"WORD": "second"})
    assert done.returncode == 0, why(done)
    assert running() == {}
    assert host.run("ls /etc/systemd/system/*.wants/works.*").rc != 0


def test_a_worker_that_does_not_stay_up_puts_the_release_back(
    lab: Lab, host: Host, works: Site, source: Path
) -> None:
    """The message holds its last words, and what served before serves.

    Red when only the web side of a release is watched.
    """
    before = works.get("/health").json()["release"]
    text = refused(lab.deploy("works", processes={"worker": {"command": "echo no queue; exit 7"}}))
    assert "the process `worker` (apps.works.processes.worker) does not stay up" in text
    assert "no queue" in text
    assert works.get("/health").json()["release"] == before
    assert host.run("systemctl is-active 'works.worker@*'").rc != 0


def test_a_schedule_that_systemd_does_not_know_is_refused(lab: Lab, works: Site) -> None:
    """Before anything changes, with one that works.

    Red when the timer's unit is written first and fails then.
    """
    text = refused(lab.deploy("works", timers={"t": {"command": "true", "schedule": "sometimes soon"}}))
    assert "apps.works.timers.t.schedule" in text
    assert "Mon..Fri 06:30" in text


def test_a_schema_that_shuts_the_way_back(lab: Lab, host: Host, works: Site, tmp_path: Path) -> None:
    """Refused undeclared, free when compatible; allowed, it is remembered and traffic is never moved back.

    Red when a release that cannot run on the schema gets traffic again, or nobody is asked before.
    """
    source = tmp_path / "ledger"
    shutil.copytree(ROOT / "tests/apps/ledger", source, ignore=shutil.ignore_patterns("__pycache__"))
    changes: dict[str, Any] = {"source": {"path": str(source)}}
    entry = {**lab.variable("apps")["works"], **changes}
    first = works.get("/health").json()["release"]
    migration(source, 2, 1, 'op.execute("ALTER TABLE entries ADD COLUMN remark text")', "None")
    text = refused(lab.deploy("works", **changes))
    assert "0002 (undeclared)" in text
    assert "no way back but a restore" in text
    assert works.get("/health").json()["release"] == first
    assert sql(host, "SELECT version_num FROM alembic_version") == "0001"
    # Declared, it goes on, and an older release may come back over it.
    migration(source, 2, 1, 'op.execute("ALTER TABLE entries ADD COLUMN remark text")', "True")
    done = lab.deploy("works", **changes)
    assert done.returncode == 0, why(done)
    second = works.get("/health").json()["release"]
    schema = json.loads(host.check_output("cat /srv/works/current/release.json"))["schema"]
    assert schema["revision"] == ["0002"]
    assert schema["applied"] == [{"revision": "0002", "compatible": True}]
    done = lab.deploy("works", env={"OLDER": "code"})
    assert done.returncode == 0, why(done)
    assert sql(host, "SELECT version_num FROM alembic_version") == "0002"
    assert works.get("/health").json()["release"] not in {first, second}
    # Allowed, and then ill with traffic: it stays, and says so.
    migration(source, 3, 2, 'op.execute("ALTER TABLE entries DROP COLUMN remark")', "False")
    ill = {**entry, "after_start": ["echo no seed; exit 1"]}
    done = lab.playbook("deploy", app="works", apps={"works": ill}, app_allow_incompatible_schema=True)
    text = refused(done)
    assert "traffic is not moved back" in text
    third = works.get("/health").json()["release"]
    assert third not in {first, second}
    assert sql(host, "SELECT version_num FROM alembic_version") == "0003"
    text = refused(lab.deploy("works", env={"OLDER": "again"}))
    assert "0003 (declared incompatible)" in text
    assert works.get("/health").json()["release"] == third
    # Forward again, for whoever comes after this test.
    done = lab.playbook("deploy", app="works", apps={"works": entry})
    assert done.returncode == 0, why(done)
    sql(host, "UPDATE alembic_version SET version_num = '0001'")
