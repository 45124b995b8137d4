"""The engine may be killed right before or right after anything that it does on a machine.

The places are the engine's own list of effects: none is written down here but those of the sample.
"""

import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import FULL, ROOT, Lab, say
from fleet import APP, Fleet, leftovers
from played import why
from traffic import traffic

sys.path.insert(0, str(ROOT / "plugins/module_utils"))

from fastapi_metal.engine.drill import effect_names

# Half a release, the rename, and the end of the old one; `bin/test full` goes through all.
SAMPLE = ["stage.packages", "switch.rename", "drain.stop"]

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


def effects() -> list[str]:
    """Return every effect around which the engine can be killed."""
    names = [name.replace("*", "1") for name in effect_names()]
    return names if FULL else [name for name in names if name in SAMPLE]


def passing(effect: str) -> dict[str, Any]:
    """Return what a deploy must be like to pass an effect."""
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


OF_REMOVAL = [name for name in effects() if name.startswith("remove.")]
OF_DEPLOY = [name for name in effects() if name not in OF_REMOVAL]
DIED = "{}: the engine was killed there"
DRILLED: set[str] = set()


def drill(fleet: Fleet, playbook: str, effect: str, **variables: Any) -> list[str]:
    """Kill the engine before an effect on one machine and after it on the other; return these places.

    So each next run finds two machines that differ by this one effect. What is done on one machine alone is
    cut off on one side there.
    """
    first, second = fleet.machines
    sides = {first: f"before {effect}", second: f"after {effect}"}
    asked = {machine: f"{place} on {machine}" for machine, place in sides.items()}
    done = fleet.lab.playbook(playbook, **variables, app_drill=f"{{{{ {asked}[inventory_hostname] }}}}")
    assert done.returncode != 0, f"{effect} was never passed\n{why(done)}"
    places = [place for machine, place in sides.items() if DIED.format(machine) in done.stdout]
    assert places, why(done)
    DRILLED.update(places)
    return places


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Return the two machines, with two releases that were well."""
    fleet = Fleet(lab, tmp_path_factory.mktemp("fleet"), ENTRY)
    for word in ("older", "old"):
        fleet.good_deploy(word)
    return fleet


@pytest.mark.parametrize("effect", OF_DEPLOY)
def test_killed_anywhere_the_next_run_completes(fleet: Fleet, tmp_path: Path, effect: str) -> None:
    """The engine kills itself there on both machines: something whole serves, and one more run finishes.

    Visitors notice nothing of a release beside the old one. Red when an effect is not safe to be cut off,
    or not safe to be repeated.
    """
    old, word = fleet.words(), f"killed at {effect}"
    back = "put_back" in effect
    changes = passing(effect)
    with traffic(fleet.light(), tmp_path) as found:
        places = drill(fleet, "deploy", effect, **fleet.variables(word, **changes))
        assert fleet.words() <= {*old, word}
        fleet.complete(f"after {effect}" if back else word)
    assert len(found.failed()) <= may_be_lost(changes), found.failed()[:10]
    say(f"engine killed {' and '.join(places)}: {found.summary()}")


@pytest.mark.full
@pytest.mark.parametrize("effect", OF_REMOVAL)
def test_killed_while_it_removes_the_next_run_removes(fleet: Fleet, effect: str) -> None:
    """The engine kills itself while it takes another application away: one more run takes the rest.

    Red when something is left that no later run finds.
    """
    apps = {APP: {**fleet.described, **ENTRY}}
    entry = {**fleet.described, "domain": f"{LEAVER}.lab.test", "processes": ENTRY["processes"]}
    deployed = fleet.lab.playbook("deploy", app=LEAVER, apps={**apps, LEAVER: entry})
    assert deployed.returncode == 0, why(deployed)
    assert all(fleet.everywhere(leftovers(LEAVER)).values())
    live = fleet.live()
    removal: dict[str, Any] = {"app": LEAVER, "apps": apps, "remove_data": True}
    places = drill(fleet, "remove", effect, **removal)
    removed = fleet.lab.playbook("remove", **removal)
    assert removed.returncode == 0, why(removed)
    assert set(fleet.everywhere(leftovers(LEAVER)).values()) == {""}
    assert fleet.live() == live
    say(f"engine killed {' and '.join(places)}: removed by the next run")


def test_all_places_were_drilled() -> None:
    """Around every effect that the engine has, or those of the sample: counted, and said.

    Red when an effect of the sample has got another name, so that nobody is killed there.
    """
    wanted = effect_names() if FULL else SAMPLE
    say(f"{len(DRILLED)} of {2 * len(effect_names())} places where the engine was killed on lab machines")
    assert len(OF_DEPLOY) + len(OF_REMOVAL) == len(wanted)
    assert {place.split()[1] for place in DRILLED} == {*OF_DEPLOY, *OF_REMOVAL}
