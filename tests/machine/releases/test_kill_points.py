"""The engine may be killed right before or right after anything that it does on a machine.

The places are the engine's own list of effects: none is written down here but those of the sample.
"""

import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import FULL, ROOT, Lab, say
from fleet import Fleet, tasks
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

# Every deploy has commands to run, and something to prune.
ENTRY: dict[str, Any] = {"before_start": ["true"], "after_start": ["true"], "keep_releases": 2}


def places() -> list[str]:
    """Return every place where the engine can be killed in a deploy."""
    names = [name.replace("*", "1") for name in effect_names()]
    everywhere = [f"{moment} {name}" for name in names for moment in ("before", "after")]
    return everywhere if FULL else [place for place in everywhere if place in SAMPLE]


PLACES = places()
# These are only passed on the way back, so a release must fail after it got traffic.
FAILING = {"env": {"PROBE_FAULT": "dies", "PROBE_DIES_AFTER": 6}, "release_watch": 12}


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Return the two machines, with two releases that were well."""
    fleet = Fleet(lab, tmp_path_factory.mktemp("fleet"), ENTRY)
    for word in ("older", "old"):
        fleet.good_deploy(word)
    return fleet


@pytest.mark.parametrize("place", PLACES)
def test_killed_anywhere_the_next_run_completes(fleet: Fleet, tmp_path: Path, place: str) -> None:
    """The engine kills itself there on both machines: something whole serves, and one more run finishes.

    Visitors notice nothing. Red when an effect is not safe to be cut off, or not safe to be repeated.
    """
    old, word = fleet.words(), f"killed {place}"
    back = "put_back" in place
    changes: dict[str, Any] = FAILING if back else {}
    with traffic(fleet.light(), tmp_path) as found:
        done = fleet.lab.playbook("deploy", **fleet.variables(word, **changes), app_drill=place)
        assert done.returncode != 0, f"{place} was never passed\n{tasks(done)}"
        assert "the engine was killed there" in done.stdout, tasks(done)
        assert fleet.words() <= {*old, word}
        fleet.complete(f"after {place}" if back else word)
    # A release that kills its own processes may lose what was in flight on them, two visitors a machine.
    assert len(found.failed()) <= (8 if back else 0), found.failed()[:10]
    say(f"engine killed {place}: {found.summary()}")


def test_all_places_were_drilled() -> None:
    """As many places as the engine has, or those of the sample: counted, and said.

    Red when an effect of the sample has got another name, so that nobody is killed there.
    """
    wanted = 2 * len(effect_names()) if FULL else len(SAMPLE)
    say(f"{len(PLACES)} of {2 * len(effect_names())} places where the engine was killed on lab machines")
    assert len(PLACES) == wanted
