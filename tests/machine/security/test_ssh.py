"""What ssh-audit says, and who is let in."""

import json
import subprocess

from conftest import Lab, say
from guards import GUARDED, OUTSIDE, SSH_AUDIT, login, machine

POLICIES = {"trixie": "Hardened Debian 13 (version 1)", "bookworm": "Hardened Debian 12 (version 3)"}

# Opens connections one after the other and prints how many were taken.
KNOCK = """
import socket
taken = 0
for _ in range(120):
    try:
        with socket.create_connection(("{address}", 22), timeout=0.2) as door:
            taken += 1
    except OSError:
        pass
print(taken)
"""


def audit(lab: Lab, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ssh-audit against the machine, from outside."""
    return subprocess.run(
        [SSH_AUDIT, *options, lab.address(GUARDED)], capture_output=True, text=True, check=False
    )


def more(row: dict[str, list[str]]) -> set[str]:
    """Return what is offered and not named by the policy; `ext-info-s` is a word of the protocol."""
    return set(row["actual"]) - {*row["expected_required"], *row["expected_optional"], "ext-info-s"}


def test_ssh_audit_finds_nothing(lab: Lab) -> None:
    """0 failures, 0 warnings, and nothing that its policy for a hardened Debian does not name.

    That of Debian 13 passes. That of Debian 12 wants all that it names, and ssh-audit itself warns of some.
    Red when an algorithm is offered that it fails or warns of, or one that the policy does not name.
    """
    found = json.loads(audit(lab, "--json", "--skip-rate-test").stdout)
    notes = {"fail": [], "warn": []}  # type: dict[str, list[str]]
    for kind in ("kex", "key", "enc", "mac"):
        for row in found[kind]:
            for level, names in notes.items():
                names += [f"{row['algorithm']}: {note}" for note in row.get("notes", {}).get(level, [])]
    suite = machine(lab).check_output(". /etc/os-release; echo $VERSION_CODENAME")
    policy = json.loads(audit(lab, "--json", "--skip-rate-test", "-P", POLICIES[suite]).stdout)
    beyond = {row["mismatched_field"]: offered for row in policy["errors"] if (offered := more(row))}
    counts = ", ".join(f"{len(rows)} {level}" for level, rows in notes.items())
    passed = "passed" if policy["passed"] else "fewer than it wants" if not beyond else "more than it names"
    say(f"ssh-audit: {counts}; {POLICIES[suite]}: {passed}")
    assert notes == {"fail": [], "warn": []}
    assert beyond == {}
    assert policy["passed"] or suite == "bookworm"


def test_a_password_lets_nobody_in(lab: Lab) -> None:
    """sshd offers keys alone, to everybody. Red when it takes passwords."""
    done = login(lab, "true", "-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password")
    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr, done.stderr


def test_root_does_not_log_in(lab: Lab) -> None:
    """Not even with a key that stands in root's own file. Red when root may."""
    host = machine(lab)
    host.check_output(
        "install -d -m 700 /root/.ssh; cp /home/admin/.ssh/authorized_keys /root/.ssh/authorized_keys"
    )
    try:
        assert login(lab, "true", user="root").returncode == 255
        assert login(lab, "true").returncode == 0
    finally:
        host.check_output("rm /root/.ssh/authorized_keys")


def test_who_knocks_too_often_waits(lab: Lab) -> None:
    """Of many connections in a row from one address the last ones are dropped, and another address comes in.

    Red without the limit of the firewall.
    """
    host = machine(lab, OUTSIDE)
    script = KNOCK.format(address=lab.address(GUARDED)).replace('"', "'")
    taken = int(host.check_output(f'python3 -c "{script}"'))
    say(f"of 120 SSH connections in a row {taken} were taken")
    assert 10 <= taken <= 80
    assert login(lab, "true").returncode == 0
