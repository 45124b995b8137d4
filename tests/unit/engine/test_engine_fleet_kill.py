"""A fleet whose controller dies at any effect of any host, or loses hosts, is completed by the next run.

The places are the engine's own effects, in the order in which the hosts come to them.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from engine_fake import Behaviour, Fleet, Host, KillAt, Killed, LostError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_engine_fleet import make, words
from test_engine_kill import renames

ENTRY: dict[str, Any] = {
    "before_start": ["migrate"],
    "keep_releases": 2,
    "release_watch": 1,
    "health": {"stable": 1},
}


def serving(path: Path, *names: str) -> Fleet:
    """Return a fleet that serves `old`."""
    path.mkdir(exist_ok=True)
    fleet = make(path, *names)
    assert fleet.deploy("old", **ENTRY).reason is None
    return fleet


def watch(fleet: Fleet, observer: Any) -> None:
    """Let one observer see the effects of all hosts."""
    for host in fleet.hosts.values():
        host.observer = observer


def migrations(fleet: Fleet) -> int:
    """Return how many times a command has run, on all hosts together."""
    return sum(len(host.machine.commands) for host in fleet.hosts.values())


def is_alone(host: Host) -> bool:
    """Tell whether one release is live, enabled and alone, and nothing of a half one is left."""
    live = host.layout.current.readlink().name
    halves = [path for path in host.layout.releases.iterdir() if not (path / "release.json").is_file()]
    return host.machine.enabled("shop") == {live} == host.machine.loaded("shop") and not halves


def assert_in_order(fleet: Fleet, word: str, place: str) -> None:
    """Every host serves one release, alone, nobody holds a lease, and another run changes nothing."""
    assert words(fleet) == [word] * len(fleet.hosts), place
    live = {host.layout.current.readlink().name for host in fleet.hosts.values()}
    assert len(live) == 1, f"{place}: {live}"
    for host in fleet.hosts.values():
        assert is_alone(host), place
        assert not host.layout.lease.exists(), place
    again = fleet.deploy(word, **ENTRY)
    assert not [result["effects"] for result in again.results if result["effects"]], (
        f"{place}: not idempotent"
    )


def places(tmp_path: Path, batch: str) -> int:
    """Return at how many places a deploy to two hosts can be killed."""
    fleet, watcher = serving(tmp_path / "rehearsal", "web1", "web2"), KillAt(-1)
    watch(fleet, watcher)
    fleet.deploy("new", release_batch=batch, **ENTRY)
    return len(watcher.seen)


def test_killed_at_any_effect_of_any_host(tmp_path: Path, count: Counter[str]) -> None:
    """One more run leaves no host on another version, with one switch per host and one migration."""
    batch = "1"  # so that one host has traffic on the new release while the other has none
    for number in range(places(tmp_path, batch)):
        fleet = serving(tmp_path / str(number), "web1", "web2")
        killer = KillAt(number)
        watch(fleet, killer)
        with pytest.raises(Killed):
            fleet.deploy("new", release_batch=batch, **ENTRY)
        watch(fleet, lambda moment, name: None)
        place = " ".join(killer.seen[-1])
        count["places where a fleet's controller was killed"] += 1
        assert set(words(fleet)) <= {"old", "new"}, place
        assert fleet.deploy("new", **ENTRY).reason is None, place
        for host in fleet.hosts.values():
            assert len(renames(host)) == 2, f"{place}: more than one switch"
        # A command that was cut off right after it ran, before that was noted, runs again.
        twice = killer.seen[-1] in {("after", "prepare.command.1"), ("before", "prepare.record")}
        assert migrations(fleet) == 2 + twice, place
        assert_in_order(fleet, "new", place)


WORDS = st.sampled_from(["a", "b", "bad"])
HOSTS = ["web1", "web2", "web3"]
STEPS = ["check", "stage", "prepare", "start", "switch", "drain", "put_back", "ensure"]
LOST = st.lists(st.tuples(st.sampled_from(HOSTS), st.sampled_from(STEPS), st.booleans()), max_size=2)
RUNS = st.lists(
    st.tuples(WORDS, st.sampled_from(["100%", "1"]), st.none() | st.integers(0, 120), LOST, st.booleans()),
    min_size=1,
    max_size=4,
)


def lose(fleet: Fleet, lost: list[tuple[str, str, bool]]) -> None:
    """Let hosts be lost from a step on, before it or after it."""
    gone: set[str] = set()

    def before(host: str, step: str) -> None:
        if host in gone or (host, step, True) in lost:
            gone.add(host)
            raise LostError("no route to host")

    def after(host: str, step: str) -> None:
        if (host, step, False) in lost:
            gone.add(host)
            raise LostError("timed out")

    fleet.before, fleet.after = before, after


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=RUNS, size=st.integers(2, 3))
def test_any_sequence_of_deaths_and_lost_hosts(
    tmp_path_factory: pytest.TempPathFactory,
    count: Counter[str],
    runs: list[tuple[str, str, int | None, list[tuple[str, str, bool]], bool]],
    size: int,
) -> None:
    """Whatever happened, what served is served, every failed run says so, and one more puts all in order."""
    fleet = serving(tmp_path_factory.mktemp("fleet") / "hosts", *HOSTS[:size])
    for host in fleet.hosts.values():
        host.machine.behaviour["bad"] = Behaviour(status=500)
    for word, batch, number, lost, power in runs:
        count["runs on a fleet with deaths and lost hosts"] += 1
        watch(fleet, KillAt(-1 if number is None else number))
        lose(fleet, lost)
        before = words(fleet)
        try:
            run = fleet.deploy(word, release_batch=batch, **ENTRY)
        except Killed:
            count["of them with a controller that was killed"] += 1
        else:
            same = words(fleet) == [word] * size
            assert run.reason or same, "a run that left hosts behind did not fail"
            assert run.reason or word != "bad"
            assert list(run.states) == list(fleet.hosts), "a host without a row"
            if run.reason and not lost:
                assert words(fleet) == before, "a failure did not put all back"
        if power:
            for host in fleet.hosts.values():
                host.machine.power_cut()
        assert None not in words(fleet)
        assert "bad" not in words(fleet)
    lose(fleet, [])
    watch(fleet, lambda moment, name: None)
    assert fleet.deploy("end", **ENTRY).reason is None
    assert_in_order(fleet, "end", str(runs))
