"""A deploy that is cut off anywhere is completed by the next one, and visitors never notice."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from client import wait_until
from conftest import Lab, say
from fleet import Fleet
from traffic import Traffic, traffic

# Each step, the task that does it, and how long after its begin.
STEPS = {
    "check": ("check | See", 0.0),
    "stage": ("stage | Lay out", 0.5),
    "prepare": ("prepare | Run", 0.5),
    "start": ("start | Start", 0.5),
    "switch": ("batch | Move", 0.2),
    "drain": ("drain | Stop", 0.2),
    "prune": ("drain | Stop", 1.5),
}
# Before anything is there, while traffic moves, and while the old release ends.
SAMPLE = ["stage", "switch", "drain"]

# Prepare has something to do, and it takes long enough to be met.
COMMANDS = {"before_start": ["sleep 1"]}


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Return the two machines, with a release that is well."""
    fleet = Fleet(lab, tmp_path_factory.mktemp("fleet"), COMMANDS)
    fleet.good_deploy("before")
    return fleet


def until_task(playing: "subprocess.Popen[str]", step: str) -> list[str]:
    """Return what was printed up to the task of a step, which has just begun."""
    printed, (task, later) = [], STEPS[step]
    assert playing.stdout
    for line in playing.stdout:
        printed.append(line)
        if line.startswith(f"TASK [app : {task}"):
            time.sleep(later)
            return printed
    raise AssertionError(f"it ended without step {step}:\n{''.join(printed)[-4000:]}")


def end_at(fleet: Fleet, step: str, word: str, do: Callable[["subprocess.Popen[str]"], None]) -> int:
    """Deploy, do something to it when a step begins, and return how the play ended."""
    playing = fleet.lab.begin_playbook("deploy", **fleet.variables(word))
    try:
        until_task(playing, step)
        do(playing)
        playing.communicate(timeout=300)
    finally:
        if playing.poll() is None:
            kill_controller(playing)
            playing.wait()
    return int(playing.returncode)


def kill_controller(playing: "subprocess.Popen[str]") -> None:
    """Kill the playbook and everything that it has started on the controller."""
    os.killpg(playing.pid, signal.SIGKILL)


def unnoticed(label: str, found: Traffic, before: str) -> None:
    """Hold the traffic against the promise."""
    say(f"{label}: {found.summary()}; answers by release {dict(found.releases())}")
    assert not found.failed(), found.failed()[:5]
    assert len(set(found.releases()) - {before}) <= 1, found.releases()


@pytest.mark.parametrize(
    "step",
    [pytest.param(step, marks=() if step in SAMPLE else pytest.mark.full) for step in STEPS],
)
def test_a_controller_that_dies_is_no_outage(fleet: Fleet, tmp_path: Path, step: str) -> None:
    """The playbook is killed when a step begins; what serves goes on, and the next run completes.

    Red when a step leaves a state that visitors notice, or that the next run cannot complete.
    """
    before = fleet.live()
    with traffic(fleet.light(), tmp_path) as found:
        status = end_at(fleet, step, f"killed at {step}", kill_controller)
        assert status == -signal.SIGKILL
        fleet.complete(f"killed at {step}")
    unnoticed(f"controller killed at {step}", found, before)


def control_processes(fleet: Fleet, machine: str) -> list[int]:
    """Return the SSH processes that hold the playbook's connection to a machine."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            line = (directory / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if line.startswith("ssh:") and f"/{fleet.machines[machine]} " in line and "[mux]" in line:
            found.append(int(directory.name))
    return found


def test_a_lost_connection_is_no_outage(fleet: Fleet, tmp_path: Path) -> None:
    """SSH to the second machine dies while the new release starts: the play fails, the next run completes.

    Red when the engine's own process on the machine makes the next run fail, or visitors notice.
    """
    before = fleet.live()

    def cut(playing: "subprocess.Popen[str]") -> None:
        lost = 0
        # Until the playbook has noticed: between two tasks it would only connect anew.
        for _ in range(20):
            for process in control_processes(fleet, "web2"):
                os.kill(process, signal.SIGKILL)
                lost += 1
            time.sleep(0.5)
            if playing.poll() is not None:
                break
        assert lost, "there was no connection to cut"

    with traffic(fleet.light(), tmp_path) as found:
        status = end_at(fleet, "start", "cut off", cut)
        assert status != 0
        fleet.complete("cut off")
    unnoticed("SSH killed at start", found, before)


@pytest.mark.parametrize(
    ("power", "step"),
    [
        pytest.param(power, step, marks=() if sampled else pytest.mark.full)
        for power, step, sampled in [
            ("reboot", "start", False),
            ("reboot", "switch", False),
            ("reset", "stage", False),
            ("reset", "start", False),
            ("reset", "switch", True),
            ("reset", "drain", False),
        ]
    ],
)
def test_a_machine_that_goes_away_comes_back_serving(
    fleet: Fleet, tmp_path: Path, power: str, step: str
) -> None:
    """The second machine reboots or loses its power in the middle: it comes back with one whole release.

    The first machine's visitors notice nothing. Red when the second one boots into nothing, or the next run
    cannot complete.
    """
    before, old, word = fleet.live(), fleet.words(), f"{power} at {step}"

    def go_away(_: "subprocess.Popen[str]") -> None:
        if power == "reboot":
            fleet.lab.reboot("web2")
        else:
            fleet.lab.kill("web2")
            fleet.lab.start("web2")

    plan = fleet.light()
    first_alone = {"web1": fleet.machines["web1"]}
    with traffic(fleet.plan(**{**vars(plan), "machines": first_alone}), tmp_path) as found:
        status = end_at(fleet, step, word, go_away)
        site = fleet.site("web2")
        away = wait_until("the second machine serves again", site.is_well)
        assert site.get("/version").json()["word"] in {*old, word}
        fleet.complete(word)
    unnoticed(
        f"{word} (exit status {status}, serving again {away:.1f} s after SSH), the other machine",
        found,
        before,
    )
