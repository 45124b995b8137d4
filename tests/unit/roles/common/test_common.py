"""What role common promises, as far as it can be seen without a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import MakeRole

MOUNTS = {
    "/": {"size_available": 9_000_000_000},
    "/boot": {"size_available": 1},
    "/var": {"size_available": 5},
}


def complaints(role: Any) -> list[str]:
    """Return the sentences that the preflight would print."""
    return list(role.value("__common_complaints"))


@pytest.mark.parametrize("release", ["12", "13"])
def test_a_debian_with_room_is_accepted(make_role: MakeRole, release: str) -> None:
    """Debian 12 and 13 with free disk space get no complaint."""
    facts = {"distribution_major_version": release, "mount_points": {"/": MOUNTS["/"]}}
    assert complaints(make_role("common", facts=facts)) == []


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"distribution": "Ubuntu", "distribution_version": "24.04"},
            ["Ubuntu 24.04", "Debian 12 and 13", "remove web1 from hosts.yml"],
        ),
        ({"distribution_major_version": "11", "distribution_version": "11.9"}, ["Debian 11.9"]),
        # Debian testing reports its code name in place of a number.
        ({"distribution_major_version": "forky", "distribution_version": "forky/sid"}, ["forky/sid"]),
        (
            {"user_id": "admin"},
            [
                '"admin"',
                "`become = true`",
                "ansible.cfg",
                "`ansible_user: admin`",
                "group_vars/all/connection.yml",
            ],
        ),
        ({"python_version": "3.9.2"}, ["Python 3.9.2", "3.11", "/usr/bin/python3` for web1 in hosts.yml"]),
        ({"mount_points": MOUNTS}, ["on /var:", "2048 MB", "`common_min_free_disk_mb`"]),
    ],
)
def test_an_unsuitable_server_is_refused_in_one_sentence(
    make_role: MakeRole, facts: dict[str, Any], words: list[str]
) -> None:
    """Each reason is one sentence that names the thing and the way out."""
    found = complaints(make_role("common", facts=facts))
    assert len(found) == 1
    assert all(word in found[0] for word in words)
    assert found[0].endswith(".")
    assert "\n" not in found[0]


def test_every_reason_is_named_at_once(make_role: MakeRole) -> None:
    """An administrator does not have to run the preflight once per reason."""
    facts = {"distribution": "Fedora", "user_id": "me", "python_version": "3.8.1", "mount_points": MOUNTS}
    assert len(complaints(make_role("common", facts=facts))) == 4


def test_the_disk_limit_may_come_from_the_command_line(make_role: MakeRole) -> None:
    """`-e common_min_free_disk_mb=1` is a string, and works."""
    role = make_role(
        "common", facts={"mount_points": {"/": {"size_available": 500_000}}}, common_min_free_disk_mb="1"
    )
    assert len(complaints(role)) == 1


def test_apt_has_no_proxy_unless_asked_for(make_role: MakeRole) -> None:
    """The default leaves a direct connection alone."""
    assert "Proxy" not in make_role("common").render("apt.conf.j2")
    proxied = make_role("common", common_apt_proxy="http://proxy.example.org:3128").render("apt.conf.j2")
    assert 'Acquire::https::Proxy "http://proxy.example.org:3128";' in proxied


def test_only_security_updates_install_themselves(make_role: MakeRole) -> None:
    """Debian's own patterns are cleared, and only its security archive is put in their place."""
    lines = make_role("common").render("apt.conf.j2").splitlines()
    assert lines.index("#clear Unattended-Upgrade::Origins-Pattern;") < lines.index(
        "Unattended-Upgrade::Origins-Pattern {"
    )
    assert [line for line in lines if "origin=" in line] == [
        '  "origin=Debian,codename=${distro_codename}-security,label=Debian-Security";'
    ]
    assert 'Unattended-Upgrade::Automatic-Reboot "False";' in lines


def test_unattended_upgrades_can_be_switched_off(make_role: MakeRole) -> None:
    """apt's daily job then neither refreshes lists nor installs anything."""
    text = make_role("common", common_unattended_upgrades=False).render("apt.conf.j2")
    assert 'APT::Periodic::Unattended-Upgrade "0";' in text
    assert 'APT::Periodic::Update-Package-Lists "0";' in text


@pytest.mark.parametrize(("release", "suite"), [("12", "bookworm"), ("13", "trixie")])
def test_the_mirror_is_asked_for_the_suite_of_the_server(
    make_role: MakeRole, release: str, suite: str
) -> None:
    """A mirror variable does not turn a Debian 12 into a 13."""
    role = make_role(
        "common",
        facts={"distribution_major_version": release},
        common_apt_mirror="https://mirror.example.org/debian",
        common_apt_components=["main", "non-free-firmware"],
    )
    text = role.render("debian.sources.j2")
    assert f"URIs: https://mirror.example.org/debian\nSuites: {suite} {suite}-updates\n" in text
    assert f"Suites: {suite}-security\nComponents: main non-free-firmware\n" in text


def test_certificates_that_left_the_inventory_can_be_told(make_role: MakeRole) -> None:
    """The files of the inventory are known by name, so that others can be removed."""
    role = make_role(
        "common", common_ca_certificates=[{"name": "corp", "content": "x"}, {"name": "lab", "file": "y"}]
    )
    directory = "/usr/local/share/ca-certificates/fastapi-metal"
    assert role.value("__common_ca_files") == [f"{directory}/corp.crt", f"{directory}/lab.crt"]
    assert make_role("common").value("__common_ca_files") == []
