"""The administrators of the inventory, and nobody else, with what they may."""

from conftest import Lab
from guards import login, machine


def test_administrators_log_in_and_become_root(lab: Lab) -> None:
    """With their own keys. Red when a key or the rule of sudo is missing."""
    done = login(lab, "sudo -n id -un", user="alice")
    assert (done.returncode, done.stdout.strip()) == (0, "root"), done.stderr


def test_the_others_may_what_is_listed(lab: Lab) -> None:
    """One command and no other one. Red when sudo gives more."""
    assert login(lab, "sudo -n systemctl reload nginx.service", user="bob").returncode == 0
    assert login(lab, "sudo -n id", user="bob").returncode != 0


def test_who_is_not_named_is_left_alone(lab: Lab) -> None:
    """The user as whom Ansible comes is in no list. Red when users of the machine are taken away."""
    assert login(lab, "sudo -n true", user="admin").returncode == 0
    assert machine(lab).run("id carol").rc == 1
