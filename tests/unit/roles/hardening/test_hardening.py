"""What the kernel and the system are told, and what a switch takes away again."""

from __future__ import annotations

from typing import Any

import yaml


def files(make_role: Any, **variables: Any) -> dict[str, str]:
    """Return the files that are written, by path."""
    listed = yaml.safe_load(make_role("hardening", **variables).render("files.yml.j2"))
    return {file["path"]: file["content"] for file in listed}


def sysctls(make_role: Any, **variables: Any) -> dict[str, str]:
    """Return the kernel's settings; each may fail where the kernel does not have it."""
    lines = files(make_role, **variables)["/etc/sysctl.d/60-fastapi-metal.conf"].splitlines()
    set_ = [line.split(" = ") for line in lines if line.startswith("-")]
    return {name.removeprefix("-"): value for name, value in set_}


def test_values_of_the_inventory_win(make_role: Any) -> None:
    """One is another, one is more, and one stays as Debian has it."""
    found = sysctls(
        make_role,
        hardening_sysctls={"kernel.sysrq": "1", "vm.swappiness": "10"},
        hardening_sysctls_left=["kernel.yama.ptrace_scope"],
    )
    assert (found["kernel.sysrq"], found["vm.swappiness"]) == ("1", "10")
    assert "kernel.yama.ptrace_scope" not in found
    assert found["net.ipv4.conf.all.accept_redirects"] == "0"


def test_what_other_software_needs_is_left_alone(make_role: Any) -> None:
    """Docker and libvirt forward, machines with two uplinks answer by another way than they are asked."""
    assert not [
        name for name in sysctls(make_role) if "forward" in name or name.endswith(("rp_filter", "ra"))
    ]


def test_each_setting_has_its_reason(make_role: Any) -> None:
    """It stands above the line."""
    lines = files(make_role)["/etc/sysctl.d/60-fastapi-metal.conf"].splitlines()
    settings = [number for number, line in enumerate(lines) if line.startswith("-")]
    assert len(settings) > 20
    assert all(lines[number - 1].startswith("# ") for number in settings)


def test_debian_12_takes_nothing_back(make_role: Any) -> None:
    """It reads a file of its own after ours; ours of that name stands in its place and says the same."""
    older = {"distribution_major_version": "12"}
    path = "/etc/sysctl.d/99-protect-links.conf"
    role = make_role("hardening", facts=older, hardening_sysctls={"fs.protected_hardlinks": "0"})
    listed = {file["path"]: file["content"] for file in yaml.safe_load(role.render("files.yml.j2"))}
    lines = [line for line in listed[path].splitlines() if line.startswith("-")]
    assert lines == [
        "-fs.protected_fifos = 2",
        "-fs.protected_hardlinks = 0",
        "-fs.protected_regular = 2",
        "-fs.protected_symlinks = 1",
    ]
    # Debian 13 reads its own before ours; what Debian 12 needed goes with the upgrade.
    assert path not in files(make_role)
    (row,) = (row for row in make_role("hardening").value("__hardening_optional") if row["path"] == path)
    assert not row["wanted"]


def test_a_switch_that_is_off_takes_its_file_away(make_role: Any) -> None:
    """What it wrote before does not stay."""
    off = {"hardening_core_dumps_off": False, "hardening_tmp": False, "hardening_modules_off": []}
    role = make_role("hardening", **off)
    rows = role.value("__hardening_optional")
    gone = {row["path"] for row in rows if not row["wanted"] and "protect-links" not in row["path"]}
    assert gone == set(files(make_role)) - set(files(make_role, **off))
    assert "kernel.core_pattern" not in sysctls(make_role, **off)


def test_a_clock_that_is_there_is_kept(make_role: Any) -> None:
    """Two of them would pull at it."""
    there = {"stdout_lines": ["chrony installed", "openntpd not-installed"]}
    assert make_role("hardening", __hardening_clock=there).value("__hardening_packages") == ["apparmor"]
    none = {"stdout_lines": ["chrony not-installed"]}
    assert "systemd-timesyncd" in make_role("hardening", __hardening_clock=none).value("__hardening_packages")


def test_strange_setuid_programs_are_told(make_role: Any) -> None:
    """Debian's own and those that the inventory knows are not."""
    found = [
        "/usr/bin/sudo",
        "/usr/lib/openssh/ssh-keysign",
        "/opt/tool/run",
        "/opt/tool/known",
        "/home/a/sudo",
    ]
    role = make_role(
        "hardening", __hardening_setuid={"stdout_lines": found}, hardening_setuid_known=["/opt/tool/known"]
    )
    assert role.value("__hardening_setuid_strange") == ["/opt/tool/run", "/home/a/sudo"]
