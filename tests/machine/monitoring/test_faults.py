"""Faults are caused for real, and each is told to a receiver, by its name and with words that help."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from client import Site, wait_until
from conftest import say
from sink import Sink
from watch import Watch

pytest_plugins = ["watched"]

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
# The weaker words may come first; a release that has just begun grows; and before this test nobody listened.
BESIDE = {"DiskFullSoon", "CertificateSoon", "WorkerLeak", "AlertsNotSent", "NotificationsFailing"}
METER = {"app": "meter"}
# No start of the application succeeds any more.
BROKEN = "/run/systemd/system/meter@.service.d/zz-drill.conf"
# The second machine gets the release of before, as after a run that nobody ended. It looks at itself before
# anything is stopped, as a live release that has stopped would be another fault.
LOOK = "env PYTHONPATH=/usr/local/lib/fastapi-metal python3 -m machine_figures collect"
OTHER_RELEASE = (
    "cd /srv/meter; live=$(basename $(readlink current)); "
    "other=$(ls -t releases | grep -vxF $live | head -n 1); test -n $other; echo $live > /root/live; "
    "systemctl start meter@$other.socket meter@$other.service; "
    f"ln -s releases/$other new; mv -T new current; {LOOK}"
)
SAME_RELEASE = (
    "cd /srv/meter; live=$(cat /root/live); other=$(basename $(readlink current)); "
    f"ln -s releases/$live new; mv -T new current; {LOOK}; sleep 3; "
    "systemctl stop meter@$other.socket meter@$other.service"
)


def root(both: Watch, commands: str) -> None:
    """Run shell commands on the watched machine."""
    both.web.check_output("bash -euc %s", commands)


def restarted(both: Watch) -> None:
    """Let the application begin anew, with nothing of what it held."""
    root(
        both,
        f"{LIVE}; systemctl reset-failed $unit.service || true; systemctl restart $unit.socket $unit.service",
    )
    wait_until("the application", lambda: both.site.is_well("/health"))


def expect(told: Sink, name: str, since: float, labels: dict[str, str], timeout: float = 120) -> float:
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
    if both.other.check_output("ls /srv/meter/releases | wc -l") == "1":
        assert both.lab.deploy("meter", env={"DRILL": "1"}).returncode == 0
    begun = time.time()
    try:
        for cause, _undo, _labels in AROUND.values():
            root(both, cause)
        both.other.check_output("bash -euc %s", OTHER_RELEASE)
        both.look_again()
        took = {name: expect(told, name, begun, labels) for name, (_, _, labels) in AROUND.items()}
        took["MixedReleases"] = expect(told, "MixedReleases", begun, METER)
    finally:
        for _cause, undo, _labels in AROUND.values():
            both.web.run("bash -c %s", undo)
        both.other.check_output("bash -euc %s", SAME_RELEASE)
        both.look_again()
    for name in took:
        told.wait(name, "resolved", begun, 120)
    assert told.names(begun) - BESIDE == set(took), "and nothing else"
    say("monitoring: told after s: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in took.items()))


def test_an_application_that_is_gone_is_told(both: Watch, told: Sink) -> None:
    """It dies and cannot start again: told as down and as given up, and over when it is back."""
    begun = time.time()
    try:
        root(
            both,
            f"mkdir -p $(dirname {BROKEN}); printf '[Service]\\nExecStartPre=/bin/false\\n' > {BROKEN}; "
            f"systemctl daemon-reload; {LIVE}; systemctl kill --signal=KILL $unit.service",
        )
        expect(told, "AppDown", begun, METER | {"host": "web1"})
        expect(told, "AppGivenUp", begun, METER | {"host": "web1"})
    finally:
        root(both, f"rm {BROKEN}; systemctl daemon-reload")
        restarted(both)
    told.wait("AppDown", "resolved", begun, 120)
    told.wait("AppGivenUp", "resolved", begun, 120)
    assert "UnitFailed" not in told.names(begun), "what another alert explains"


def test_a_crash_loop_is_told(both: Watch, told: Sink) -> None:
    """Killed again and again while it always comes back: that is a loop, and it is not down."""
    root(both, f"{LIVE}; systemctl reset-failed $unit.service")
    # A count that is known before it grows.
    counted = f'sum(unit_restarts_total{{host="web1",unit="meter",release="{both.release()}"}})'
    wait_until("a count of none", lambda: both.number(counted) == 0 and bool(both.query(counted)))
    begun = time.time()
    for _ in range(4):
        old = both.unit("MainPID")
        both.web.check_output("kill -9 %s", old)
        wait_until("another one", lambda old=old: both.unit("MainPID") not in ("0", old))  # type: ignore[misc]
        wait_until("an answer", lambda: both.site.is_well("/health"))
    expect(told, "AppCrashLoop", begun, METER)
    restarted(both)


def test_a_machine_that_is_off_is_told_alone(both: Watch, told: Sink) -> None:
    """Its power is cut: one word about it, none about all that ran on it, one when it is back."""
    begun = time.time()
    silenced = 'ALERTS{alertname="TargetMissing",alertstate="firing",host="web2"}'
    both.lab.kill("web2")
    try:
        known = begun + expect(told, "HostDown", begun, {"host": "web2"})
        wait_until("something that is not told", lambda: bool(both.query(silenced)))
        assert told.names(known, host="web2") <= {"HostDown"}
    finally:
        both.lab.start("web2")
    told.wait("HostDown", "resolved", begun, 120)
    wait_until("its applications again", lambda: both.number('min(app_host:up:min{host="web2"})') == 1)


@contextmanager
def asked(site: Site, path: str, threads: int = 4) -> Iterator[None]:
    """Ask for a path all the time, for as long as the block runs."""
    over = threading.Event()

    def again() -> None:
        while not over.is_set():
            site.get(path)

    running = [threading.Thread(target=again) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in running:
            thread.join()


@pytest.mark.parametrize(
    ("name", "app", "path"),
    [
        ("AppErrorsFast", "meter", "/status/500"),
        ("AppLatencyFast", "meter", "/slow?seconds=0.8"),
        ("AppErrorsFast", "plain", "/status/503"),
    ],
)
def test_broken_promises_are_told(both: Watch, told: Sink, name: str, app: str, path: str) -> None:
    """A burst of errors, and answers that take too long, burn what is promised for a month.

    Also of an application that does not count: Nginx does.
    """
    begun = time.time()
    with asked(both.lab.site(app), path):
        expect(told, name, begun, {"app": app})
    told.wait(name, "resolved", begun, 120)


def test_memory_is_told_before_it_is_gone(both: Watch, told: Sink) -> None:
    """A worker that grows is told as a leak, and a unit near its limit as that; neither was killed for it."""
    limit = int(both.unit("MemoryMax"))
    begun, step = time.time(), limit // 80
    try:
        while (taken := int(both.unit("MemoryCurrent"))) < limit * 0.94:
            assert time.time() - begun < 300, f"it takes {taken} of {limit} alone"
            both.site.get(f"/hold?mib={max(1, step >> 20)}")
            # Quick enough to be a leak, and slow enough to be seen as one.
            time.sleep(0.5)
        expect(told, "WorkerLeak", begun, METER)
        expect(told, "AppMemoryLimit", begun, METER)
        assert both.unit("NRestarts") == "0", "it was killed"
    finally:
        restarted(both)
    told.wait("AppMemoryLimit", "resolved", begun, 120)
