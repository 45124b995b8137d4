"""Two machines watch the same fleet: each alert is told once, also when one of the two is gone."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from client import wait_until
from conftest import say
from sink import Sink
from testinfra.host import Host
from watch import Watch

pytest_plugins = ["watched"]

# Longer than the second waits for the first one's word before it tells by itself (alertmanager_cluster_wait).
LONG_ENOUGH = 12


@contextmanager
def failed_unit(machine: Host, name: str) -> Iterator[None]:
    """Let a unit be failed for as long as the block runs."""
    machine.check_output("systemd-run -q --unit=%s false || true", name)
    try:
        yield
    finally:
        machine.check_output("systemctl reset-failed %s", name)


def knows(machine: Host, unit: str) -> bool:
    """Tell whether a machine's own Alertmanager has the alert."""
    alerts = json.loads(machine.check_output("curl -fsS http://127.0.0.1:9093/api/v2/alerts"))
    return any(alert["labels"].get("unit") == unit for alert in alerts)


def test_both_know_and_one_tells(both: Watch, told: Sink) -> None:
    """Both Prometheus see a failed unit, both Alertmanagers have it, and one message tells it.

    Red when the two do not hear each other, or what they send differs.
    """
    begun = time.time()
    unit = f"drill-{begun:.0f}"
    with failed_unit(both.second, unit):
        for machine in (both.mon, both.second):
            wait_until("the alert", lambda machine=machine: knows(machine, unit), 60)  # type: ignore[misc]
        time.sleep(LONG_ENOUGH)
        (first, *more) = told.messages(unit=unit)
        assert first not in more, more
    told.wait("UnitFailed", "resolved", begun, 60, unit=unit)
    # One whose Prometheus sees the end a scrape later says once more that it goes on, and then that it ends.
    wait_until("the last word", lambda: told.messages(unit=unit)[-1] == ("UnitFailed resolved",))


def test_one_of_them_is_enough(both: Watch, told: Sink) -> None:
    """The first watcher's programs end: the second tells of that, and of what happens meanwhile.

    Red when a watcher is known to itself alone, or the other waits for the word of one that is gone.
    """
    watch = "prometheus prometheus-alertmanager"
    begun = time.time()
    both.mon.check_output(f"systemctl stop {watch}")
    try:
        with failed_unit(both.web, "drill-alone"):
            told.wait("UnitFailed", "firing", begun, 90, unit="drill-alone")
            took = time.time() - begun
            for job in ("prometheus", "alertmanager"):
                told.wait("TargetMissing", "firing", begun, 90, host="mon1", job=job)
    finally:
        both.mon.check_output(f"systemctl start {watch}")
        ready = "curl -fsS http://127.0.0.1:9090/-/ready"
        wait_until("the first again", lambda: both.mon.run(ready).rc == 0)
    told.wait("TargetMissing", "resolved", begun, 120, host="mon1", job="prometheus")
    members = "min(alertmanager_cluster_members)"
    wait_until("the two together again", lambda: both.number(members) == 2, 120)
    say(f"monitoring: with one of two watchers gone, a failed unit is told after {took:.0f} s")


@pytest.mark.parametrize("certificate", ["none", "another"])
def test_a_stranger_takes_no_part(both: Watch, certificate: str) -> None:
    """Where the two speak with each other, only their own two certificates are heard.

    Red when the port takes anybody who speaks TLS, or who speaks without.
    """
    peer = f"{both.lab.address('mon1')}:9094"
    own = ""
    if certificate == "another":
        own = "-cert /etc/exporters-gateway/*.crt -key /etc/exporters-gateway/*.key"
    said = both.web.run(f"sleep 1 | timeout 10 openssl s_client -connect {peer} {own} 2>&1").stdout
    assert (
        "alert certificate required" in said or "alert bad certificate" in said or "alert unknown ca" in said
    )
    assert both.web.run(f"curl -sS -m 5 http://{peer}/").rc != 0


def test_each_is_known_to_the_other_once(both: Watch) -> None:
    """Both say that they are two.

    Red when a stranger is among them.
    """
    for machine in (both.mon, both.second):
        status = json.loads(machine.check_output("curl -fsS http://127.0.0.1:9093/api/v2/status"))
        assert sorted(peer["address"] for peer in status["cluster"]["peers"]) == sorted(
            f"{both.lab.address(name)}:9094" for name in ("mon1", "mon2")
        )
