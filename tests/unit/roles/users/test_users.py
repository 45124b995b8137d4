"""The administrators of the inventory, and what is wrong with a list of them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

KEY = f"ssh-ed25519 {'A' * 68} alice"
ALICE = {"name": "alice", "keys": [KEY]}
WAYS = {"logins": ["admin"], "elsewhere": False, "users": ["admin", "backup", "root"], "me": "admin"}
MADE = {"results": [{"users_admin": ALICE, "home": "/home/alice"}, {"users_admin": {"name": "bob"}}]}


def test_they_get_their_keys_and_sudo(make_role: Any) -> None:
    """Exactly the keys of the inventory; sudo unless it is switched off."""
    bob = {"name": "bob", "keys": [KEY], "sudo": False}
    role = make_role(
        "users",
        users_admins=[ALICE, bob],
        users_sudo=[{"user": "bob", "commands": ["/usr/bin/true"]}],
        __users_made=MADE,
    )
    files = {file["path"]: file for file in yaml.safe_load(role.render("files.yml.j2"))}
    assert KEY in files["/home/alice/.ssh/authorized_keys"]["content"].splitlines()
    assert files["/home/bob/.ssh/authorized_keys"]["mode"] == "0600"
    rules = files["/etc/sudoers.d/fastapi-metal"]["content"].splitlines()
    assert "alice ALL=(ALL:ALL) NOPASSWD: ALL" in rules
    assert [line for line in rules if line.startswith("bob")] == ["bob ALL=(root) NOPASSWD: /usr/bin/true"]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"users_admins": [ALICE]}, ""),
        ({"users_admins": [{"name": "alice"}]}, "alice has no keys and could not log in"),
        ({"users_admins": [{"name": "alice", "keys": []}]}, "alice has no keys and could not log in"),
        ({"users_admins": [{"name": "alice", "keys": ["ssh-ed25519"]}]}, "is no public key"),
        (
            {"users_admins": [{"name": "alice", "keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}]},
            "a private key",
        ),
        ({"users_admins": [{"name": "Alice B", "keys": [KEY]}]}, "is no name of a user"),
        ({"users_removed": ["admin"]}, "as whom Ansible logs in"),
        ({"users_removed": ["root"]}, "who is to stay"),
        ({"users_admins": [ALICE], "users_removed": ["alice"]}, "who is to stay"),
        ({"users_removed": ["carol"]}, ""),
        ({"users_sudo": [{"user": "nobody-knows", "commands": ["/bin/true"]}]}, "nor the machine knows"),
        ({"users_sudo": [{"user": "backup", "commands": ["/bin/true"]}]}, ""),
        (
            {"users_removed": ["backup"], "users_sudo": [{"user": "backup", "commands": ["/bin/true"]}]},
            "nor the machine knows",
        ),
    ],
)
def test_a_list_that_locks_somebody_out_is_refused(
    make_role: Any, variables: dict[str, Any], sentence: str
) -> None:
    """Each mistake is a sentence with the variable and a value that works."""
    complaints = make_role("users", __users_ways=WAYS, **variables).value("__users_complaints")
    assert bool(complaints) == bool(sentence)
    assert all(sentence in complaint for complaint in complaints)
