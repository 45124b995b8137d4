"""An application goes as a whole, its data stays unless told, and others are not touched."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from engine_fake import FakeMachine, Host, KillAt, Killed

ENTRY: dict[str, Any] = {"health": {"stable": 1}, "release_watch": 2, "secrets": {"key": "value"}}


def remove(host: Host, data: bool = False) -> dict[str, Any]:
    """Remove the application from a host."""
    return host.step("remove", {**host.request("unknown"), "remove_data": data})


def served(root: Path) -> Host:
    """Return a machine with two releases, some data, and files of another application with a similar name."""
    root.mkdir(exist_ok=True)
    host = Host(FakeMachine(root))
    for word in ("old", "new"):
        assert host.deploy(word, **ENTRY)["problem"] is None
    (host.layout.state / "photo").touch()
    for other in ("srv/shop-admin/current", "etc/shop-admin/key", "etc/systemd/system/shop-admin@.service"):
        (root / other).parent.mkdir(parents=True, exist_ok=True)
        (root / other).touch()
    host.machine.enabled_units.add("shop-admin@1.service")
    return host


def left(host: Host) -> list[str]:
    """Return the files of the application that are still there."""
    places = (host.layout.home, host.layout.etc, host.layout.system_units)
    files = [path for place in places if place.exists() for path in place.rglob("*")]
    return [str(path) for path in files if "shop" in path.name and "shop-admin" not in str(path)]


def test_all_of_it_goes_and_the_data_stay(tmp_path: Path) -> None:
    """Nothing runs, nothing starts at boot, no secret is left, and a second time changes nothing."""
    host = served(tmp_path)
    assert remove(host)["problem"] is None
    assert not host.layout.home.exists()
    assert not host.layout.etc.exists()
    assert not left(host)
    assert not host.machine.running
    assert host.machine.enabled_units == {"shop-admin@1.service"}
    assert (host.layout.state / "photo").exists()
    assert (tmp_path / "etc/shop-admin/key").exists()
    assert remove(host)["effects"] == []
    assert not host.layout.home.exists()


def test_the_data_go_when_told(tmp_path: Path) -> None:
    """Also after the rest has gone, and with them the user whose they were."""
    host = served(tmp_path)
    remove(host)
    assert remove(host, data=True)["problem"] is None
    assert not host.layout.state.exists()
    assert not host.machine.users
    assert remove(host, data=True)["effects"] == []


def test_it_can_come_back(tmp_path: Path) -> None:
    """Whoever puts it into the inventory again gets a first release over the data of before."""
    host = served(tmp_path)
    remove(host)
    done = host.deploy("again", **ENTRY)
    assert done["problem"] is None
    assert "first release" in done["report"][0]
    assert (host.layout.state / "photo").exists()


def test_a_name_that_is_another_programs_is_refused(host: Host) -> None:
    """A mistyped name removes nothing."""
    (host.layout.etc / "conf.d").mkdir(parents=True)
    assert "was not made by the release engine" in remove(host)["problem"]
    assert (host.layout.etc / "conf.d").is_dir()


@pytest.mark.parametrize("data", [False, True])
def test_killed_anywhere_the_next_run_completes(tmp_path: Path, count: Counter[str], data: bool) -> None:
    """A removal can die at any place, and be run again."""
    number = 0
    while True:
        host = served(tmp_path / str(number))
        host.observer = KillAt(number)
        try:
            remove(host, data)
        except Killed:
            count["places where the engine was killed in a removal"] += 1
        else:
            break
        host.observer = lambda moment, name: None
        assert remove(host, data)["problem"] is None
        assert not left(host)
        assert not host.machine.running
        number += 1
    assert number > 10
