"""What an operator does beside a plain deploy, and what the engine decides by itself, on two machines."""

import os
import re
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from client import Site, wait_until
from conftest import Lab, say
from fleet import APP, RUNNING, Fleet, leftovers
from played import unbroken, why
from traffic import traffic


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Return the two machines, with a release that is well."""
    fleet = Fleet(lab, tmp_path_factory.mktemp("fleet"))
    fleet.good_deploy("well")
    return fleet


# Memory

# One application of 1 GB, which four workers share.
BIG: dict[str, Any] = {
    "env": {"PROBE_HOLD_MIB": 1000},
    "server": {"workers": 4, "preload": True, "graceful_timeout": 10},
}
# What else a small server has: a database, monitoring.
NEIGHBOUR = "drill-neighbour.service"
NEIGHBOUR_HOLDS = "import signal; held = bytearray(b'x') * (1000 << 20); signal.pause()"


def mebibytes(fleet: Fleet, machine: str, what: str) -> int:
    """Return a figure of a machine's memory."""
    found = re.search(rf"^{what}: +(\d+) kB", fleet.root(machine, "cat /proc/meminfo"), re.MULTILINE)
    assert found, what
    return int(found[1]) // 1024


@contextmanager
def cramped(fleet: Fleet, machine: str) -> Iterator[None]:
    """Let a machine have 3 GB for as long as the block runs, and a neighbour that takes one of them."""
    all_of_it = mebibytes(fleet, machine, "MemTotal")
    try:
        fleet.lab.memory(machine, "3G")
        fleet.root(machine, f'systemd-run -q --collect -u {NEIGHBOUR} python3 -c "{NEIGHBOUR_HOLDS}"')
        # What a machine with a limit shows is brought up to date every few seconds.
        wait_until("the memory in use", lambda: mebibytes(fleet, machine, "MemAvailable") < 1100, 60)
        yield
    finally:
        fleet.root(machine, f"systemctl stop {NEIGHBOUR} || true")
        fleet.lab.memory(machine, f"{all_of_it}M")


def test_where_two_releases_do_not_fit_the_old_one_ends_first(fleet: Fleet, tmp_path: Path) -> None:
    """A machine of 3 GB and an application of 1 GB in four workers: handover there, side by side elsewhere.

    Nobody is refused meanwhile, and with enough memory it is side by side again. Red when `switch: auto`
    does not measure the live release, or requests do not wait.
    """
    fleet.good_deploy("big", **BIG)
    with cramped(fleet, "web1"):
        with traffic(fleet.light(), tmp_path) as found:
            done = fleet.deploy("big, handed over", **BIG)
        assert done.returncode == 0, why(done)
        handover = r"web1: handover, two releases do not fit side by side: ([^.]*)\."
        told = re.search(handover, unbroken(done.stdout))
        assert told, why(done)
        assert "the live release uses 1" in told[1], told[1]
        assert "web2: handover" not in done.stdout
    assert not found.failed(), found.failed()[:5]
    waited, _ = found.of("web1").longest_pause()
    beside, _ = found.of("web2").longest_pause()
    say(
        f"handover on 3 GB ({told[1]}): {len(found.requests)} requests, 0 failed, longest pause "
        f"{waited:.1f} s; on the other machine, side by side, {beside:.2f} s"
    )
    with traffic(fleet.light(), tmp_path) as found:
        done = fleet.deploy("big, side by side", **BIG)
    assert done.returncode == 0, why(done)
    assert "handover" not in done.stdout
    assert not found.failed(), found.failed()[:5]
    say(f"with enough memory, side by side again: {found.summary()}")


# Looking

LOOKED = f"""\
find /srv/{APP} /etc/{APP} /var/lib/{APP} /etc/systemd/system /etc/nginx /usr/local/lib/fastapi-metal \
    -path "*/venv" -prune -o -printf "%p %y %m %U %s %T@ %C@ %l\\n" | sort
systemctl list-units --all --plain --no-legend "{APP}*" "release-*"
"""
# Neither the new nor the old value of a secret.
SECRETS = ("a-token-to-come", "lab-token")


def test_a_look_says_what_would_be_released_and_changes_nothing(fleet: Fleet) -> None:
    """`--check --diff` on what is current, and with a value of `env` and a secret that are about to change.

    Red when it touches a machine, gives no or another reason, shows a secret, or hides the value.
    """
    live = fleet.good_deploy("looked at")
    before = fleet.everywhere(LOOKED)
    done = fleet.lab.playbook("deploy", "--check", "--diff", **fleet.variables("looked at"))
    assert done.returncode == 0, why(done)
    for machine in fleet.machines:
        assert f"{APP} on {machine}: unchanged, {live} is live" in done.stdout, why(done)
    assert done.stdout.count("changed=0") == len(fleet.machines), why(done)
    assert fleet.everywhere(LOOKED) == before

    pending = {"env": {"PROBE_SETTING": "to come"}, "secrets": {"token": SECRETS[0]}}
    done = fleet.lab.playbook("deploy", "--check", "--diff", **fleet.variables("looked at", **pending))
    assert done.returncode == 0, why(done)
    for machine in fleet.machines:
        reason = rf"{APP} on {machine}: new release \S+, because of: config \(env\), secret \(token\)"
        assert re.search(reason, unbroken(done.stdout)), why(done)
        assert re.search(rf"{machine} +{live} .*would be released", done.stdout), why(done)
    assert re.search(r"^\+PROBE_SETTING=.*to come", done.stdout, re.MULTILINE), why(done)
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
    assert fleet.everywhere(LOOKED) == before


# Two runs at once

GO = f"/var/lib/{APP}/go"
TURNS = f"/var/lib/{APP}/turns"
LEASE = f"/srv/{APP}/lease.json"


def taking_turns(name: str, until: str = "true") -> dict[str, Any]:
    """Return commands that write down when they begin and end."""
    return {"before_start": [f"echo {name} begins >> {TURNS}; {until}; echo {name} ends >> {TURNS}"]}


@contextmanager
def playing(fleet: Fleet, word: str, **changes: Any) -> Iterator["subprocess.Popen[str]"]:
    """Begin to deploy, and go on as soon as its command runs; whatever is left of it ends with the block."""
    fleet.everywhere(f"rm -f {GO} {TURNS}")
    # A release of its own each time: what has been prepared once is not prepared again.
    env = {"PROBE_TURN": time.time_ns()}
    run = fleet.lab.begin_playbook("deploy", **fleet.variables(word, env=env, **changes))
    try:
        begun = f"cat {TURNS} 2>/dev/null || true"
        wait_until("its command", lambda: "begins" in fleet.root("web1", begun), 120)
        yield run
    finally:
        fleet.everywhere(f"touch {GO}")
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.communicate()


def test_a_second_run_waits_for_the_first(fleet: Fleet) -> None:
    """It says for whom, waits, looks again and then releases; never do both at once.

    Red when the second one ends, begins before the first has ended, or goes by what it saw before.
    """
    waits = taking_turns("first", f"until [ -e {GO} ]; do sleep 0.2; done")
    with playing(fleet, "first", **waits) as first:
        env = {"PROBE_TURN": time.time_ns()}
        variables = fleet.variables("second", env=env, **taking_turns("second"))
        second = fleet.lab.begin_playbook("deploy", **variables)
        assert second.stdout
        printed = ""
        for line in second.stdout:
            printed += line
            if "waiting for up to" in line:
                break
        else:
            raise AssertionError(printed)
        fleet.root("web1", f"touch {GO}")
        said, _ = first.communicate(timeout=300)
        assert first.returncode == 0, said[-3000:]
        rest, _ = second.communicate(timeout=300)
        assert second.returncode == 0, rest[-3000:]
    waiting = re.search(r"waiting for up to 600 s: .*", printed)
    assert waiting
    assert re.search(rf"\(process {first.pid} there\) releases {APP} since", waiting[0]), waiting[0]
    turns = fleet.root("web1", f"cat {TURNS}").splitlines()
    assert turns == ["first begins", "first ends", "second begins", "second ends"]
    assert fleet.words() == {"second"}
    say(f"two runs at once: {', '.join(turns)}")


def test_the_lease_of_a_run_that_died_is_taken_over(fleet: Fleet) -> None:
    """The controller is killed in the middle: the next run says whose lease it takes, and completes.

    Red when a dead run keeps others out, or is replaced without a word.
    """
    with playing(fleet, "dying", **taking_turns("dying", "sleep 2")) as first:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
        done = fleet.deploy("heir")
    assert done.returncode == 0, why(done)
    holder = rf"\S+@\S+ \(process {first.pid} there\) releases {APP} since"
    assert re.search(f"lease of a run that is over was taken: {holder}", unbroken(done.stdout)), why(done)
    assert "its process is gone" in unbroken(done.stdout), why(done)
    assert fleet.words() == {"heir"}
    assert set(fleet.everywhere(f"ls {LEASE} 2>/dev/null || true").values()) == {""}


@pytest.mark.full
def test_a_run_that_hangs_can_be_replaced(fleet: Fleet) -> None:
    """It holds the lease and does nothing: others are refused, until one breaks the lease and releases.

    When it wakes up it ends by itself and moves nothing. Red when a live lease gives way unasked, cannot
    be broken, or the run that has lost it goes on.
    """
    with playing(fleet, "hanging", **taking_turns("hanging", "sleep 1")) as first:
        os.killpg(first.pid, signal.SIGSTOP)
        ended = f"cat {TURNS}"
        wait_until("the end of its command", lambda: "ends" in fleet.root("web1", ended), 60)
        refused = fleet.lab.playbook("deploy", **fleet.variables("replacing"), app_lease_wait=3)
        assert refused.returncode != 0, why(refused)
        for part in (f"(process {first.pid} there) releases {APP} since", "app_break_lease=true"):
            assert part in unbroken(refused.stdout), why(refused)
        done = fleet.lab.playbook("deploy", **fleet.variables("replacing"), app_break_lease=True)
        assert done.returncode == 0, why(done)
        assert "app_break_lease was set" in unbroken(done.stdout), why(done)
        os.killpg(first.pid, signal.SIGCONT)
        said, _ = first.communicate(timeout=300)
    assert first.returncode != 0
    assert f"another run has taken the lease of {APP} from this one" in unbroken(said), said[-3000:]
    assert fleet.words() == {"replacing"}
    fleet.complete("replacing")


# Back


def test_a_batch_that_fails_takes_the_one_before_along(fleet: Fleet, tmp_path: Path) -> None:
    """One machine after the other: the second falls ill once the first has switched, and both are back.

    Red when a machine that was well keeps the new release, the play ends with status 0, or the table
    says otherwise.
    """
    before = fleet.live()
    link = f"basename $(readlink /srv/{APP}/current)"
    changes: dict[str, Any] = {
        "env": {"PROBE_FAULT": "sick", "PROBE_FAULT_ON": "web2"},
        "release_batch": "1",
        "release_watch": 5,
        "health": {"path": "/health/ready", "timeout": 60, "stable": 1},
    }
    try:
        with traffic(fleet.light(), tmp_path) as found:
            run = fleet.lab.begin_playbook("deploy", **fleet.variables("one by one", **changes))
            wait_until("the first machine's switch", lambda: fleet.root("web1", link) != before, 120)
            fleet.root("web2", f"touch /var/lib/{APP}/sick")
            printed, _ = run.communicate(timeout=300)
    finally:
        fleet.root("web2", f"rm -f /var/lib/{APP}/sick")
    say(f"the second batch fails: exit status {run.returncode}, {found.summary()}")
    assert run.returncode != 0, printed[-3000:]
    assert re.search(r"web2: .*status 500", unbroken(printed)), printed[-3000:]
    for machine in fleet.machines:
        assert re.search(rf"{machine} +{before} +{before} +put back", printed), printed[-3000:]
    assert fleet.live() == before
    assert not found.failed(), found.failed()[:5]
    assert len(found.of("web1").releases()) == 2, "the first machine had not switched"


@pytest.mark.full
def test_the_way_back_can_be_named_and_undone(fleet: Fleet) -> None:
    """To a named release, to one that is not there, and back again where it came from.

    Red when a rollback goes elsewhere, or a name that is wrong moves something or shows no choice.
    """
    oldest, middle, newest = (fleet.good_deploy(word) for word in ("oldest", "middle", "newest"))
    named = fleet.lab.playbook("rollback", app=APP, release=oldest)
    assert named.returncode == 0, why(named)
    assert fleet.live() == oldest
    wrong = fleet.lab.playbook("rollback", app=APP, release="20200101T0000-000000")
    assert wrong.returncode != 0
    for machine in fleet.machines:
        choices = rf"releases on {machine}:(.|\n)*{middle}(.|\n)*{newest} \(previous\), from .*, by \S+@"
        assert re.search(choices, wrong.stdout), why(wrong)
    assert f"{oldest} (live)" in wrong.stdout, why(wrong)
    assert fleet.live() == oldest
    assert fleet.back("the way back from a way back").after == newest
    assert fleet.words() == {"newest"}


REVISION = "/var/lib/probe/revision"


def at_revision(code: int, declared: str) -> dict[str, Any]:
    """Return what makes a release know so many revisions; the database is a file on the first machine."""
    there = f"$(cat {REVISION})"
    pending = f'if [ "{there}" -lt {code} ]; then echo "{code} {declared}"; fi'
    ahead = f'if [ "{there}" -gt {code} ]; then echo "ahead {code}"; fi'
    return {
        "schema": {"current": f"cat {REVISION}", "pending": f"{pending}; {ahead}"},
        "before_start": [f'[ "{there}" -ge {code} ] || echo {code} > {REVISION}'],
    }


@pytest.mark.full
def test_the_way_back_over_a_schema_is_asked_once_for_all_machines(fleet: Fleet) -> None:
    """Over a compatible revision both machines go back, over an incompatible one neither; none is downgraded.

    Red when a rollback asks a machine that has no database, or moves one machine only, or any to code that
    cannot run.
    """
    fleet.everywhere(f"rm -f {REVISION}")
    fleet.root("web1", f"echo 1 > {REVISION}; chown {APP}: {REVISION}")
    first = fleet.good_deploy("schema one", **at_revision(1, "compatible"))
    fleet.good_deploy("schema two", **at_revision(2, "compatible"))
    assert fleet.back("over a compatible revision").after == first
    assert fleet.words() == {"schema one"}
    assert fleet.root("web1", f"cat {REVISION}") == "2"
    fleet.good_deploy("schema two", **at_revision(2, "compatible"))

    three = fleet.variables("schema three", **at_revision(3, "incompatible"))
    refused = fleet.lab.playbook("deploy", **three)
    assert refused.returncode != 0
    assert "there is no way back but a restore of the database" in unbroken(refused.stdout), why(refused)
    assert fleet.words() == {"schema two"}
    assert fleet.root("web1", f"cat {REVISION}") == "2"

    allowed = fleet.lab.playbook("deploy", **three, app_allow_incompatible_schema=True)
    assert allowed.returncode == 0, why(allowed)
    shut = fleet.lab.playbook("rollback", app=APP)
    assert shut.returncode != 0
    assert "the way back is a restore of the database" in unbroken(shut.stdout), why(shut)
    assert fleet.words() == {"schema three"}
    assert fleet.everywhere(f"cat {REVISION} 2>/dev/null; true") == {"web1": "3", "web2": ""}


# Removal

OTHER = "visitor"
LEFT = leftovers(OTHER)
DATA = f"cat /var/lib/{OTHER}/data 2>/dev/null; getent passwd {OTHER} | cut -d: -f1; true"


def test_an_application_is_taken_away_and_nothing_else(fleet: Fleet, tmp_path: Path) -> None:
    """A second one goes: units, site, credentials and releases; data only if told, the first one never.

    Red when something of it stays, when data go unasked, when the other application's visitors notice,
    or when it cannot be repeated.
    """
    entry = {**fleet.described, "domain": f"{OTHER}.lab.test"}
    two, one = {APP: fleet.described, OTHER: entry}, {APP: fleet.described}
    deployed = fleet.lab.playbook("deploy", app=OTHER, apps=two)
    assert deployed.returncode == 0, why(deployed)
    site_of = "../molecule/releases/converge"
    served = fleet.lab.playbook(site_of, "--tags=nginx", apps=two)
    assert served.returncode == 0, why(served)
    authority = tmp_path / "other.pem"
    authority.write_text("\n".join(fleet.everywhere(f"cat /etc/nginx/tls/{OTHER}/fullchain.pem").values()))
    sites = [Site(entry["domain"], address, authority) for address in fleet.machines.values()]
    for site in sites:
        assert site.get("/version").json()["release"]
    fleet.everywhere(f"echo kept > /var/lib/{OTHER}/data")
    there = fleet.everywhere(LEFT)
    assert all(there.values())

    refused = fleet.lab.playbook("remove", app=OTHER, apps=two)
    assert refused.returncode != 0
    assert "take its entry out of group_vars/all/apps.yml first" in unbroken(refused.stdout), why(refused)
    assert fleet.everywhere(LEFT) == there

    live = fleet.live()
    # A site less is a reload, and with it Debian's Nginx closes kept connections that are idle.
    with traffic(fleet.light(kept=0, new=3), tmp_path) as found:
        done = fleet.lab.playbook("remove", app=OTHER, apps=one)
    say(f"another application taken away: {found.summary()}")
    assert done.returncode == 0, why(done)
    assert not found.failed(), found.failed()[:5]
    assert set(found.releases()) == {live}
    assert set(fleet.everywhere(LEFT).values()) == {""}, fleet.everywhere(LEFT)
    for site in sites:
        with pytest.raises(ssl.SSLError):
            site.get("/version")
    assert set(fleet.everywhere(DATA).values()) == {f"kept\n{OTHER}"}

    again = fleet.lab.playbook("remove", app=OTHER, apps=one)
    assert again.returncode == 0, why(again)
    assert again.stdout.count("changed=0") == len(fleet.machines), why(again)

    data = fleet.lab.playbook("remove", app=OTHER, apps=one, remove_data=True)
    assert data.returncode == 0, why(data)
    assert set(fleet.everywhere(DATA).values()) == {""}
    assert fleet.live() == live


# Boot

LATE = "/run/late.sock"
# It answers as PostgreSQL does to whoever says hello.
DATABASE = (
    f"import socket; s = socket.socket(1); s.bind('{LATE}'); s.listen(); "
    "[(c := s.accept()[0]).send(b'R') for _ in iter(int, 1)]"
)
BEHIND = 25


def come_up(fleet: Fleet, machine: str) -> None:
    """Let something listen where the database is waited for."""
    fleet.root(machine, f"systemctl stop drill-late 2>/dev/null; rm -f {LATE}")
    fleet.root(machine, f'systemd-run -q --collect -u drill-late python3 -c "{DATABASE}"')
    fleet.root(machine, f"until [ -e {LATE} ]; do sleep 0.1; done; chmod 666 {LATE}")


@pytest.mark.full
def test_a_database_that_comes_late_is_no_crash_loop(fleet: Fleet) -> None:
    """After a reboot it is away for a while: the application waits, is started once, and serves.

    Red when the application begins without it, or fails again and again until its start limit.
    """
    for machine in fleet.machines:
        come_up(fleet, machine)
    waits = fleet.variables("waiting", database="postgresql", schema={"enabled": False})
    done = fleet.lab.playbook("deploy", **waits, app_database_wait=f"unix:{LATE}")
    assert done.returncode == 0, why(done)
    unit = fleet.root("web2", RUNNING)
    try:
        fleet.lab.reboot("web2")
        time.sleep(BEHIND)
        shown = f"systemctl show -P NRestarts -P ActiveState {unit}"
        assert fleet.root("web2", shown).split() == ["0", "activating"]
        assert not fleet.site("web2").is_well()
        come_up(fleet, "web2")
        seconds = wait_until("the site", fleet.site("web2").is_well, 60)
        assert fleet.root("web2", shown).split() == ["0", "active"]
        say(f"a database {BEHIND} s late: no restart, and answers {seconds:.1f} s after it")
    finally:
        done = fleet.deploy("well")
        fleet.everywhere("systemctl stop drill-late || true")
    assert done.returncode == 0, why(done)
