"""The way back is taken by what is recorded, through the same gate, on all hosts or on none."""

from pathlib import Path
from typing import Any

import pytest
from engine_fake import Behaviour, Fleet
from test_engine_fleet import history, make, words

ENTRY: dict[str, Any] = {"health": {"stable": 1}, "release_watch": 2, "before_start": ["migrate"]}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Return two machines that serve `new` and served `old` and `oldest` before."""
    made = make(tmp_path, "web1", "web2")
    for word in ("oldest", "old", "new"):
        assert made.deploy(word, **ENTRY).reason is None
    return made


def releases(fleet: Fleet) -> list[str]:
    """Return the releases on the first host, oldest first."""
    host = next(iter(fleet.hosts.values()))
    return [record.id for record in host.engine(host.request("any")).store.all()]


def test_back_to_the_release_before(fleet: Fleet) -> None:
    """No name is needed, no command runs again, and every host has it."""
    commands = [list(host.machine.commands) for host in fleet.hosts.values()]
    run = fleet.roll_back()
    assert run.reason is None
    assert words(fleet) == ["old", "old"]
    assert run.states == dict.fromkeys(fleet.hosts, "released")
    assert [host.machine.commands for host in fleet.hosts.values()] == commands
    assert [history(host)[-1]["result"] for host in fleet.hosts.values()] == ["rolled back"] * 2


def test_back_to_a_named_release(fleet: Fleet) -> None:
    """As long as it is on disk, any release can be named."""
    assert fleet.roll_back(releases(fleet)[0]).reason is None
    assert words(fleet) == ["oldest", "oldest"]


def test_back_and_forth(fleet: Fleet) -> None:
    """A rollback is a switch like any other: the next one undoes it, and so does a deploy."""
    assert fleet.roll_back().reason is None
    assert words(fleet) == ["old", "old"]
    assert fleet.roll_back().reason is None
    assert words(fleet) == ["new", "new"]
    assert fleet.roll_back().reason is None
    assert fleet.deploy("new", **ENTRY).reason is None
    assert words(fleet) == ["new", "new"]


def test_a_name_that_is_none_is_refused_with_those_that_are(fleet: Fleet) -> None:
    """The list has every release of every host, where it came from, and which is live; nothing is touched."""
    run = fleet.roll_back("20200101T0000-000000")
    assert run.reason
    assert "release 20200101T0000-000000 of shop is not whole, with its settings, on web1, web2" in run.reason
    for name in releases(fleet):
        assert run.reason.count(name) == 2
    assert "(live)" in run.reason
    assert "(previous)" in run.reason
    assert words(fleet) == ["new", "new"]
    assert not any(host.layout.lease.exists() for host in fleet.hosts.values())


def test_a_release_that_is_not_on_every_host_is_refused(fleet: Fleet) -> None:
    """Half of it is none."""
    old = releases(fleet)[1]
    fleet.hosts["web2"].layout.record(old).unlink()
    reason = fleet.roll_back(old).reason
    assert reason
    assert f"release {old} of shop is not whole, with its settings, on web2;" in reason
    assert words(fleet) == ["new", "new"]


def test_the_gate_of_then_is_the_gate_of_now(tmp_path: Path) -> None:
    """The health check that was recorded counts, whatever the inventory says today."""
    fleet = make(tmp_path, "web1")
    fleet.hosts["web1"].machine.behaviour["teapot"] = Behaviour(status=418)
    teapot = {**ENTRY, "health": {"stable": 1, "status": 418}}
    assert fleet.deploy("teapot", **teapot).reason is None
    assert fleet.deploy("new", **ENTRY).reason is None
    assert fleet.roll_back().reason is None
    assert words(fleet) == ["teapot"]


@pytest.mark.parametrize("behaviour", [Behaviour(starts=False), Behaviour(dies_after=2)])
def test_a_release_that_is_no_longer_well_is_put_back(fleet: Fleet, behaviour: Behaviour) -> None:
    """What served before the rollback serves after it, on every host, and the reason is told."""
    fleet.hosts["web2"].machine.behaviour["old"] = behaviour
    run = fleet.roll_back()
    assert run.reason
    assert words(fleet) == ["new", "new"]


def test_the_way_back_out_of_a_mixed_fleet(fleet: Fleet) -> None:
    """A run that died between two hosts: `previous` is the one that one host has and the other had."""

    class Death(BaseException):
        pass

    def die(host: str, step: str) -> None:
        if (host, step) == ("web2", "switch"):
            raise Death

    fleet.before = die
    with pytest.raises(Death):
        fleet.deploy("newer", **ENTRY)
    fleet.before = lambda host, step: None
    assert words(fleet) == ["newer", "new"]
    assert fleet.roll_back().reason is None
    assert words(fleet) == ["new", "new"]


def test_no_secret_is_recorded(fleet: Fleet) -> None:
    """release.json is read by everybody; what may be secret is not in it."""
    assert (
        fleet.deploy("x", **{**ENTRY, "secrets": {"key": "very-secret"}, "env": {"A": "private"}}).reason
        is None
    )
    text = "".join(path.read_text() for path in fleet.hosts["web1"].layout.releases.glob("*/release.json"))
    assert "very-secret" not in text
    assert "private" not in text


def test_where_nothing_was_ever_released(tmp_path: Path) -> None:
    """There is no way back from nothing."""
    reason = make(tmp_path, "web1").roll_back().reason
    assert reason
    assert "there is no release of shop on this machine; run playbooks/deploy.yml first" in reason
