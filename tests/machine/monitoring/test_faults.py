"""Faults are caused for real, and each is told to a receiver, by its name and with words that help."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from client import wait_until
from conftest import Lab, say
from sink import Sink, sink
from watch import PORT, Watch, watch

LIVE = "release=$(basename $(readlink /srv/meter/current)); unit=meter@$release"
# What has nothing to do with the application: name, cause, undo, labels. They stand side by side.
AROUND = {
    "UnitFailed": (
        "systemd-run -q --unit=drill-failed false || true",
        "systemctl reset-failed drill-failed",
        {"unit": "drill-failed"},
    ),
    "TargetMissing": (
        "systemctl stop prometheus-nginx-exporter",
        "systemctl start prometheus-nginx-exporter",
        {"job": "nginx"},
    ),
    "DatabaseDown": (
        "systemctl stop postgresql@17-main",
        "systemctl start postgresql@17-main",
        {"host": "web1"},
    ),
    "CertificateNow": (
        "mv /etc/nginx/tls/meter /root/kept; mkdir /etc/nginx/tls/meter; openssl req -x509 -newkey rsa:2048 "
        "-nodes -days 3 -subj /CN=drill -keyout /dev/null -out /etc/nginx/tls/meter/fullchain.pem 2>&1",
        "rm -r /etc/nginx/tls/meter; mv /root/kept /etc/nginx/tls/meter",
        {"site": "meter"},
    ),
    # An overlay has the size of what it writes to.
    "DiskFull": (
        "mkdir -p /srv/small /srv/full; mount -t tmpfs -o size=20m tmpfs /srv/small; "
        "mkdir /srv/small/upper /srv/small/work; "
        "mount -t overlay overlay /srv/full "
        "-o lowerdir=/srv/full,upperdir=/srv/small/upper,workdir=/srv/small/work; "
        "dd if=/dev/zero of=/srv/full/file bs=64k 2>&1 || true; sync",
        "umount /srv/full /srv/small",
        {"mountpoint": "/srv/full"},
    ),
}
# The weaker words may come first; and before this test nobody listened.
BESIDE = {"DiskFullSoon", "CertificateSoon", "AlertsNotSent", "NotificationsFailing"}
METER = {"app": "meter"}
OTHER_RELEASE = "/var/lib/prometheus/node-exporter/drill.prom"


@pytest.fixture(scope="module")
def both(lab: Lab) -> Watch:
    """Return the two machines."""
    return watch(lab)


@pytest.fixture(scope="module")
def told(lab: Lab) -> Iterator[Sink]:
    """Listen as a receiver."""
    with sink(lab.info["gateway"], PORT) as found:
        yield found


def root(both: Watch, commands: str) -> None:
    """Run shell commands on the watched machine."""
    both.web.check_output("bash -euc %s", commands)


def restarted(both: Watch) -> None:
    """Let the application begin anew, with nothing of what it held."""
    root(both, f"{LIVE}; systemctl reset-failed $unit.service || true; systemctl restart $unit.service")
    wait_until("the application", lambda: both.site.is_well("/health"), 30)


def expect(told: Sink, name: str, since: float, labels: dict[str, str], timeout: float = 60) -> float:
    """Wait for an alert; return after how many seconds it was told."""
    alert = told.wait(name, "firing", since, timeout, **labels)
    words = alert["annotations"]
    assert "<no value>" not in str(words)
    assert "error" not in words["summary"], words
    assert words["runbook"].endswith(f"/{name}.md")
    assert words["look"]
    return float(alert["at"]) - since


def test_faults_around_the_application_are_told(both: Watch, told: Sink) -> None:
    """A failed unit, a stopped exporter or database, a certificate near its end, a full disk, mixed releases.

    Each is told by its own name, and again when it is over. Red when one is not, or is called otherwise.
    """
    begun = time.time()
    other = 'app_release_info{app="meter",release="another",version="x"} 1'
    try:
        for cause, _undo, _labels in AROUND.values():
            root(both, cause)
        # A second machine of the application that has another release.
        both.mon.check_output("printf '%%s\\n' %s > %s", other, OTHER_RELEASE)
        both.look_again()
        took = {name: expect(told, name, begun, labels) for name, (_, _, labels) in AROUND.items()}
        took["MixedReleases"] = expect(told, "MixedReleases", begun, METER)
    finally:
        for _cause, undo, _labels in AROUND.values():
            both.web.run("bash -c %s", undo)
        both.mon.run("rm -f %s", OTHER_RELEASE)
        both.look_again()
    for name in took:
        told.wait(name, "resolved", begun, 60)
    assert told.names(begun) - BESIDE == set(took), "and nothing else"
    say("monitoring: told after s: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in took.items()))


def test_an_application_that_is_gone_is_told(both: Watch, told: Sink) -> None:
    """Stopped for good: told as down, with its name and machine, and over when it is back."""
    begun = time.time()
    try:
        root(both, f"{LIVE}; systemctl stop $unit.socket $unit.service")
        expect(told, "AppDown", begun, METER | {"host": "web1"})
    finally:
        root(both, f"{LIVE}; systemctl start $unit.socket $unit.service")
    told.wait("AppDown", "resolved", begun, 60)
    assert "UnitFailed" not in told.names(begun)


def test_a_crash_loop_is_told(both: Watch, told: Sink) -> None:
    """Killed again and again while it always comes back: that is a loop, and it is not down."""
    begun = time.time()
    for _ in range(4):
        root(both, f"{LIVE}; kill -9 $(systemctl show -p MainPID --value $unit.service)")
        time.sleep(4)
    expect(told, "AppCrashLoop", begun, METER)
    restarted(both)


def ask_for(both: Watch, path: str, seconds: float, threads: int = 4) -> None:
    """Ask for a path all the time."""
    until = time.monotonic() + seconds

    def again() -> None:
        while time.monotonic() < until:
            both.site.get(path)

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(again) for _ in range(threads)]:
            done.result()


@pytest.mark.parametrize(
    ("name", "path"), [("AppErrorsFast", "/status/500"), ("AppLatencyFast", "/slow?seconds=0.8")]
)
def test_broken_promises_are_told(both: Watch, told: Sink, name: str, path: str) -> None:
    """A burst of errors, and answers that take too long, burn what is promised for a month."""
    begun = time.time()
    load = threading.Thread(target=ask_for, args=(both, path, 25))
    load.start()
    try:
        expect(told, name, begun, METER)
    finally:
        load.join()
    told.wait(name, "resolved", begun, 90)


def test_memory_is_told_before_it_is_gone(both: Watch, told: Sink) -> None:
    """A worker that grows is told as a leak, and a unit near its limit as that; neither was killed for it."""
    begun = time.time()
    try:
        taken = both.number('unit_memory_bytes{unit="meter"}') / (1 << 20)
        rounds = int((380 - taken) / 5)
        assert rounds > 8, "no room to grow in"
        for _ in range(rounds):
            both.site.get("/hold?mib=5")
            time.sleep(1)
        expect(told, "WorkerLeak", begun, METER)
        expect(told, "AppMemoryLimit", begun, METER)
    finally:
        restarted(both)
    told.wait("AppMemoryLimit", "resolved", begun, 60)
