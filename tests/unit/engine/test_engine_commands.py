"""One-off commands run once, in turn, and never stop what serves."""

from collections import Counter
from pathlib import Path

import pytest
from engine_fake import FakeMachine, Host, KillAt, Killed
from fastapi_metal.database.turn import key_of
from fastapi_metal.machine.postgresql import address

MIGRATE = {"before_start": ["migrate"], "database": "postgresql"}


def test_commands_after_the_start_run_once_per_release(host: Host) -> None:
    """They run after the switch, and neither an unchanged run nor a way back repeats them."""
    first = host.deploy("one", after_start=["seed"])
    effects = first["effects"]
    assert effects.index("switch.rename") < effects.index("after_start.command.1")
    host.deploy("one", after_start=["seed"])
    host.deploy("two", after_start=["seed"])
    assert host.machine.commands == ["seed", "seed"]
    host.deploy("one", after_start=["seed"])
    assert host.machine.commands == ["seed", "seed"]


def test_commands_after_the_start_run_while_the_old_release_is_up(host: Host) -> None:
    """Their failure puts traffic back to it, and it has not been stopped meanwhile."""
    host.deploy("good")
    host.machine.failing_commands.add("seed")
    failed = host.deploy("bad", after_start=["seed"])
    assert "`seed` (apps.shop.after_start) ended with status 1" in failed["problem"]
    assert host.live_word() == "good"
    assert "drain.stop" not in failed["effects"]
    assert "put_back.revive" not in failed["effects"]
    host.machine.failing_commands.clear()
    assert host.deploy("bad", after_start=["seed"])["problem"] is None
    assert host.live_word() == "bad"


def test_a_command_may_have_a_directory_of_its_own(host: Host) -> None:
    """What migrates often lies beside the application."""
    release = host.deploy("one", before_start=["a", {"command": "b", "workdir": "shop"}])["release"]
    places = [
        next(line for line in call.properties if line.startswith("WorkingDirectory="))
        for call in host.machine.one_off_calls
    ]
    source = host.layout.source(release)
    assert places == [f"WorkingDirectory={source}", f"WorkingDirectory={source}/shop"]


def test_another_command_or_directory_is_another_release(host: Host) -> None:
    """Both are configuration, and the report says so."""
    host.deploy("one", after_start=["seed"])
    done = host.deploy("one", after_start=[{"command": "seed", "workdir": "shop"}])
    assert "because of: config (after_start)" in done["report"][0]


def test_a_command_that_hangs_is_named_with_its_limit(host: Host) -> None:
    """The message names the key that sets the limit, and the old release serves."""
    host.deploy("good")
    host.machine.hanging_commands.add("migrate")
    failed = host.deploy("bad", **MIGRATE, before_start_timeout=7)
    assert "took more than 7 s (apps.shop.before_start_timeout) and was ended with all" in failed["problem"]
    assert any("pg_terminate_backend" in query for query in host.machine.sessions[-1].asked)
    assert host.live_word() == "good"


def test_a_turn_is_held_while_commands_run_and_given_back(host: Host) -> None:
    """One session, one lock, and a name by which others see who has it."""
    host.deploy("one", **MIGRATE)
    (session,) = host.machine.sessions
    assert session.asked[0] == f"SELECT pg_try_advisory_lock({key_of('shop')})"
    assert session.name.startswith("fastapi-metal shop ")
    assert session.closed
    host.deploy("one", **MIGRATE)
    assert len(host.machine.sessions) == 1


def test_a_turn_is_given_back_when_a_command_fails(host: Host) -> None:
    """The next run does not wait for this one."""
    host.machine.failing_commands.add("migrate")
    host.deploy("one", **MIGRATE)
    assert host.machine.sessions[-1].closed


def test_somebody_else_has_the_turn_and_is_named(host: Host) -> None:
    """After a while the run ends, says who it is, and how to end it; nothing has moved."""
    host.deploy("good")
    host.machine.turn_holder = ["fastapi-metal shop by ann@laptop", "4711", "198.18.0.9", "2026-11-21 22:10"]
    failed = host.deploy("bad", **MIGRATE, before_start_timeout=20)
    assert "`fastapi-metal shop by ann@laptop`, process 4711 of the server" in failed["problem"]
    assert "SELECT pg_terminate_backend(4711)" in failed["problem"]
    assert host.machine.commands == []
    assert host.live_word() == "good"


def test_whoever_waits_in_the_way_is_cancelled_whatever_the_driver(host: Host) -> None:
    """PGOPTIONS is for libpq; a session that does not read it is cancelled from outside."""
    host.deploy("one", **MIGRATE, before_start_lock_timeout=2)
    (call,) = host.machine.one_off_calls
    assert call.env["PGOPTIONS"] == "-c statement_timeout=600s -c lock_timeout=2s"
    assert any("pg_cancel_backend" in query for query in host.machine.sessions[-1].asked)
    host.deploy("two", **MIGRATE, before_start_lock_timeout=0)
    assert "lock_timeout" not in host.machine.one_off_calls[-1].env["PGOPTIONS"]
    assert not any("pg_cancel_backend" in query for query in host.machine.sessions[-1].asked)


def test_commands_of_a_run_that_died_are_waited_for(host: Host) -> None:
    """Two migrations at once are what the turn is against; a dead engine has let go of it."""
    host.machine.orphans = ["1", "1", "1"]
    begin = host.machine.time
    assert host.deploy("one", **MIGRATE)["problem"] is None
    assert host.machine.time - begin >= 1
    assert host.machine.orphans == []


def test_killed_anywhere_the_commands_after_the_start_are_completed(
    tmp_path: Path, count: Counter[str]
) -> None:
    """Whatever a dead run has left of them is done by the next one, and then never again."""
    entry = {"after_start": ["seed"], **MIGRATE}
    number = 0
    while True:
        root = tmp_path / str(number)
        root.mkdir()
        host = Host(FakeMachine(root))
        host.deploy("old")
        host.observer = KillAt(number)
        try:
            host.deploy("new", **entry)
            break
        except Killed:
            count["places where the engine was killed around commands"] += 1
        host.observer = lambda moment, name: None
        assert host.deploy("new", **entry)["problem"] is None
        assert host.live_word() == "new"
        assert "seed" in host.machine.commands
        assert all(session.closed for session in host.machine.sessions)
        assert host.deploy("new", **entry)["effects"] == []
        number += 1
    assert number > 20


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql:///shop?host=/run/postgresql", ("/run/postgresql", 5432, "shop", "shop", "vault")),
        ("postgresql://shop@db.example.org/data", ("db.example.org", 5432, "shop", "data", "vault")),
        ("postgresql://o:p%40@198.18.0.1:6432/x", ("198.18.0.1", 6432, "o", "x", "p@")),
        ("postgresql://[::1]:5433/x?sslmode=disable", ("::1", 5433, "shop", "x", "vault")),
        ("postgresql://a,b:6000/x", ("a", 5432, "shop", "x", "vault")),
        ("postgresql://", ("/run/postgresql", 5432, "shop", "shop", "vault")),
    ],
)
def test_an_address_is_read_as_libpq_reads_it(url: str, found: tuple[str, int, str, str, str]) -> None:
    """Whoever names a database once is understood by the application and by the engine."""
    where = address(url, "shop", "vault")
    assert (where.host, where.port, where.user, where.database, where.password) == found
    assert "vault" not in repr(where)
