"""A release whose password the database does not take is not started; no way back undoes a rotation."""

from pathlib import Path
from typing import Any

import pytest
from engine_fake import Fleet
from fastapi_metal.database import login
from test_engine_fleet import make, words

ENTRY: dict[str, Any] = {"health": {"stable": 1}, "release_watch": 2, "database": "postgresql"}
URL = "postgresql://shop_{}@db1.example.org/shop?application_name=$it's"


def entry(password: str, role: str = "aaaaaa", **more: Any) -> dict[str, Any]:
    """Return an application that logs in over the network."""
    env = {"DATABASE_URL": URL.format(role)}
    return {**ENTRY, "secrets": {"database_password": password}, "env": env, **more}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Return two machines that serve `new`, and served `old` with another password before."""
    made = make(tmp_path, "web1", "web2")
    assert made.deploy("old", **entry("first", "aaaaaa")).reason is None
    assert made.deploy("new", **entry("second", "bbbbbb")).reason is None
    return made


def refuse(fleet: Fleet, password: str, code: str) -> None:
    """Let the database take a password no longer, on any machine."""
    for host in fleet.hosts.values():
        host.machine.refused[password] = code


def test_a_way_back_does_not_open_what_was_locked(fleet: Fleet) -> None:
    """Nothing is started, what serves serves on, and the sentence has both ways out."""
    refuse(fleet, "first", "28000")
    reason = fleet.roll_back().reason
    assert reason
    assert "as `shop_aaaaaa`, which is locked since the password was replaced" in reason
    assert "apps.shop.source" in reason
    assert 'ALTER ROLE "shop_aaaaaa" LOGIN' in reason
    assert words(fleet) == ["new", "new"]
    for host in fleet.hosts.values():
        old = host.engine(host.request("any")).store.previous()
        assert not [unit for unit in host.machine.running if old and old in unit]


@pytest.mark.parametrize("how", ["files", "env", "plain"])
def test_a_release_that_nobody_knows_yet_is_not_started(tmp_path: Path, how: str) -> None:
    """However the password lies on the machine, it is tried before the release runs."""
    fleet = make(tmp_path, "web1")
    for host in fleet.hosts.values():
        host.machine.encrypts = how != "plain"
    assert fleet.deploy("old", **entry("first")).reason is None
    refuse(fleet, 'se"cond$', "28P01")
    given = entry('se"cond$', "bbbbbb", secrets_as="env" if how == "env" else "files")
    reason = fleet.deploy("new", **given).reason
    assert reason
    assert "db1.example.org does not let in `shop_bbbbbb`" in reason
    assert "{{ app_database_login }}" in reason
    assert 'se"cond' not in reason
    assert words(fleet) == ["old"]


def test_a_database_that_does_not_answer_refuses_nothing(fleet: Fleet) -> None:
    """The release waits for it as at every start."""
    refuse(fleet, "first", "")
    assert fleet.roll_back().reason is None
    assert words(fleet) == ["old", "old"]


def test_the_logins_of_the_live_release_are_in_use(fleet: Fleet) -> None:
    """And those of one that still runs; the ones of releases that only lie there are not."""
    host = fleet.hosts["web1"]
    assert login.in_use(host.layout, host.machine) == ["shop_bbbbbb"]
    old = host.engine(host.request("any")).store.previous()
    assert old
    host.machine.start([host.layout.service(old)], wait=False)
    assert login.in_use(host.layout, host.machine) == ["shop_aaaaaa", "shop_bbbbbb"]


def test_who_comes_over_the_socket_has_no_login(tmp_path: Path) -> None:
    """It is known by its Linux user: there is no password to replace."""
    fleet = make(tmp_path, "web1")
    assert fleet.deploy("old", **ENTRY, secrets={"database_password": "first"}).reason is None
    host = fleet.hosts["web1"]
    assert login.in_use(host.layout, host.machine) == []
    refuse(fleet, "first", "28P01")
    host.machine.refused["first"] = "28P01"
    assert fleet.deploy("new", **ENTRY, secrets={"database_password": "first"}).reason is None
