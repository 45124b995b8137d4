"""A drill hits the place that it names, and one that names no place is refused."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from engine_fake import Behaviour, Host, KillAt
from fastapi_metal.engine import drill

ROOM = Path(drill.__file__).resolve().parents[2]


def seen(host: Host) -> set[str]:
    """Return the effects of deploys that succeed, fail, prune and put back."""
    watcher = KillAt(-1)
    host.observer = watcher
    entry = {"keep_releases": 2, "release_watch": 2, "health": {"stable": 1}, "before_start": ["migrate"]}
    host.machine.behaviour["bad"] = Behaviour(dies_after=2)
    for word in ("a", "b", "c", "bad", "d"):
        host.deploy(word, **entry)
    return {name for _, name in watcher.seen}


def test_every_effect_of_a_deploy_can_be_drilled(host: Host) -> None:
    """The list of places is read from the code, and none that a deploy goes through is missing."""
    names = seen(host)
    assert {"switch.rename", "put_back.rename", "prepare.command.1", "prune.files"} <= names
    for name in names:
        assert drill.read(f"before {name}") == drill.Drill("before", name)


def test_a_drill_can_name_a_host() -> None:
    """One machine of a fleet is hit, the others are not."""
    assert drill.read("after stage.record on web2") == drill.Drill("after", "stage.record", "web2")
    assert drill.read("") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("before switch.renam", "use one of: "),
        ("switch.rename", "before switch.rename on web1"),
        ("during switch.rename", "before switch.rename on web1"),
    ],
)
def test_a_place_that_is_none_is_refused(text: str, words: str) -> None:
    """The sentence names the places that are."""
    with pytest.raises(drill.DrillError, match=words):
        drill.read(text)


def test_a_drill_kills_right_there() -> None:
    """The process ends by SIGKILL at its effect: not before, and nothing after it happens."""
    script = (
        "from fastapi_metal.engine import drill, effects\n"
        "done = lambda name: effects.Effect(name, lambda: print(name, flush=True) is None)\n"
        "effects.perform([done('one'), done('two')], drill.observer('before two'))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(ROOM)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == "one\n"
