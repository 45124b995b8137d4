"""Keys alone, modern algorithms, and a door that stays open for whoever set it up."""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import Any

import pytest
from host_changes import logins

WAYS = {"logins": ["admin", "root"], "elsewhere": False, "users": ["admin", "root"], "me": "admin"}


def options(make_role: Any, **variables: Any) -> dict[str, str]:
    """Return the first value of each option, which is the one that counts."""
    found: dict[str, str] = {}
    for line in make_role("ssh", **variables).render("sshd.conf.j2").splitlines():
        name, _space, value = line.partition(" ")
        if name and not name.startswith("#"):
            found.setdefault(name, value)
    return found


def test_keys_alone_log_in(make_role: Any) -> None:
    """No password of anybody, and not root."""
    found = options(make_role)
    assert found["PasswordAuthentication"] == found["KbdInteractiveAuthentication"] == "no"
    assert found["PermitRootLogin"] == "no"
    assert options(make_role, ssh_root_login=True)["PermitRootLogin"] == "prohibit-password"


def test_each_debian_gets_what_its_openssh_knows(make_role: Any) -> None:
    """OpenSSH 9.2 would refuse its file for an algorithm that it does not know."""
    assert options(make_role)["KexAlgorithms"].startswith("mlkem768x25519-sha256,")
    older = make_role("ssh", facts={"distribution_major_version": "12"}).render("sshd.conf.j2")
    assert "KexAlgorithms sntrup761x25519-sha512@openssh.com\n" in older


def test_lines_of_the_inventory_win(make_role: Any) -> None:
    """Of each option the first one counts."""
    assert options(make_role, ssh_lines=["MaxAuthTries 2"])["MaxAuthTries"] == "2"


@pytest.mark.parametrize(
    ("ways", "variables", "sentence"),
    [
        ({}, {}, ""),
        ({"me": "root"}, {}, "set `ssh_root_login: true`"),
        ({"me": "root"}, {"ssh_root_login": True}, ""),
        ({"logins": ["root"]}, {}, "Nobody could log in"),
        ({"logins": ["alice"]}, {}, "admin, as whom Ansible logs in, has no key"),
        ({"logins": [], "elsewhere": True}, {}, ""),
        ({}, {"ssh_allow_users": ["alice"]}, "ssh_allow_users does not name admin"),
        ({"me": ""}, {"ssh_allow_users": ["alice"]}, ""),
    ],
)
def test_the_last_way_in_is_not_removed(
    make_role: Any, ways: dict[str, Any], variables: dict[str, Any], sentence: str
) -> None:
    """What would lock the door is refused, with the way out."""
    complaints = make_role("ssh", __ssh_ways={**WAYS, **ways}, **variables).value("__ssh_complaints")
    assert bool(complaints) == bool(sentence)
    assert any(sentence in complaint for complaint in complaints) or not sentence


def user(home: Path, name: str, shell: str = "/bin/bash") -> pwd.struct_passwd:
    """Return a user as the machine lists it."""
    return pwd.struct_passwd((name, "x", 1000, 1000, "", str(home / name), shell))


def test_who_can_log_in_is_found(tmp_path: Path) -> None:
    """Who has a key, a shell and an account that has not ended; a comment is no key, a program no way in."""
    key = f"ssh-ed25519 {'A' * 68} somebody\n"
    for name, text in (
        ("admin", key),
        ("robot", key),
        ("gone", key),
        ("empty", f"# {key}"),
        ("careful", f'command="true" {key}'),
        ("certificates", f'restrict,from="198.18.0.11",command="/usr/bin/relay it" {key}'),
    ):
        (tmp_path / name / ".ssh").mkdir(parents=True)
        (tmp_path / name / ".ssh/authorized_keys").write_text(text)
    everybody = [
        user(tmp_path, "admin"),
        user(tmp_path, "robot", "/usr/sbin/nologin"),
        user(tmp_path, "gone"),
        user(tmp_path, "empty"),
        user(tmp_path, "careful"),
        user(tmp_path, "certificates"),
        user(tmp_path, "none"),
    ]
    shadow = "admin:!:1:0:99999:7:::\ngone:!:1:0:99999:7::100:\n"
    found = logins.ways({"authorizedkeysfile": ".ssh/authorized_keys %h/none"}, everybody, shadow)
    assert found == {"logins": ["admin", "careful"], "elsewhere": False}
    assert logins.ways({"authorizedkeyscommand": "/usr/bin/ask"}, [], "")["elsewhere"]
