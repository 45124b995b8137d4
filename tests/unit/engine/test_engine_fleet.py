"""All hosts of an application go, or none does, and the operator sees what became of each."""

import fcntl
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from engine_fake import Behaviour, FakeMachine, Fleet, Host, Killed, LostError
from fastapi_metal.fleet import batches

ROOT = Path(__file__).resolve().parents[3]
ENTRY: dict[str, Any] = {"health": {"stable": 1}, "release_watch": 2, "before_start": ["migrate"]}


def make(tmp_path: Path, *names: str) -> Fleet:
    """Return a fleet of fresh machines."""
    hosts = {}
    for name in names or ("web1", "web2", "web3"):
        root = tmp_path / name
        root.mkdir()
        hosts[name] = Host(FakeMachine(root))
    return Fleet(hosts)


def words(fleet: Fleet) -> list[str | None]:
    """Return what each host serves."""
    return [host.live_word() for host in fleet.hosts.values()]


def history(host: Host) -> list[dict[str, Any]]:
    """Return how the runs ended on a host."""
    lines = [json.loads(line) for line in host.layout.history.read_text().splitlines()]
    return [line for line in lines if "result" in line]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Return three machines that serve `old`."""
    made = make(tmp_path)
    assert made.deploy("old", **ENTRY).reason is None
    return made


def tasks(name: str) -> list[dict[str, Any]]:
    """Return the tasks of the role as they run, with those of other files in their place."""
    found: list[dict[str, Any]] = []
    for task in yaml.safe_load((ROOT / f"roles/app/tasks/{name}").read_text()):
        other = task.get("ansible.builtin.import_tasks") or task.get("ansible.builtin.include_tasks")
        found += (
            [task]
            if other is None or (other in {"put_back.yml", "check.yml"} and name != "main.yml")
            else tasks(other)
        )
    return found


def test_the_role_has_the_steps_of_this_fleet() -> None:
    """The order in which the tests drive the engine is the one of the role's tasks."""
    steps = [task["release"]["step"] for task in tasks("main.yml") if "release" in task]
    assert steps == [
        "check",
        "stage",
        "schema",
        "prepare",
        "start",
        "switch",
        "after_start",
        "jobs",
        "drain",
        "ensure",
    ]


def test_every_step_is_decided_over_all_hosts() -> None:
    """No task of a step fails by itself or is lost with its host, and a decision follows each."""
    listed = tasks("main.yml")
    for number, task in enumerate(listed):
        if "release" in task:
            step = task["release"]["step"]
            assert task["ignore_unreachable"] is True, step
            assert task["register"] == f"__app_{step}"
            assert listed[number + 1]["release_decide"]["after"] == step
            assert listed[number + 1]["run_once"] is True


def test_a_fleet_gets_one_release_and_one_migration(fleet: Fleet) -> None:
    """Three hosts, one name, one run of the commands, and a table that says so."""
    run = fleet.deploy("new", **ENTRY)
    assert words(fleet) == ["new"] * 3
    assert [command for host in fleet.hosts.values() for command in host.machine.commands] == ["migrate"] * 2
    assert run.states == dict.fromkeys(fleet.hosts, "released")
    assert len({line.split()[2] for line in run.table[2:]}) == 1
    again = fleet.deploy("new", **ENTRY)
    assert again.states == dict.fromkeys(fleet.hosts, "unchanged")
    assert not any(result["changed"] for result in again.results)


@pytest.mark.parametrize("broken", ["web1", "web2", "web3"])
@pytest.mark.parametrize("step", ["check", "stage", "prepare", "start", "switch", "drain"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_unreachable_host_is_told_and_nobody_is_left_behind(
    fleet: Fleet, broken: str, step: str, when: str
) -> None:
    """At any step, whether the host had heard of it or not: what can be put back is, and the run fails."""

    def lose(host: str, now: str) -> None:
        if (host, now) == (broken, step):
            raise LostError("no route to host")

    setattr(fleet, when, lose)
    run = fleet.deploy("new", **ENTRY)
    if step == "prepare" and broken != "web1":
        assert run.reason is None  # it had nothing to do there
        return
    assert run.reason
    assert f"{broken}: unreachable: no route to host" in run.reason
    live = dict(zip(fleet.hosts, words(fleet), strict=True))
    assert set(live.values()) == {"new" if step == "drain" else "old"}
    # It came back for the next step, which undid what it had heard.
    assert run.states[broken] == ("unreachable, as far as known" if step == "drain" else run.states[broken])
    fleet.before = fleet.after = lambda host, now: None
    assert fleet.deploy("new", **ENTRY).reason is None
    assert words(fleet) == ["new"] * 3


def test_a_host_that_stays_away_is_put_in_order_by_the_next_run(fleet: Fleet) -> None:
    """One that switched and got lost serves the new release alone: the next run ends that."""
    lost = False

    def after(host: str, step: str) -> None:
        nonlocal lost
        lost = lost or (host, step) == ("web2", "switch")
        if lost and host == "web2":
            raise LostError("timed out")

    def before(host: str, step: str) -> None:
        if lost and host == "web2":
            raise LostError("timed out")

    fleet.before, fleet.after = before, after
    run = fleet.deploy("new", **ENTRY)
    assert run.reason
    assert words(fleet) == ["old", "new", "old"]
    assert run.states == {"web1": "put back", "web2": "unreachable, as far as known", "web3": "put back"}
    lost = False
    fleet.after = lambda host, step: None
    assert fleet.deploy("old", **ENTRY).reason is None
    assert words(fleet) == ["old"] * 3


def test_hosts_switch_in_batches_and_a_failure_puts_all_back(fleet: Fleet) -> None:
    """The third host fails once it has traffic: the first two, which had switched, serve the old release."""
    order: list[str] = []
    fleet.before = lambda host, step: order.append(f"{step} {host}")
    fleet.hosts["web3"].machine.behaviour["new"] = Behaviour(dies_after=2)
    run = fleet.deploy("new", release_batch="1", **ENTRY)
    assert words(fleet) == ["old"] * 3
    assert run.states == dict.fromkeys(fleet.hosts, "put back")
    switches = [place for place in order if place.startswith(("switch", "put_back"))]
    assert switches[:3] == ["switch web1", "switch web2", "switch web3"]
    assert {line["result"] for host in fleet.hosts.values() for line in history(host)[-1:]} == {"failed"}


def test_a_batch_that_fails_spares_those_after_it(fleet: Fleet) -> None:
    """Whoever has not switched has no second switch to fear."""
    fleet.hosts["web1"].machine.behaviour["new"] = Behaviour(dies_after=2)
    order: list[str] = []
    fleet.before = lambda host, step: order.append(f"{step} {host}")
    fleet.deploy("new", release_batch="33%", **ENTRY)
    assert "switch web2" not in order
    assert words(fleet) == ["old"] * 3


@pytest.mark.parametrize(
    ("batch", "hosts", "turns"),
    [
        ("100%", 3, [0, 0, 0]),
        ("1", 3, [0, 1, 2]),
        ("50%", 4, [0, 0, 1, 1]),
        ("10%", 3, [0, 1, 2]),
        ("2", 3, [0, 0, 1]),
    ],
)
def test_batches_are_counts_or_shares(batch: str, hosts: int, turns: list[int]) -> None:
    """A share is rounded down, and is one host at least."""
    names = [f"web{number}" for number in range(hosts)]
    assert [batches.batch_of(name, names, batch) for name in names] == turns
    assert batches.is_batch(batch)


@pytest.mark.parametrize("batch", ["0", "0%", "101%", "half", "-1", "", True])
def test_what_is_no_batch_is_known(batch: object) -> None:
    """Nobody waits for a batch of no hosts."""
    assert not batches.is_batch(batch)


def test_the_second_run_is_not_let_in(fleet: Fleet) -> None:
    """Two controllers at once: one goes through, the other hears who and what to do, and changes nothing."""
    other = Fleet(fleet.hosts)
    refused: list[Any] = []

    def meanwhile(host: str, step: str) -> None:
        if (host, step) == ("web2", "start"):
            refused.append(other.deploy("rival", **ENTRY))

    fleet.before = meanwhile
    run = fleet.deploy("new", **ENTRY)
    assert run.reason is None
    assert words(fleet) == ["new"] * 3
    assert "somebody@controller" in refused[0].reason
    assert "app_break_lease=true" in refused[0].reason
    assert re.search(r"since 2026-11-21 22:\d\d:\d\d UTC", refused[0].reason)
    assert not [line for line in history(fleet.hosts["web1"]) if line["by"] == "rival"]
    assert other.deploy("rival", **ENTRY).reason is None


def test_a_run_that_is_refused_does_not_wait_for_a_long_step(fleet: Fleet) -> None:
    """The other run's step holds a host's lock, for a migration perhaps: who it is gets said at once."""
    refused: list[tuple[Any, float]] = []
    first = fleet.hosts["web1"]

    def meanwhile(host: str, step: str) -> None:
        if (host, step) == ("web2", "start"):
            with first.layout.lock.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                begun = first.machine.clock()
                refused.append((Fleet(fleet.hosts).deploy("rival", **ENTRY), first.machine.clock() - begun))

    fleet.before = meanwhile
    assert fleet.deploy("new", **ENTRY).reason is None
    assert "somebody@controller" in refused[0][0].reason
    assert refused[0][1] < 1


def test_a_lease_can_be_broken_and_its_run_ends(fleet: Fleet) -> None:
    """Whoever was robbed of the lease stops at its next step, and the new run's release stays."""
    other = Fleet(fleet.hosts, force=True)

    def meanwhile(host: str, step: str) -> None:
        if (host, step) == ("web1", "start"):
            assert other.deploy("rival", **ENTRY).reason is None

    fleet.before = meanwhile
    run = fleet.deploy("new", **ENTRY)
    assert run.reason
    assert "another run has taken the lease of shop from this one" in run.reason
    assert words(fleet) == ["rival"] * 3
    assert fleet.deploy("rival", **ENTRY).states == dict.fromkeys(fleet.hosts, "unchanged")


@pytest.mark.parametrize("place", ["web1 stage", "web2 stage", "web3 stage", "web1 prepare", "web2 switch"])
def test_wherever_a_lease_is_broken_the_rival_stays(fleet: Fleet, place: str) -> None:
    """A run whose lease was taken changes nothing of what the other has released."""
    other = Fleet(fleet.hosts, force=True)

    def meanwhile(host: str, step: str) -> None:
        if f"{host} {step}" == place and not other.dead:
            assert other.deploy("rival", **ENTRY).reason is None

    fleet.before = meanwhile
    assert fleet.deploy("new", **ENTRY).reason
    assert words(fleet) == ["rival"] * 3


def test_a_dead_lease_is_taken_over_with_a_message(fleet: Fleet) -> None:
    """The controller of the run before has died: the next one says so and completes."""

    def die(host: str, step: str) -> None:
        if (host, step) == ("web2", "switch"):
            raise Killed

    fleet.before = die
    with pytest.raises(Killed):
        fleet.deploy("new", **ENTRY)
    assert words(fleet) == ["new", "old", "old"]
    assert (fleet.hosts["web1"].layout.lease).is_file()
    fleet.before = lambda host, step: None
    run = fleet.deploy("new", **ENTRY)
    assert run.reason is None
    assert any("its process is gone" in line for line in run.report)
    assert words(fleet) == ["new"] * 3
    assert not any(host.layout.lease.exists() for host in fleet.hosts.values())


def test_a_silent_run_counts_as_dead_after_a_while(fleet: Fleet) -> None:
    """From another controller nobody can see whether it lives; its own promise decides."""

    def die(host: str, step: str) -> None:
        if step == "start":
            raise Killed

    fleet.before = die
    with pytest.raises(Killed):
        fleet.deploy("new", **ENTRY)
    elsewhere = Fleet(fleet.hosts)
    assert elsewhere.deploy("new", **ENTRY).reason
    for host in fleet.hosts.values():
        host.machine.time += 3601
    run = elsewhere.deploy("new", **ENTRY)
    assert run.reason is None
    assert any("gave no sign of life" in line for line in run.report)


def test_every_run_leaves_a_line(fleet: Fleet) -> None:
    """Those that failed too, with the step and the reason; those that changed nothing do not."""
    fleet.deploy("old", **ENTRY)
    fleet.hosts["web2"].machine.behaviour["bad"] = Behaviour(status=500)
    run = fleet.deploy("bad", **ENTRY)
    assert run.states == {"web1": "not released", "web2": "failed", "web3": "not released"}
    for host in fleet.hosts.values():
        lines = history(host)
        assert [line["result"] for line in lines] == ["released", "failed"]
        assert lines[1]["step"] == "start"
        assert "web2: GET / was not answered with 200" in lines[1]["reason"]
        assert lines[1]["by"] == "somebody@controller"
