"""The engine may be killed, or power may fail, right before and right after everything it does.

The places are taken from the engine's own list of effects: none is written down here.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_fake import Behaviour, FakeMachine, Host, KillAt, Killed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ENTRY = {
    "before_start": ["migrate"],
    "after_start": ["seed"],
    "processes": {"worker": {"command": "work"}},
    "timers": {"report": {"command": "report", "schedule": "daily"}},
    "secrets": {"key": "value"},
    "keep_releases": 2,
    "release_watch": 2,
    "health": {"stable": 1},
}


def moments(tmp_path: Path, *before: str, word: str, bad: bool = False) -> int:
    """Return how many places there are in a deploy, by watching one."""
    host = Host(FakeMachine(tmp_path / "rehearsal"))
    host.machine.root.mkdir()
    for each in before:
        host.deploy(each, **ENTRY)
    if bad:
        host.machine.behaviour[word] = Behaviour(dies_after=2)
    watcher = KillAt(-1)
    host.observer = watcher
    host.deploy(word, **ENTRY)
    return len(watcher.seen)


def killed_everywhere(
    tmp_path: Path, *before: str, word: str, bad: bool = False
) -> Iterator[tuple[Host, str]]:
    """Yield a machine for each place, on which the engine was killed there."""
    for number in range(moments(tmp_path, *before, word=word, bad=bad)):
        root = tmp_path / str(number)
        root.mkdir()
        host = Host(FakeMachine(root))
        for each in before:
            host.deploy(each, **ENTRY)
        if bad:
            host.machine.behaviour[word] = Behaviour(dies_after=2)
        killer = KillAt(number)
        host.observer = killer
        with pytest.raises(Killed):
            host.deploy(word, **ENTRY)
        host.observer = lambda moment, name: None
        yield host, " ".join(killer.seen[-1])


def renames(host: Host) -> list[str]:
    """Return the releases that got the traffic, as noted before each switch."""
    return [str(entry["to"]) for entry in host.engine(host.request("any")).store.switches()]


def is_settled(host: Host) -> bool:
    """Tell whether one release is live, enabled and alone, and nothing of a half one is left."""
    live = host.layout.current.readlink().name
    halves = [path for path in host.layout.releases.iterdir() if not (path / "release.json").is_file()]
    jobs = {f"shop.worker@{live}.service", f"shop.report@{live}.timer"}
    alone = host.machine.enabled("shop") == {live} == host.machine.loaded("shop")
    return (
        alone and jobs == host.machine.jobs_enabled("shop") == host.machine.jobs_alive("shop") and not halves
    )


def only_live_processes(host: Host) -> bool:
    """Tell whether no process of another release was started by a boot."""
    live = host.layout.current.readlink().name if host.layout.current.is_symlink() else ""
    services = {unit for unit in host.machine.jobs_alive("shop") if unit.endswith(".service")}
    return services <= {f"shop.worker@{live}.service"}


@pytest.mark.parametrize("before", [(), ("old",), ("older", "old")], ids=["first", "second", "pruning"])
@pytest.mark.parametrize("power", [False, True], ids=["kill", "power cut"])
def test_killed_anywhere_the_next_run_completes(
    tmp_path: Path, count: Counter[str], before: tuple[str, ...], power: bool
) -> None:
    """What was live serves on, a reboot brings a whole release back, and one more run finishes the rest."""
    for host, place in killed_everywhere(tmp_path, *before, word="new"):
        count["places where the engine was killed in a deploy"] += 1
        if power:
            host.machine.power_cut()
            assert only_live_processes(host), place
            assert not before or host.machine.jobs_alive("shop"), f"{place}: a boot without the worker"
        if before:
            assert host.live_word() in {"old", "new"}, place
        host.deploy("new", **ENTRY)
        assert host.live_word() == "new", place
        assert is_settled(host), place
        assert len(set(renames(host))) == len(before) + 1, f"{place}: more than one switch"
        assert len(renames(host)) == len(before) + 1, f"{place}: more than one switch"
        assert host.deploy("new", **ENTRY)["effects"] == [], f"{place}: not idempotent"


def test_killed_while_putting_back_the_next_run_completes(tmp_path: Path, count: Counter[str]) -> None:
    """The way back can be cut short too; something always serves, and a good release mends it."""
    for host, place in killed_everywhere(tmp_path, "old", word="bad", bad=True):
        count["places where the engine was killed in a put-back"] += 1
        assert host.live_word() in {"old", "bad"}, place
        host.deploy("good", **ENTRY)
        assert host.live_word() == "good", place
        assert is_settled(host), place


def test_killed_anywhere_the_release_that_was_to_go_can_be_asked_for(tmp_path: Path) -> None:
    """What is being removed is not taken for a whole release: whoever asks for it gets one that works."""
    for host, place in killed_everywhere(tmp_path, "older", "old", word="new"):
        assert host.deploy("older", **ENTRY)["problem"] is None, place
        assert host.live_word() == "older", place
        assert is_settled(host), place


WORDS = st.sampled_from(["a", "b", "c", "bad"])
RUNS = st.lists(st.tuples(WORDS, st.integers(0, 60), st.booleans()), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=RUNS)
def test_any_sequence_of_deaths_leaves_something_that_serves(
    tmp_path_factory: pytest.TempPathFactory, count: Counter[str], runs: list[tuple[str, int, bool]]
) -> None:
    """Good and bad releases, each killed somewhere, some with a power cut: once served, always served."""
    host = Host(FakeMachine(tmp_path_factory.mktemp("run")))
    host.machine.behaviour["bad"] = Behaviour(status=500)
    served = False
    for word, number, power in runs:
        host.observer = KillAt(number)
        try:
            host.deploy(word, **ENTRY)
        except Killed:
            count["deploys killed in a random sequence"] += 1
        if power:
            host.machine.power_cut()
            assert only_live_processes(host)
        live = host.live_word()
        assert live != "bad"
        assert live is not None or not served
        served = served or live is not None
    host.observer = lambda moment, name: None
    assert host.deploy("end", **ENTRY)["problem"] is None
    assert host.live_word() == "end"
    assert is_settled(host)
    assert host.deploy("end", **ENTRY)["effects"] == []
