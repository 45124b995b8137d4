"""A release moves traffic from the old version to the new one without losing a request."""

import time

from client import Site, load, product
from conftest import Lab


def test_a_changed_setting_is_a_release_that_drops_nothing(lab: Lab, site: Site) -> None:
    """A changed environment variable is released under load, and the way back too: no request fails.

    Red when the old release is stopped before traffic has moved, or when a restart stands in for a switch.
    The load is valid only if both releases answered in it.
    """
    before = site.get("/version").json()["release"]
    with load(site, lambda number: product(f"{time.time_ns()}-{number}"), clients=3) as running:
        there = lab.deploy("catalog", env={"CATALOG_LOG_LEVEL": "warning"})
        changed = site.get("/version").json()["release"]
        back = lab.deploy("catalog")
    assert there.returncode == 0, there.stdout[-3000:]
    assert back.returncode == 0, back.stdout[-3000:]
    print(
        f"{len(running.records)} requests over two switches, {len(running.bad())} failed, "
        f"longest pause {running.longest_pause():.2f} s"
    )
    assert running.releases() == [before, changed]
    assert not running.bad()
    assert site.get("/version").json()["release"] == before
