"""A release that cannot work is refused with a reason, everywhere, while what served before serves on."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from client import wait_until
from conftest import ROOT, Lab, say
from fleet import APP, Fleet
from played import why
from traffic import traffic

SOURCE = ROOT / "tests/apps/probe"
Changes = dict[str, Any]
Deploy = Callable[[], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Return the two machines, with a release that is well."""
    fleet = Fleet(lab, tmp_path_factory.mktemp("fleet"))
    fleet.good_deploy("well")
    return fleet


def fault(name: str, **env: Any) -> Changes:
    """Return the changes that break the application itself."""
    return {"env": {"PROBE_FAULT": name, **env}}


@dataclass(frozen=True)
class Case:
    """One way to fail, and what must be read about it."""

    name: str
    changes: Changes
    reason: str
    # Another case takes the same way through the engine, so this one is left to `bin/test full`.
    full: bool = False


NO_SSH = "tcp dport 22 reject with tcp reset"
FOUR = {"workers": 4}
IMPATIENT = {"path": "/health/ready", "timeout": 10, "stable": 1}

CASES = [
    Case("import error", fault("import"), r"PROBE_FAULT=import: this module cannot be imported"),
    Case(
        *("error in lifespan", fault("lifespan"), r"PROBE_FAULT=lifespan: the startup ends with an error"),
        full=True,
    ),
    Case("never ready", {**fault("never-ready"), "health": IMPATIENT}, r"status 503"),
    Case("500 on health", {**fault("health-500"), "health": IMPATIENT}, r"status 500", full=True),
    Case(
        "ready, then dead after 5 s",
        {**fault("dies"), "health": {**IMPATIENT, "timeout": 60, "stable": 8}},
        r"its server ended .* after its first healthy answer",
    ),
    Case(
        "one worker of four answers 500",
        {
            **fault("one-worker"),
            "server": {"workers": 4},
            "health": {**IMPATIENT, "timeout": 30, "stable": 3},
        },
        r"status 500",
    ),
    Case(
        "one worker of four dies",
        {**fault("one-dies"), "server": FOUR, "health": {**IMPATIENT, "timeout": 60}},
        r"one of its workers died|its workers die and are started again|worker processes instead of 4",
    ),
    Case(
        "migration fails",
        {"before_start": ["echo the table is in the way; exit 3"]},
        r"status 3(.|\n)*the table is in the way",
        full=True,
    ),
    Case(
        "migration hangs",
        {"before_start": ["echo the migration begins; sleep 600"], "before_start_timeout": 3},
        r"(?s)3 s.*the migration begins|the migration begins",
    ),
    Case("second host broken", fault("import", PROBE_FAULT_ON="web2"), r"web2: its server ended"),
]


def refused(
    fleet: Fleet, tmp_path: Path, label: str, deploy: Deploy, reason: str
) -> subprocess.CompletedProcess[str]:
    """Deploy what must be refused, under light load: it says why, and only the old release answers."""
    before = fleet.live()
    with traffic(fleet.light(), tmp_path) as found:
        done = deploy()
    say(f"{label}: exit status {done.returncode}, {found.summary()}")
    assert done.returncode != 0, f"{label}: the play ended well"
    assert re.search(reason, done.stdout), f"{label}: no word of {reason}\n{why(done)}"
    assert not found.failed(), found.failed()[:5]
    assert set(found.releases()) == {before}
    assert fleet.live() == before
    return done


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=pytest.mark.full if case.full else ()) for case in CASES],
)
def test_a_broken_release_moves_nothing(fleet: Fleet, tmp_path: Path, case: Case) -> None:
    """The play fails and says why; visitors of both machines are answered by the old release alone.

    Red when the switch comes before the gate, on one machine or on both, or when the play ends with status 0.
    """
    refused(fleet, tmp_path, case.name, lambda: fleet.deploy(case.name, **case.changes), case.reason)


def test_a_release_that_dies_after_the_switch_is_put_back(fleet: Fleet, tmp_path: Path) -> None:
    """It was well, got traffic, and died: every machine goes back, and the play fails.

    What was in flight on the processes that died may be lost, and is counted. Red when the watch sees
    nothing, when a machine stays behind, or when the play ends with status 0.
    """
    before = fleet.live()
    with traffic(fleet.light(), tmp_path) as found:
        done = fleet.deploy("dies later", **fault("dies", PROBE_DIES_AFTER=12), release_watch=20)
    lost = found.failed()
    say(f"dead after the switch: {found.summary()}; answers by release {dict(found.releases())}")
    assert done.returncode != 0
    assert re.search(r"release_watch", done.stdout), why(done)
    assert fleet.live() == before
    assert len(found.releases()) == 2, "it died before it had traffic"
    # Two visitors per machine, each with one request at a time, met two deaths of it at most.
    assert len(lost) <= 8, lost


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the application that a test may change."""
    copy = tmp_path / "source"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_a_wrong_hash_is_refused(fleet: Fleet, source: Path, tmp_path: Path) -> None:
    """A package that is not the one of the lock is not installed.

    Red when hashes are not asked for.
    """
    lock = source / "requirements.txt"
    lock.write_text(re.sub(r"--hash=sha256:[0-9a-f]{6}", "--hash=sha256:badbad", lock.read_text()))
    refused(
        *(fleet, tmp_path, "wrong hash"),
        lambda: fleet.deploy("hash", source={"path": str(source)}),
        r"(?i)hash mismatch(.|\n)*badbad",
    )


def test_a_python_that_is_too_old_is_said_before_anything_happens(
    fleet: Fleet, source: Path, tmp_path: Path
) -> None:
    """The application asks for an interpreter that no machine has: both say so, and nothing is staged.

    Red when it is noticed only by the installer, or by the gate.
    """
    project = '[project]\nname = "probe"\nversion = "1"\nrequires-python = ">=3.99"\n'
    (source / "pyproject.toml").write_text(project)
    before = fleet.everywhere(f"ls /srv/{APP}/releases")
    done = refused(
        *(fleet, tmp_path, "Python too old"),
        lambda: fleet.deploy("python", source={"path": str(source)}),
        r"web1: .*asks for Python >=3\.99(.|\n)*web2: .*asks for Python >=3\.99",
    )
    assert "this machine has 3." in done.stdout, why(done)
    assert fleet.everywhere(f"ls /srv/{APP}/releases") == before


def test_a_second_run_is_told_who_is_at_it(fleet: Fleet, tmp_path: Path) -> None:
    """While one run releases, another one is refused with who, where and since when; the first one completes.

    Red when two runs release at once, or the refusal names nobody.
    """
    go = f"/var/lib/{APP}/go"
    fleet.everywhere(f"rm -f {go}")
    waiting = {"before_start": [f"until [ -e {go} ]; do sleep 0.2; done"]}
    first = fleet.lab.begin_playbook("deploy", **fleet.variables("first", **waiting))
    try:
        held = f"test -e /srv/{APP}/lease.json && echo held || true"
        wait_until("the lease", lambda: fleet.root("web1", held) == "held", 120)
        refused(
            *(fleet, tmp_path, "lease held"),
            lambda: fleet.lab.playbook("deploy", **fleet.variables("second"), app_lease_wait=0),
            rf"\(process {first.pid} there\) releases {APP} since \d{{4}}-\d\d-\d\d .* UTC",
        )
    finally:
        fleet.everywhere(f"touch {go}")
        printed, _ = first.communicate(timeout=300)
    assert first.returncode == 0, printed[-3000:]
    assert fleet.words() == {"first"}


def answers(fleet: Fleet, machine: str) -> bool:
    """Tell whether one can log in."""
    try:
        return fleet.root(machine, "true") == ""
    except AssertionError:
        return False


@contextmanager
def rejecting(fleet: Fleet, machine: str, hook: str, match: str) -> Iterator[None]:
    """Let a machine refuse packets for as long as the block runs; where nobody can log in, for 25 s."""
    rules = f"table inet drill {{ chain drill {{ type filter hook {hook} priority 0; {match}; }}; }}"
    fleet.root(machine, f"echo '{rules}' > /run/drill.nft")
    away = hook == "input"
    script = "sleep 1; nft -f /run/drill.nft; sleep 25; nft delete table inet drill"
    fleet.root(machine, f"systemd-run -q --collect sh -c '{script}'" if away else "nft -f /run/drill.nft")
    try:
        if away:
            wait_until("no login", lambda: not answers(fleet, machine), 10)
        yield
    finally:
        if away:
            wait_until("a login again", lambda: answers(fleet, machine), 60)
        else:
            fleet.root(machine, "nft delete table inet drill")


def test_an_index_that_cannot_be_reached_is_said(fleet: Fleet, source: Path, tmp_path: Path) -> None:
    """A new package is needed and the second machine reaches nothing: no machine switches.

    Red when a release without its packages is started, or the first machine goes ahead alone.
    """
    lock = source / "requirements.txt"
    lock.write_text(f"{lock.read_text()}iniconfig==2.1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    with rejecting(fleet, "web2", "output", "oifname != lo ct state new reject"):
        refused(
            *(fleet, tmp_path, "index unreachable"),
            lambda: fleet.deploy("index", source={"path": str(source)}),
            r"web2: (.|\n)*(error sending request|[Cc]onnect|dns error|failed to fetch)",
        )


def test_a_machine_that_cannot_be_reached_stops_all(fleet: Fleet, tmp_path: Path) -> None:
    """The second machine refuses SSH: the play fails, and the first machine has not switched.

    Red when a release goes on with the machines that are left.
    """
    before = fleet.live()
    with traffic(fleet.light(), tmp_path) as found, rejecting(fleet, "web2", "input", NO_SSH):
        done = fleet.deploy("unreachable")
    say(f"second host unreachable: exit status {done.returncode}, {found.summary()}")
    assert done.returncode != 0
    assert re.search(r"web2.*(unreachable|UNREACHABLE)", done.stdout), why(done)
    assert not found.failed(), found.failed()[:5]
    assert set(found.releases()) == {before}


CRAMPED = "cramped"
TAKE_AWAY = f"""\
units=$(systemctl list-units --all --plain --no-legend "{CRAMPED}@*" "release-*@{CRAMPED}*" | cut -d" " -f1)
systemctl disable -q --now $units
rm -rf /etc/systemd/system/*{CRAMPED}@* /etc/systemd/system/*/*{CRAMPED}@*
systemctl daemon-reload
"""


def test_a_full_disk_is_said_and_nothing_moves(fleet: Fleet, tmp_path: Path) -> None:
    """The disk of the second machine is full before the new release is on it: the old one serves on.

    The application here is a second one, whose directory is a file system that can be filled. Red when half
    a release is taken for a whole one.
    """
    disk = f"/srv/{CRAMPED}"
    fleet.root("web2", f"mkdir -p {disk}; mount -t tmpfs -o size=200m,mode=0711 {CRAMPED} {disk}")
    try:
        first = cramped(fleet, "first")
        assert first.returncode == 0, why(first)
        live = fleet.everywhere(f"readlink {disk}/current")
        fleet.root("web2", f"fallocate -l $(df --output=avail -B1 {disk} | tail -1) {disk}/filler")
        refused(
            *(fleet, tmp_path, "disk full"),
            lambda: cramped(fleet, "second"),
            r"web2: (.|\n)*(No space left on device|are free where)",
        )
        assert fleet.everywhere(f"readlink {disk}/current") == live
        for machine in fleet.machines:
            answer = fleet.root(machine, f"curl -sS --unix-socket {disk}/current/app.sock http://x/version")
            assert '"word":"first"' in answer, machine
        fleet.root("web2", f"rm {disk}/filler")
        again = cramped(fleet, "second")
        assert again.returncode == 0, why(again)
    finally:
        fleet.everywhere(TAKE_AWAY)
        fleet.root("web2", f"umount {disk}")
        fleet.everywhere(f"rm -rf {disk}")


def cramped(fleet: Fleet, word: str) -> subprocess.CompletedProcess[str]:
    """Deploy the second application; how much it would like to be free does not count."""
    entry = {**fleet.described, "domain": f"{CRAMPED}.lab.test", "env": {"PROBE_WORD": word}}
    return fleet.lab.playbook("deploy", app=CRAMPED, apps={CRAMPED: entry}, app_minimum_free_disk=1)


def test_a_migration_runs_once_on_two_machines(fleet: Fleet) -> None:
    """The command before the start runs on the first machine alone, and once per release.

    Red when each machine migrates, or each run.
    """
    command = ["echo migrated >> /var/lib/probe/migrations"]
    fleet.everywhere("rm -f /var/lib/probe/migrations")
    fleet.good_deploy("migrated", before_start=command)
    fleet.good_deploy("migrated", before_start=command)
    runs = fleet.everywhere("cat /var/lib/probe/migrations 2>/dev/null | wc -l")
    say(f"a migration on two machines, deployed twice, ran: {runs}")
    assert runs == {"web1": "1", "web2": "0"}


def test_after_all_failures_the_live_release_is_the_wanted_one(fleet: Fleet) -> None:
    """Whatever failed before, a deploy of what is live changes nothing.

    Red when a failure leaves half a state.
    """
    fleet.good_deploy("well")
    done = fleet.deploy("well")
    assert done.returncode == 0, why(done)
    assert done.stdout.count("changed=0") == len(fleet.machines), why(done)
