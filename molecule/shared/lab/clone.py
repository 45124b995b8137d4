"""A machine's disk: a thin layer over the base image or a snapshot, with its own identity written in."""

import os
import shutil
import subprocess
import uuid
from pathlib import Path

from lab import authorities, base, meminfo, mounts, paths
from lab.command import run
from lab.errors import LabError
from lab.machines import Machine, memory_bytes
from lab.services import DOMAIN
from lab.state import Lab
from lab.supervise import write


def snapshot_directory(name: str) -> Path:
    """Return where a snapshot is kept."""
    return paths.cache() / "snapshots" / name


def layers(machine: Machine) -> list[Path]:
    """Return the read-only layers under a machine, uppermost first."""
    if machine.snapshot is None:
        return base.layers(machine.suite)
    directory = snapshot_directory(machine.snapshot)
    if not directory.is_dir():
        have = ", ".join(sorted(path.name for path in directory.parent.glob("*/"))) or "none"
        raise LabError(
            f"machine {machine.name}: there is no snapshot '{machine.snapshot}' (there are: {have}): "
            f"`bin/lab snapshot LAB MACHINE {machine.snapshot}` takes one"
        )
    return [directory / "upper", *base.snapshot_layers(directory)]


def mount(lab: Lab, machine: Machine) -> Path:
    """Mount the machine's root filesystem and return it."""
    directory = lab.machine_directory(machine)
    for part in ("upper", "work", "root"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    lower = ":".join(str(path) for path in layers(machine))
    options = f"lowerdir={lower},upperdir={directory}/upper,workdir={directory}/work,volatile"
    run(["mount", "-t", "overlay", "overlay", "-o", options, str(directory / "root")])
    return directory / "root"


def put(path: Path, content: str, mode: int = 0o644) -> None:
    """Write a file in a machine's root; a link there could lead out of it, so it is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(content)
    path.chmod(mode)


def personalise(lab: Lab, machine: Machine, root: Path) -> None:
    """Write what makes this machine itself: name, address, keys, authorities."""
    put(root / "etc/hostname", f"{machine.name}\n")
    put(root / "etc/hosts", hosts(machine))
    put(root / "etc/machine-id", f"{uuid.uuid4().hex}\n", 0o444)
    put(root / "etc/resolv.conf", f"nameserver {lab.slot.gateway}\n")
    put(root / "etc/systemd/network/10-host0.network", network(lab, machine))
    if machine.suite != "bookworm":
        # sshd of Debian 13 locks out an address that scans it; in the lab that is the controller.
        put(root / "etc/ssh/sshd_config.d/10-lab.conf", f"PerSourcePenaltyExemptList {lab.slot.gateway}\n")
    _keys(lab, machine, root)
    authorities.give(root)
    (root / "usr/local/lib/lab/meminfo").unlink(missing_ok=True)
    set_memory(lab, machine, root)


def hosts(machine: Machine) -> str:
    """Return /etc/hosts as Debian's installer writes it."""
    return (
        "127.0.0.1 localhost\n"
        f"127.0.1.1 {machine.name}.{DOMAIN} {machine.name}\n"
        "::1 localhost ip6-localhost ip6-loopback\n"
    )


def network(lab: Lab, machine: Machine) -> str:
    """Return the configuration of the machine's only interface."""
    return f"""[Match]
Name=host0

[Link]
MTUBytes={lab.mtu}

[Network]
Gateway={lab.slot.gateway}
LinkLocalAddressing=no
IPv6AcceptRA=no

[Address]
Address={lab.address(machine.name)}/24

[Address]
Address={lab.address6(machine.name)}/64
DuplicateAddressDetection=none
"""


def _keys(lab: Lab, machine: Machine, root: Path) -> None:
    authorized = root / "home/admin/.ssh/authorized_keys"
    put(authorized, (lab.directory / "key.pub").read_text(), 0o600)
    owner = (root / "home/admin").stat()
    os.chown(authorized, owner.st_uid, owner.st_gid)
    for old in (root / "etc/ssh").glob("ssh_host_*"):
        old.unlink()
    key = root / "etc/ssh/ssh_host_ed25519_key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", machine.name, "-f", str(key)])
    kind, public, *_ = (key.parent / f"{key.name}.pub").read_text().split()
    known = lab.directory / "known_hosts"
    names = ",".join([lab.address(machine.name), lab.address6(machine.name), f"{machine.name}.{DOMAIN}"])
    with known.open("a") as lines:
        lines.write(f"{names} {kind} {public}\n")


def set_memory(lab: Lab, machine: Machine, root: Path) -> None:
    """Note the limit of a new machine, and let its /proc/meminfo say so."""
    if machine.memory is not None:
        size = memory_bytes(machine.memory)
        write(lab.machine_directory(machine) / "memory", str(size))
        meminfo.write(root / "usr/local/lib/lab/meminfo", meminfo.text(size, 0, 0))


def take_snapshot(lab: Lab, machine: Machine, name: str) -> Path:
    """Copy a stopped machine's layer, complete or not at all."""
    target = snapshot_directory(name)
    new = target.with_name(f".{name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    # -a keeps owners, times and the overlay's own attributes, which say what was deleted.
    upper = lab.machine_directory(machine) / "upper"
    subprocess.run(["sync", "-f", str(upper)], check=False)
    if machine.snapshot is not None:
        raise LabError(
            f"machine {machine.name} stands on a snapshot itself: take snapshots of first-hand machines only"
        )
    run(["cp", "-a", "--reflink=auto", str(upper), str(new / "upper")])
    write(new / "layers", "".join(f"{path}\n" for path in layers(machine)))
    old = target.with_name(f".{name}.old")
    if target.is_dir():
        if mounts.in_use(target):
            raise LabError(
                f"the snapshot '{name}' is under a machine that is up: give the new one another name"
            )
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target
