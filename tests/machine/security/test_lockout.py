"""Drills: whatever would lock the administrator out is refused or put back, and the machine is reachable."""

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from client import wait_until
from conftest import Lab, say
from guards import GUARDED, OUTSIDE, apart, kill, login, machine
from played import unbroken, why

# Long enough for a connection, short enough for a test.
SECONDS = 12
CUT = {"firewall_lines": ["tcp dport 22 drop"]}
WATCHED = "/etc/fastapi-metal/firewall.nft /etc/ssh/sshd_config.d /etc/sudoers.d /home/*/.ssh /etc/passwd"
PENDING = "/var/lib/fastapi-metal/undo"
LIMIT = ("--limit", GUARDED)


def fingerprint(lab: Lab) -> str:
    """Return what stands in every file that these drills are about, and in the kernel's rules."""
    host = machine(lab)
    files = str(host.check_output(f"find {WATCHED} -type f -exec sha256sum {{}} + | sort"))
    return files + str(host.check_output("nft --stateless list chain inet fastapi_metal input"))


def play(lab: Lab, tag: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run one role on the guarded machine."""
    return lab.playbook("site", "--tags", tag, *LIMIT, **variables)


def reachable(lab: Lab) -> bool:
    """Tell whether a new connection comes in and becomes root."""
    return login(lab, "sudo -n true").returncode == 0


@pytest.mark.parametrize(
    ("tag", "variables", "sentence"),
    [
        ("firewall", {"firewall_ssh_from": ["192.0.2.0/24"]}, "shut out the controller"),
        ("firewall", {"firewall_ssh_ports": [2222]}, "shut out the controller"),
        ("firewall", {"firewall_ssh_from": ["198.18.0.0/33"]}, "write an address or a network"),
        (
            "firewall",
            {"firewall_lines": ["tcp dport 22 dorp"]},
            "was refused by nft, and nothing was changed",
        ),
        ("ssh", {"ssh_lines": ["Ciphers rot13"]}, "was refused by /usr/sbin/sshd, and nothing was changed"),
        ("ssh", {"ssh_allow_users": ["nobody-here"]}, "ssh_allow_users does not name admin"),
        ("users", {"users_admins": [{"name": "alice"}]}, "alice has no keys and could not log in"),
        ("users", {"users_removed": ["admin"]}, "as whom Ansible logs in"),
        ("users", {"users_sudo": [{"user": "carla", "commands": ["/bin/true"]}]}, "nor the machine knows"),
        (
            "users",
            {"users_sudo": [{"user": "bob", "commands": ["no path"]}]},
            "was refused by /usr/sbin/visudo",
        ),
    ],
)
def test_what_can_be_known_is_refused(lab: Lab, tag: str, variables: dict[str, Any], sentence: str) -> None:
    """One sentence, and nothing has changed. Red when it lands first and is put back later."""
    before = fingerprint(lab)
    done = play(lab, tag, **variables)
    assert done.returncode != 0
    assert sentence in unbroken(done.stdout + done.stderr), why(done)
    assert fingerprint(lab) == before
    assert machine(lab).run(f"ls {PENDING}/{tag}").rc != 0


def test_one_machine_that_is_refused_stops_all(lab: Lab) -> None:
    """What is right for one machine does not land there while the other one's variables are wrong.

    Red when the others go on, as Ansible has it, and the fleet is left half changed.
    """
    before = fingerprint(lab)
    wrong_there = f"{{{{ ['198.18.0.0/33' if inventory_hostname == '{OUTSIDE}' else '198.18.0.0/15'] }}}}"
    variables = {"firewall_lines": ["tcp dport 4711 accept"], "firewall_ssh_from": wrong_there}
    done = lab.playbook("site", "--tags", "firewall", **variables)
    assert done.returncode != 0
    assert "198.18.0.0/33" in unbroken(done.stdout + done.stderr), why(done)
    assert f"fatal: [{OUTSIDE}]" in done.stdout
    assert f"fatal: [{GUARDED}]" not in done.stdout
    assert fingerprint(lab) == before
    # The same is taken where the one that is wrong is left out.
    done = lab.playbook("site", "--tags", "firewall", "--check", "--limit", f"!{OUTSIDE}", **variables)
    assert done.returncode == 0, why(done)


@pytest.mark.parametrize(
    ("tag", "variables"),
    [
        ("firewall", CUT),
        ("ssh", {"ssh_lines": ["DenyUsers admin"]}),
        ("users", {"users_sudo": [{"user": "admin", "commands": ["ALL", "!/bin/sh"]}]}),
    ],
)
def test_what_cannot_be_known_is_put_back(lab: Lab, tag: str, variables: dict[str, Any]) -> None:
    """The play fails and says that all is as before; a new connection comes in; the next run is unchanged.

    Red when nobody counts down, or an old connection counts as a new one.
    """
    before = fingerprint(lab)
    begun = time.monotonic()
    done = play(lab, tag, **variables, **{f"{tag}_confirm_seconds": SECONDS})
    say(f"{tag}: locked out, and back after {time.monotonic() - begun:.0f} s with {SECONDS} s to confirm")
    assert done.returncode != 0
    assert "what was there before is back" in unbroken(done.stdout + done.stderr), why(done)
    assert reachable(lab)
    assert fingerprint(lab) == before
    again = play(lab, tag)
    assert again.returncode == 0, why(again)
    assert "changed=0" in again.stdout, why(again)


def cut_and_die(lab: Lab, folder: Path, seconds: int) -> None:
    """Cut SSH off by new rules, and kill the controller before it can confirm anything."""
    # A connection of its own sees the change land: the rules let those alone that stand.
    host = apart(lab, folder)
    host.check_output("true")
    options = ("--tags", "firewall", *LIMIT)
    dying = lab.begin_playbook("site", *options, **CUT, firewall_confirm_seconds=seconds)
    try:
        wait_until("the change", lambda: host.run(f"test -d {PENDING}/firewall").rc == 0, 120)
        wait_until(
            "the rules",
            lambda: host.run("nft list table inet fastapi_metal | grep -q 'dport 22 drop'").rc == 0,
        )
    finally:
        kill(dying)
    assert not reachable(lab), "the rules cut nothing"


def test_a_controller_that_dies_locks_nobody_out(lab: Lab, tmp_path: Path) -> None:
    """It has landed rules that cut everybody off, and is killed: the machine puts them back by itself.

    Red when the controller has to do it.
    """
    before = fingerprint(lab)
    cut_and_die(lab, tmp_path, 25)
    waited = wait_until("the machine", lambda: reachable(lab), 60)
    say(f"controller killed: reachable again after {waited:.0f} s with 25 s to confirm")
    assert fingerprint(lab) == before


def test_a_machine_that_is_started_again_comes_up_with_what_was_confirmed(lab: Lab, tmp_path: Path) -> None:
    """The power goes while rules wait that cut everybody off, long before their time is up.

    Red when the new rules are loaded at boot, or none.
    """
    before = fingerprint(lab)
    try:
        cut_and_die(lab, tmp_path, 3600)
    finally:
        lab.kill(GUARDED)
        lab.start(GUARDED)
    assert reachable(lab)
    host = machine(lab)
    assert host.check_output("systemctl is-active host-firewall.service") == "active"
    assert fingerprint(lab) == before
    assert host.run(f"ls {PENDING}/firewall").rc != 0
