"""Whatever is released, and however often: visitors of both machines notice nothing but a new version."""

import time
from pathlib import Path
from typing import Any

import pytest
from conftest import FULL, Lab, say
from fleet import Fleet, Switch
from played import why
from traffic import Traffic, traffic

# How often each kind of release is repeated; `bin/test full` does it as often as the issue asks for.
ROUNDS = 3 if FULL else 1
QUICK_SWITCHES = 20

# Each long request follows right after the one before, so that one is underway whenever a rename comes.
QUICK: dict[str, Any] = {"websockets": 0, "slow_seconds": 2, "slow_every": 0.05}

LONGEST_PAUSE = 0.1
NEAR_A_RENAME = 200
# Where the observer did not run for longer, what it saw is no proof.
UNSEEN = 0.005

HELPER = "/usr/local/sbin/naive-restart"
DROP_IN = "/run/systemd/system/probe@.service.d/zz-naive.conf"
# A release that ends all others when it starts: what a restart in place of a switch does.
NAIVE = f"""\
mkdir -p $(dirname {DROP_IN})
cat > {HELPER} <<'END'
#!/bin/sh
systemctl list-units --plain --no-legend "probe@*" | cut -d" " -f1 | grep -vF "@$1." |
    xargs --no-run-if-empty systemctl stop
END
chmod 755 {HELPER}
printf '[Service]\\nExecStartPre=+{HELPER} %%i\\n' > {DROP_IN}
systemctl daemon-reload
"""


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Return the two machines and their application."""
    return Fleet(lab, tmp_path_factory.mktemp("fleet"))


def check(found: Traffic, switches: list[Switch]) -> None:
    """Hold the traffic against the promise, and the load against the rules that make it a proof."""
    for switch in switches:
        say(
            f"{switch.label}: {switch.before} -> {switch.after}, requests begun within 1 s of the rename "
            f"{switch.around(found)}, begun before and answered well after it {switch.across(found)}"
        )
    say(found.summary())
    say(f"answers by release: {dict(found.releases())}; by kind: {dict(found.kinds())}")
    # The promise.
    assert not found.failed(), found.failed()[:10]
    assert not found.bad_closes(), found.bad_closes()[:10]
    assert not late(found, switches), late(found, switches)[:10]
    # What makes it a proof.
    assert set(found.releases()) == {name for switch in switches for name in (switch.before, switch.after)}
    for switch in switches:
        assert all(count >= NEAR_A_RENAME for count in switch.around(found).values()), switch.label
        assert all(count >= 1 for count in switch.across(found).values()), switch.label
    unseen = found.unseen(found.begun, found.ended) / (found.ended - found.begun)
    assert unseen < UNSEEN, f"the observer itself did not run for {unseen:.1%} of the time"
    # Last, as a busy test machine spoils it first.
    pause, begun = found.longest_pause()
    near = min((abs(begun - when), switch.label) for switch in switches for when in switch.renamed.values())
    assert pause < LONGEST_PAUSE, f"{pause:.3f} s, {near[0]:.1f} s from the rename of {near[1]}"


def late(found: Traffic, switches: list[Switch]) -> list[object]:
    """Return the requests that were answered by a release that was live at no time while they ran."""
    wrong: list[object] = []
    for number, switch in enumerate(switches):
        for machine, when in switch.renamed.items():
            # The next rename may bring that release back, and an upload is passed on when all of it is there.
            end = switches[number + 1].renamed[machine] if number + 1 < len(switches) else found.ended
            late = found.of(machine).between(when, end).late(when, switch.before)
            wrong += [request for request in late if request.ended < end]
    return wrong


def test_every_kind_of_release_drops_nothing(fleet: Fleet, tmp_path: Path) -> None:
    """New code, a changed setting, a changed secret, and the way back, under load on both machines.

    GET and POST on kept and on new connections, requests of eight seconds, uploads, and a websocket that is
    told to come back and comes back at the first try. Red when a release stops before its requests have
    ended, or when anything but one rename moves the traffic.
    """
    fleet.good_deploy("zero")
    switches: list[Switch] = []
    with traffic(fleet.plan(), tmp_path) as found:
        time.sleep(2)
        for turn in range(ROUNDS):
            word = f"code {turn}"
            setting = {"env": {"PROBE_SETTING": "x"}}
            secret = {**setting, "secrets": {"token": f"other {turn}"}}
            switches += [
                fleet.switch(f"code {turn}", word),
                fleet.switch(f"setting {turn}", word, **setting),
                fleet.switch(f"secret {turn}", word, **secret),
                fleet.back(f"rollback {turn}"),
            ]
        time.sleep(2)
    check(found, switches)
    assert len(found.good_byes()) >= len(switches) * len(fleet.machines), "websockets were not told to go"


def test_twenty_quick_switches_drop_nothing(fleet: Fleet, tmp_path: Path) -> None:
    """Twenty deploys and rollbacks, each as soon as the one before has ended: 20,000 requests, none fails.

    There is no websocket, and long requests take two seconds: else each drain would wait, and it would not
    be quick. Red when a release that is wanted again is still being stopped.
    """
    switches: list[Switch] = []
    for word in ("back", "there"):
        fleet.good_deploy(word)
    with traffic(fleet.plan(**QUICK), tmp_path) as found:
        time.sleep(1)
        for turn in range(QUICK_SWITCHES // 2):
            switches += [fleet.back(f"rollback {turn}"), fleet.switch(f"deploy {turn}", "there")]
        time.sleep(1)
    check(found, switches)
    assert len(found.requests) >= 20_000


def test_a_restart_in_place_of_a_switch_is_noticed(fleet: Fleet, tmp_path: Path) -> None:
    """The same load, with a release that ends the old one as it starts: requests fail, and are counted.

    Red when the load is too weak to see an outage; then the tests above prove nothing.
    """
    fleet.good_deploy("before the restart")
    fleet.everywhere(NAIVE)
    try:
        with traffic(fleet.plan(**QUICK), tmp_path) as found:
            time.sleep(1)
            done = fleet.deploy("restarted")
            time.sleep(1)
    finally:
        fleet.everywhere(f"rm {DROP_IN} {HELPER}; systemctl daemon-reload")
    say(f"with a restart in place of the switch: {found.summary()}")
    assert done.returncode == 0, why(done)
    for machine in fleet.machines:
        assert len(found.of(machine).failed()) >= 20, machine
    pause, _ = found.longest_pause()
    assert pause > LONGEST_PAUSE
