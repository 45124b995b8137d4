"""Make a lab, take it down, and clean up after those who could not."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lab import base, cgroup, clone, machine, mounts, network, paths, pki, services, ssh, state
from lab.command import missing_packages, run
from lab.errors import LabError
from lab.lock import attempted, held
from lab.machines import Machine
from lab.process import ProcessId, boot_id
from lab.slots import free_slot
from lab.state import Lab
from lab.steps import Steps, note

SPACE = 1 << 30  # what a machine may write while roles install packages on it


def require_host(machines: list[Machine]) -> None:
    """Refuse with one sentence what cannot work on this host."""
    if os.geteuid() != 0:
        raise LabError("the lab boots machines and makes a bridge: run it as root (sudo bin/lab ...)")
    missing = missing_packages()
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise LabError(
            f"{', '.join(sorted(missing))} missing: `apt-get install {packages}`, or run bin/setup"
        )
    paths.state().mkdir(parents=True, exist_ok=True)
    needed = SPACE * len(machines)
    free = shutil.disk_usage(paths.state()).free
    if free < needed:
        raise LabError(
            f"{paths.state()} has {free / 2**30:.1f} GB free and {len(machines)} machine(s) need "
            f"{needed / 2**30:.0f} GB: set FASTAPI_METAL_STATE to a directory on a larger disk"
        )


def up(name: str, machines: list[Machine], owner: ProcessId | None) -> Lab:
    """Make the lab; one of that name, whole or half made, is taken down first."""
    require_host(machines)
    with state.locked(name):
        reap(except_for=paths.key(name))
        if paths.key(name) in state.all_keys():
            take_down(paths.key(name))
        try:
            return _make(name, machines, owner)
        except BaseException:
            note(f"taking down what was made of the lab '{name}'")
            take_down(paths.key(name))
            raise


def images(steps: Steps, suites: list[str]) -> None:
    """Build the base images that are not in the cache."""
    for suite in suites:
        what = "Use the cached" if base.built(suite) else "Build, once for all labs, the"
        with steps.step(f"{what} base image {base.image(suite).name}"):
            base.ensure(suite, note)


def _make(name: str, machines: list[Machine], owner: ProcessId | None) -> Lab:
    suites = sorted({entry.suite for entry in machines})
    steps = Steps(len(suites) + 4)
    images(steps, suites)
    with steps.step("Make the network"):
        lab = _allocate(name, machines, owner)
    with steps.step("Start DNS, the ACME server and the apt repository"):
        _start_services(lab)
    with steps.step(f"Clone {len(machines)} machine(s)"):
        run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {name}", "-f", f"{lab.directory}/key"]
        )
        (lab.directory / "ssh_config").write_text(ssh.config(lab))
        for entry in machines:
            clone.personalise(lab, entry, clone.mount(lab, entry))
    with steps.step(f"Boot {', '.join(entry.name for entry in machines)}"):
        booting = [(entry, machine.boot(lab, entry)) for entry in machines]
        for entry, process in booting:
            machine.wait(lab, entry, process)
        services.fetch_acme_root(lab)
        lab.complete = True
        lab.save()
    return lab


def _allocate(name: str, machines: list[Machine], owner: ProcessId | None) -> Lab:
    """Take a free slot and make its bridge, before another lab can look."""
    with held(paths.HOST_LOCK):
        slot = free_slot(state.claimed_slots(), network.interfaces(), network.networks())
        lab = Lab(
            name=name,
            slot=slot,
            mtu=network.uplink_mtu(),
            machines=machines,
            cgroups=cgroup.lab_directories(slot.bridge),
            boot_id=boot_id(),
            project=str(paths.PROJECT),
            owner=owner,
        )
        lab.save()
        network.up(slot, lab.mtu)
    return lab


def _start_services(lab: Lab) -> None:
    lab.sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
    pki.make(lab.directory / "ca", lab.slot, [services.ACME_NAME, services.APT_NAME])
    (lab.directory / "hosts").write_text(services.hosts_file(lab))
    (lab.directory / "pebble.json").write_text(services.pebble_config(lab))
    services.start(lab, "dnsmasq", services.dnsmasq(lab))
    services.start(lab, "pebble", services.pebble(lab))
    services.prepare_apt(lab)
    if lab.apt["standin"]:
        services.start(lab, "apt", services.http_server(lab))


def down(name: str) -> None:
    """Remove every trace of a lab."""
    with state.locked(name):
        if paths.key(name) not in state.all_keys():
            raise LabError(f"there is no lab '{name}': `bin/lab list` shows which there are")
        take_down(paths.key(name))


def take_down(key: str) -> None:
    """Remove every trace of a lab, whatever state it is in; safe to repeat after any interruption."""
    directory = paths.lab(key)
    with _uninterrupted():
        lab = state.load(key)
        if lab is not None:
            _end(lab)
        _delete(directory)


def _end(lab: Lab) -> None:
    """End the lab's processes, and remove what the kernel keeps for it."""
    # Should this be interrupted, what is left is half a lab, and the next command removes it.
    lab.complete = False
    lab.save()
    for entry in lab.machines:
        ssh.end_connection(lab, entry.name)
    cgroup.kill(lab.cgroups)
    with held(paths.HOST_LOCK):
        network.down(lab.slot)
    cgroup.remove(lab.cgroups)
    shutil.rmtree(lab.sockets, ignore_errors=True)
    for entry in lab.machines:
        machine.forget(lab, entry)


def _delete(directory: Path) -> None:
    """Unmount the machines' disks and remove the files."""
    for point in mounts.under(directory):
        if subprocess.run(["umount", str(point)], check=False, capture_output=True).returncode != 0:
            run(["umount", "--lazy", str(point)])
    if mounts.under(directory):
        raise LabError(f"something is still mounted in {directory}: `umount` it, then repeat")
    if directory.exists():
        # The state goes last: should this be interrupted, the next one knows what there was.
        for path in sorted(directory.iterdir(), key=lambda entry: entry.name == "lab.json"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        directory.rmdir()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until cleaning up is done."""
    kept = {
        number: signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def reap(except_for: str | None = None) -> list[str]:
    """Take down the labs that nobody needs any more; one that another command works on is left alone."""
    reaped = []
    for key in state.all_keys():
        if key == except_for:
            continue
        with attempted(paths.lock(key)) as mine:
            if not mine or not paths.lab(key).exists():
                continue
            try:
                lab = state.load(key)
            except LabError as error:
                note(f"left alone: {error}")
                continue
            why = "nothing of it was made yet" if lab is None else lab.dead()
            if why is not None:
                note(f"removing the lab '{key if lab is None else lab.name}': {why}")
                take_down(key)
                reaped.append(key)
    return reaped
