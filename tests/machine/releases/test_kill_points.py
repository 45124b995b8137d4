"""The engine may be killed right before or right after anything that it does on a machine.

The places are the engine's own list of effects: none is written down here but those of the sample.
"""

import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import FULL, ROOT, Lab, say
from fleet import APP, Fleet, leftovers, tasks
from traffic import traffic

sys.path.insert(0, str(ROOT / "plugins/module_utils"))

from fastapi_metal.engine.drill import effect_names

# Half a release, and both sides of the rename; `bin/test full` goes through all places.
SAMPLE = [
    "after stage.packages",
    "before switch.rename",
    "after switch.rename",
    "before drain.stop",
]

# Every deploy has commands and jobs to run, a schema to note, and something to prune.
ENTRY: dict[str, Any] = {
    "before_start": ["true"],
    "after_start": ["true"],
    "schema": {"current": "echo 1", "pending": "true"},
    "processes": {"worker": {"command": "sleep infinity"}},
    "timers": {"report": {"command": "true", "schedule": "hourly"}},
    "keep_releases": 2,
}
# These are only passed on the way back, so a release must fail after it got traffic.
FAILING = {"env": {"PROBE_FAULT": "dies", "PROBE_DIES_AFTER": 6}, "release_watch": 12}
# These only where the old release ends before the new one starts.
HANDOVER = {"switch": "handover"}
OF_HANDOVER = {"put_back.listen", "put_back.forget"}
LEAVER = "leaver"


def places() -> list[str]:
    """Return every place where the engine can be killed."""
    names = [name.replace("*", "1") for name in effect_names()]
    everywhere = [f"{moment} {name}" for name in names for moment in ("before", "after")]
    return everywhere if FULL else [place for place in everywhere if place in SAMPLE]


def passing(place: str) -> dict[str, Any]:
    """Return what a deploy must be like to pass a place."""
    effect = place.split()[1]
    failing = FAILING if effect.startswith("put_back.") else {}
    handover = HANDOVER if effect.startswith("handover.") or effect in OF_HANDOVER else {}
    return {**failing, **handover}


def may_be_lost(changes: dict[str, Any]) -> int:
    """Return how many requests may fail; there are two visitors at each of two machines.

    A release that kills its own processes may lose what is in flight on them. What waits for the second
    release in a handover is refused when that one is taken away again. And where a broken release is alone,
    as the old one has ended for it, nobody is served until the next run.
    """
    if "env" in changes and "switch" in changes:
        return sys.maxsize
    return 8 if "env" in changes else 4 if changes else 0


OF_REMOVAL = [place for place in places() if place.split()[1].startswith("remove.")]
OF_DEPLOY = [place for place in places() if place not in OF_REMOVAL]


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Return the two machines, with two releases that were well."""
    fleet = Fleet(lab, tmp_path_factory.mktemp("fleet"), ENTRY)
    for word in ("older", "old"):
        fleet.good_deploy(word)
    return fleet


@pytest.mark.parametrize("place", OF_DEPLOY)
def test_killed_anywhere_the_next_run_completes(fleet: Fleet, tmp_path: Path, place: str) -> None:
    """The engine kills itself there on both machines: something whole serves, and one more run finishes.

    Visitors notice nothing of a release beside the old one. Red when an effect is not safe to be cut off,
    or not safe to be repeated.
    """
    old, word = fleet.words(), f"killed {place}"
    back = "put_back" in place
    changes = passing(place)
    with traffic(fleet.light(), tmp_path) as found:
        done = fleet.lab.playbook("deploy", **fleet.variables(word, **changes), app_drill=place)
        assert done.returncode != 0, f"{place} was never passed\n{tasks(done)}"
        assert "the engine was killed there" in done.stdout, tasks(done)
        assert fleet.words() <= {*old, word}
        fleet.complete(f"after {place}" if back else word)
    assert len(found.failed()) <= may_be_lost(changes), found.failed()[:10]
    say(f"engine killed {place}: {found.summary()}")


@pytest.mark.full
@pytest.mark.parametrize("place", OF_REMOVAL)
def test_killed_while_it_removes_the_next_run_removes(fleet: Fleet, place: str) -> None:
    """The engine kills itself while it takes another application away: one more run takes the rest.

    Red when something is left that no later run finds.
    """
    apps = {APP: {**fleet.described, **ENTRY}}
    entry = {**fleet.described, "domain": f"{LEAVER}.lab.test", "processes": ENTRY["processes"]}
    deployed = fleet.lab.playbook("deploy", app=LEAVER, apps={**apps, LEAVER: entry})
    assert deployed.returncode == 0, tasks(deployed)
    assert all(fleet.everywhere(leftovers(LEAVER)).values())
    live = fleet.live()
    removal: dict[str, Any] = {"app": LEAVER, "apps": apps, "remove_data": True}
    killed = fleet.lab.playbook("remove", **removal, app_drill=place)
    assert killed.returncode != 0, f"{place} was never passed\n{tasks(killed)}"
    assert "the engine was killed there" in killed.stdout, tasks(killed)
    removed = fleet.lab.playbook("remove", **removal)
    assert removed.returncode == 0, tasks(removed)
    assert set(fleet.everywhere(leftovers(LEAVER)).values()) == {""}
    assert fleet.live() == live
    say(f"engine killed {place}: removed by the next run")


def test_all_places_were_drilled() -> None:
    """As many places as the engine has, or those of the sample: counted, and said.

    Red when an effect of the sample has got another name, so that nobody is killed there.
    """
    wanted, drilled = 2 * len(effect_names()) if FULL else len(SAMPLE), len(OF_DEPLOY) + len(OF_REMOVAL)
    say(f"{drilled} of {2 * len(effect_names())} places where the engine was killed on lab machines")
    assert drilled == wanted
