"""Where two releases do not fit into memory, the old one ends first, and requests are taken all the time."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from engine_fake import Behaviour, FakeMachine, Host, KillAt, Killed

ENTRY: dict[str, Any] = {"health": {"stable": 1}, "release_watch": 2, "drain_timeout": 5}


def small(root: Path) -> Host:
    """Return a machine that carries one release, and serves `old`."""
    root.mkdir(exist_ok=True)
    host = Host(FakeMachine(root, memory=1500, uses=1000))
    assert host.deploy("old", **ENTRY)["problem"] is None
    host.machine.most = 0
    return host


def listens(host: Host) -> bool:
    """Tell whether requests are taken, by a release that runs or in a socket's queue."""
    live = host.layout.current.readlink().name
    return f"shop@{live}.socket" in host.machine.running


def test_handover_is_chosen_and_said(tmp_path: Path) -> None:
    """The report names the figures, and never do two releases take memory at once."""
    host = small(tmp_path)
    done = host.deploy("new", **ENTRY)
    assert done["problem"] is None
    assert host.live_word() == "new"
    assert host.machine.most == 1
    said = [line for line in done["report"] if "handover" in line]
    assert "500 MiB are available, 128 must stay free, and the live release uses 1000 MiB" in said[0]
    assert not list((tmp_path / "run/systemd/system").rglob("*.conf"))
    assert not list(host.layout.releases.glob("*/hold"))
    assert host.deploy("new", **ENTRY)["effects"] == []


def test_where_both_fit_nothing_ends_first(tmp_path: Path) -> None:
    """Side by side is the rule."""
    host = small(tmp_path)
    host.machine.memory = 4000
    assert host.deploy("new", **ENTRY)["problem"] is None
    assert host.machine.most == 2


@pytest.mark.parametrize(("switch", "most"), [("side_by_side", 2), ("handover", 1)])
def test_a_choice_of_the_user_counts(tmp_path: Path, switch: str, most: int) -> None:
    """Whoever sets it knows better."""
    host = small(tmp_path)
    host.machine.memory = 1500 if switch == "side_by_side" else 4000
    assert host.deploy("new", switch=switch, **ENTRY)["problem"] is None
    assert host.machine.most == most


@pytest.mark.parametrize(
    "behaviour", [Behaviour(starts=False), Behaviour(status=500), Behaviour(dies_after=2)]
)
def test_a_handover_that_fails_goes_back(tmp_path: Path, behaviour: Behaviour) -> None:
    """The old release is started again once the failed one has ended, and requests wait for it."""
    host = small(tmp_path)
    host.machine.behaviour["bad"] = behaviour
    done = host.deploy("bad", **ENTRY)
    assert done["problem"]
    assert host.live_word() == "old"
    assert host.machine.most == 1
    assert host.deploy("old", **ENTRY)["effects"] == []


def places(tmp_path: Path) -> int:
    """Return at how many places a handover can be killed."""
    host = small(tmp_path / "rehearsal")
    watcher = KillAt(-1)
    host.observer = watcher
    host.deploy("new", **ENTRY)
    return len(watcher.seen)


@pytest.mark.parametrize("power", [False, True], ids=["kill", "power cut"])
def test_a_handover_killed_anywhere_is_completed(tmp_path: Path, count: Counter[str], power: bool) -> None:
    """A socket always takes the requests, a boot brings a whole release back, and the next run finishes."""
    for number in range(places(tmp_path)):
        host = small(tmp_path / str(number))
        killer = KillAt(number)
        host.observer = killer
        with pytest.raises(Killed):
            host.deploy("new", **ENTRY)
        host.observer = lambda moment, name: None
        place = " ".join(killer.seen[-1])
        count["places where the engine was killed in a handover"] += 1
        assert listens(host), place
        if power:
            host.machine.power_cut()
            assert host.live_word() in {"old", "new"}, place
        assert host.deploy("new", **ENTRY)["problem"] is None, place
        assert host.live_word() == "new", place
        assert host.deploy("new", **ENTRY)["effects"] == [], place
