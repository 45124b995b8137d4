"""A release moves traffic from the old version to the new one without losing a request."""

import time

from client import Site, load, product
from conftest import Lab
from testinfra.host import Host


def renamed(host: Host) -> float:
    """Return when the link to the live release was renamed, on this process's monotonic clock.

    Machines of a lab share the clock of their host, and a rename sets the time of change.
    """
    offset = time.time() - time.monotonic()
    return float(host.check_output("stat -c %.Z /srv/catalog/current")) - offset


def test_a_changed_setting_is_a_release_that_drops_nothing(lab: Lab, host: Host, site: Site) -> None:
    """A changed environment variable is released under load, and the way back too: no request fails.

    Red when the old release is stopped before traffic has moved, or when a restart stands in for a switch.
    The load is valid only if both releases answered in it, and requests began right before and right after
    each of the two renames.
    """
    before = site.get("/version").json()["release"]
    with load(site, lambda number: product(f"{time.time_ns()}-{number}"), clients=3) as running:
        there = lab.deploy("catalog", env={"CATALOG_LOG_LEVEL": "warning"})
        changed = site.get("/version").json()["release"]
        renames = [renamed(host)]
        back = lab.deploy("catalog")
        renames.append(renamed(host))
    around = [running.around(rename) for rename in renames]
    print(
        f"{len(running.records)} requests over two switches, {len(running.bad())} failed, "
        f"longest pause {running.longest_pause():.2f} s, within 1 s before and after each rename: {around}"
    )
    assert there.returncode == 0, there.stdout[-3000:]
    assert back.returncode == 0, back.stdout[-3000:]
    assert running.releases() == [before, changed]
    assert not running.bad()
    assert site.get("/version").json()["release"] == before
    assert len(running.records) >= 200, "hardly a load"
    # Two processors by themselves reach more than 150 on each side; another scenario may run beside this one.
    assert all(min(sides) >= 20 for sides in around), f"hardly a load at a rename: {around}"
