"""Somebody has taken an application over: a shell as its user, on the machine and in its unit."""

import secrets
from collections.abc import Iterator

import pytest
from client import wait_until
from conftest import Lab, say
from guards import GUARDED, address6
from machinery import install, purge, put
from played import why
from taken import PLACE, TAKEN, Shell, bring, inside, outside, release
from testinfra.host import Host

METADATA = ("169.254.169.254", "fd00:ec2::254")
# What a shell finds of its own: the other one has proved that it looks everywhere.
OWN = "known-to-the-one-that-was-taken-over"
# Of the applications beside it, of the machine, and of what watches it.
KEYS = ("/etc/ssh/ssh_host_ed25519_key", "/etc/letsencrypt/live/catalog/privkey.pem")
SECRETS = "/run/credentials/catalog@*/*"
EVERYWHERE = "/etc /home /opt /root /run /srv /tmp /usr/local /var"
# Ports of the machine's own services, as roles/firewall/defaults/main.yml lists them.
NOBODYS = "a process of nobody's"
INNER = ("3000", "3903", "9090", "9093", "9100", "9113", "9115", "9121", "9145", "9187")


@pytest.fixture(scope="module")
def web(lab: Lab) -> Iterator[Host]:
    """Return the machine while an intruder is on it."""
    machine = bring(lab)
    yield machine
    machine.check_output(f"rm -r {PLACE}")


@pytest.fixture(params=["outside", "inside"])
def shell(web: Host, request: pytest.FixtureRequest) -> Shell:
    """Return a shell as the user whose application was taken over."""
    return outside(web, TAKEN) if request.param == "outside" else inside(web)


def test_it_reads_no_credential_of_others(web: Host, shell: Shell) -> None:
    """It reads every file and every process that it can: no secret of another one, no key of the machine.

    Red when a file with one of them can be read, or a process shows one.
    """
    lines = [web.check_output(f"sed -n 2p {path}") for path in KEYS]
    lines += web.check_output(f"for file in {SECRETS}; do cat $file; echo; done").split()
    assert len(lines) > 3
    words = "\n".join(line[::-1] for line in [*lines, OWN])
    put(web, f"{PLACE}/words", words)
    web.check_output(f"chmod 644 {PLACE}/words")
    told = shell("read", f"{PLACE}/words", *EVERYWHERE.split())
    say(f"compromised application: {told['read']} files read, {len(told['found'])} hold a secret, its own")
    assert told["read"] > 1000
    own = [f"/run/credentials/{TAKEN}@{release(web, TAKEN)}.service/token"]
    assert told["found"] in ([], own)


def test_inside_its_unit_it_reads_its_own(web: Host) -> None:
    """Otherwise nothing is proved. Red when the look finds nothing at all."""
    put(web, f"{PLACE}/words", OWN[::-1])
    web.check_output(f"chmod 644 {PLACE}/words")
    assert inside(web)("read", f"{PLACE}/words", "/run")["found"] != []


def test_it_does_not_reach_the_metadata_service(shell: Shell) -> None:
    """The firewall refuses at once. Red without its rule: the packet would leave the machine."""
    assert shell("knock", METADATA[0], "80") == {"80": "ConnectionRefusedError"}
    assert shell("knock", METADATA[1], "80")["80"] in ("ConnectionRefusedError", "OSError")


def test_it_does_not_reach_the_ports_inside(lab: Lab, web: Host, shell: Shell) -> None:
    """Prometheus, Alertmanager, Grafana and the exporters answer root, and refuse an application at once.

    Red without the rule of the firewall: they know no passwords, and alerts could be silenced.
    """
    there = outside(web, "root")("knock", "127.0.0.1", *INNER)
    assert [port for port, answer in there.items() if answer != "open"] == []
    for address in ("127.0.0.1", "::1", lab.address(GUARDED), address6(lab)):
        assert set(shell("knock", address, *INNER).values()) == {"ConnectionRefusedError"}, address


def test_database_and_cache_know_it_by_name(web: Host) -> None:
    """Nothing lets it in as another one, and it has no database of its own.

    Red when the cache takes whoever comes, or PostgreSQL believes a name.
    """
    for role in ("", "-U catalog", "-U postgres"):
        done = web.run(f"cd / && runuser -u {TAKEN} -- psql {role} -d catalog -c 'select 1'")
        assert done.rc != 0, done.stdout
        assert "FATAL" in done.stderr, done.stderr
    assert web.run(f"runuser -u {TAKEN} -- test -w /run/valkey/valkey.sock").rc != 0


@pytest.fixture
def with_jobs(lab: Lab, web: Host) -> Iterator[None]:
    """Have cron and at, as many machines do; the role finds them there."""
    install(web, "cron", "at")
    web.check_output("systemctl start cron atd")
    done = lab.playbook("site", "--tags", "hardening", "--limit", GUARDED)
    assert done.returncode == 0, why(done)
    yield
    purge(web, "cron", "cron-daemon-common", "at")


def left(web: Host, seconds: str) -> list[str]:
    """Return the processes of the user that were left behind."""
    return [line for line in web.run(f"pgrep -a -u {TAKEN}").stdout.splitlines() if seconds in line]


def test_it_keeps_no_process_after_its_unit(web: Host, with_jobs: None) -> None:
    """Neither one that has left its session and its parent, nor a unit, a lingering session, a job.

    Red when the unit leaves processes alive (`KillMode=process`), or one of the ways to stay is open.
    """
    seconds = str(secrets.randbelow(10_000) + 40_000)
    ways = inside(web)("stay", seconds)
    assert [name for name, code in ways.items() if code == 0] == [NOBODYS]
    # Otherwise nothing is proved.
    assert len(left(web, seconds)) == 1
    live = f"{TAKEN}@{release(web, TAKEN)}"
    web.check_output(f"systemctl stop {live}.socket {live}.service")
    try:
        assert web.run(f"pgrep -a -u {TAKEN}").stdout == ""
        assert web.run(f"ls /var/lib/systemd/linger/{TAKEN} /var/spool/cron/crontabs/{TAKEN}").stdout == ""
        assert web.check_output(f"find /var/spool/cron -user {TAKEN}") == ""
    finally:
        web.check_output(f"systemctl start {live}.socket {live}.service")
        wait_until("the application", lambda: web.run(f"systemctl is-active {live}.service").rc == 0)


def test_outside_its_unit_it_leaves_no_job(web: Host, with_jobs: None) -> None:
    """With no sandbox around it, cron and at refuse it too, and nobody makes it a session.

    Red when its user may have jobs.
    """
    seconds = str(secrets.randbelow(10_000) + 50_000)
    try:
        ways = outside(web, TAKEN)("stay", seconds)
    finally:
        for line in left(web, seconds):
            web.check_output(f"kill -KILL {line.split()[0]}")
    assert [name for name, code in ways.items() if code == 0] == [NOBODYS]
