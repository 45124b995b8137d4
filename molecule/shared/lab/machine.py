"""Boot, stop, reboot, kill one machine of a lab."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from lab import cgroup, clone, launch, meminfo, ssh
from lab.command import run
from lab.errors import LabError
from lab.machines import Machine, memory_bytes
from lab.process import ProcessId
from lab.state import Lab
from lab.supervise import write

BOOT_SECONDS = 60.0
NSPAWN = Path("/run/systemd/nspawn")


def part(machine: Machine) -> str:
    """Return the name of the machine's cgroup within the lab's."""
    return f"machine-{machine.name}"


def cgroups(lab: Lab, machine: Machine) -> list[Path]:
    """Return the machine's own cgroup in each hierarchy."""
    return launch.cgroups(lab.slot.bridge, lab.cgroups, part(machine))


def nspawn(lab: Lab, machine: Machine) -> list[str]:
    """Return the command that boots the machine."""
    return [
        "systemd-nspawn",
        "--quiet",
        f"--directory={lab.machine_directory(machine)}/root",
        f"--machine={lab.slot.container(machine.name)}",
        f"--hostname={machine.name}",
        "--register=no",
        "--keep-unit",
        f"--network-bridge={lab.slot.bridge}",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--kill-signal=SIGRTMIN+3",
        "--capability=CAP_NET_ADMIN",
        *_affinity(machine),
        "/usr/local/sbin/lab-init",
    ]


def _affinity(machine: Machine) -> list[str]:
    """Return what keeps a machine on its own processor, of those that there are."""
    if machine.processor is None:
        return []
    there = sorted(os.sched_getaffinity(0))
    return [f"--cpu-affinity={there[machine.processor % len(there)]}"]


def boot(lab: Lab, machine: Machine) -> subprocess.Popen[bytes]:
    """Start the machine's supervisor, which boots it; return at once."""
    directory = lab.machine_directory(machine)
    (directory / "supervisor.json").unlink(missing_ok=True)
    (directory / "boots").unlink(missing_ok=True)
    own = cgroups(lab, machine)
    config = {"argv": nspawn(lab, machine), "cgroups": [str(path) for path in own]}
    write(directory / "machine.json", json.dumps(config, indent=2) + "\n")
    command = [sys.executable, "-m", "lab.supervise", str(directory)]
    size = _limit(directory)
    return launch.start(command, part(machine), lab.slot.bridge, lab.cgroups, directory / "console.log", size)


def _limit(directory: Path) -> int | None:
    """Return the limit that was set for the machine, in bytes."""
    try:
        return int((directory / "memory").read_text()) or None
    except FileNotFoundError:
        return None


def wait(lab: Lab, machine: Machine, process: subprocess.Popen[bytes] | None = None) -> None:
    """Return when the machine lets its administrator in."""

    def alive() -> None:
        if process is not None and process.poll() is not None:
            console = lab.machine_directory(machine) / "console.log"
            last = "\n".join(console.read_text(errors="replace").splitlines()[-12:])
            raise LabError(f"machine {machine.name} did not boot (code {process.returncode}):\n{last}")

    ssh.wait(lab, machine.name, BOOT_SECONDS + 5 * len(lab.machines), alive)


def supervisor(lab: Lab, machine: Machine) -> ProcessId | None:
    """Return the machine's supervisor while it runs."""
    try:
        text = (lab.machine_directory(machine) / "supervisor.json").read_text()
    except FileNotFoundError:
        return None
    process = ProcessId(**json.loads(text))
    return process if process.alive() else None


def is_running(lab: Lab, machine: Machine) -> bool:
    """Tell whether anything of the machine runs."""
    return bool(cgroup.pids(cgroups(lab, machine)))


def need_running(lab: Lab, machine: Machine) -> ProcessId:
    """Return the supervisor of a machine that is on; otherwise say how to boot it."""
    process = supervisor(lab, machine)
    if process is None:
        raise LabError(f"machine {machine.name} is off: `bin/lab start {lab.name} {machine.name}` boots it")
    return process


def stop(lab: Lab, machine: Machine, seconds: float = 90) -> None:
    """Shut the machine down in good order."""
    process = need_running(lab, machine)
    os.kill(process.pid, signal.SIGTERM)
    end = time.monotonic() + seconds
    while process.alive():
        if time.monotonic() > end:
            way_out = f"`bin/lab kill {lab.name} {machine.name}` cuts it off"
            raise LabError(f"machine {machine.name} is still shutting down after {seconds:.0f} s: {way_out}")
        time.sleep(0.05)
    cgroup.kill(cgroups(lab, machine))


def start(lab: Lab, machine: Machine) -> None:
    """Boot a machine that is off and wait for it."""
    if is_running(lab, machine):
        raise LabError(f"machine {machine.name} is on already")
    ssh.end_connection(lab, machine.name)
    wait(lab, machine, boot(lab, machine))


def reboot(lab: Lab, machine: Machine) -> None:
    """Reboot from inside, as an administrator would, and wait for the login."""
    need_running(lab, machine)
    counter = lab.machine_directory(machine) / "boots"
    before = counter.read_text()
    # The connection is cut by the reboot: the exit code says nothing, the counter of boots does.
    argv = ssh.command(lab, machine.name, ["sudo", "systemctl", "reboot"])
    subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True)
    end = time.monotonic() + 90
    while counter.read_text() == before:
        need_running(lab, machine)
        if time.monotonic() > end:
            raise LabError(f"machine {machine.name} did not go down for the reboot within 90 s")
        time.sleep(0.05)
    ssh.end_connection(lab, machine.name)
    wait(lab, machine)


def kill(lab: Lab, machine: Machine) -> None:
    """Cut the power: the network goes silent first, so that nobody gets a polite goodbye."""
    need_running(lab, machine)
    plugged = {port.name for port in Path(f"/sys/class/net/{lab.slot.bridge}/brif").glob("*")}
    cables = sorted(plugged & _ports(lab, machine))
    for cable in cables:
        run(["ip", "link", "set", cable, "down"], check=False)
    cgroup.kill(cgroups(lab, machine))
    for cable in cables:
        # Its connections hold it for minutes, as nobody answers their end; a boot would find the name taken.
        run(["ip", "link", "delete", cable], check=False)
    forget(lab, machine)


def _ports(lab: Lab, machine: Machine) -> set[str]:
    """Return the names under which systemd-nspawn's side of the cable may appear."""
    container = lab.slot.container(machine.name)
    names = {f"vb-{container}"[:15]}
    for line in run(["ip", "-o", "link", "show", "master", lab.slot.bridge]).splitlines():
        # A long name is cut and hashed; the whole one stays as an alternative name.
        if f"vb-{container}" in line.replace("\\", " ").split():
            names.add(line.split(":")[1].strip().partition("@")[0])
    return names


def forget(lab: Lab, machine: Machine) -> None:
    """Remove what systemd-nspawn leaves in /run when it is killed."""
    for directory in NSPAWN.glob(f"*/{lab.slot.container(machine.name)}"):
        run(["umount", "-l", str(directory)], check=False)
        shutil.rmtree(directory, ignore_errors=True)
    with suppress(FileNotFoundError):
        root = (lab.machine_directory(machine) / "root").stat()
        (NSPAWN / "locks" / f"inode-{root.st_dev}:{root.st_ino}").unlink()


def leader(lab: Lab, machine: Machine) -> int:
    """Return the host's number of the machine's PID 1."""
    for pid in cgroup.pids(cgroups(lab, machine)):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
        if len(numbers) > 1 and numbers[-1] == "1":
            return pid
    raise LabError(f"machine {machine.name} has no PID 1: is it still booting?")


def set_memory(lab: Lab, machine: Machine, amount: str) -> None:
    """Limit a machine's memory from now on, and let /proc/meminfo say so."""
    try:
        size = memory_bytes(amount)
    except ValueError as error:
        raise LabError(str(error)) from None
    own = cgroups(lab, machine)
    on = is_running(lab, machine)
    shown = lab.machine_directory(machine) / "root/usr/local/lib/lab/meminfo"
    if on:
        launch.set_memory(lab.slot.bridge, part(machine), own, size)
    write(lab.machine_directory(machine) / "memory", str(size))
    meminfo.write(shown, meminfo.text(size, *cgroup.memory_used(own)))
    if on:
        pid = leader(lab, machine)
        if " /proc/meminfo " not in Path(f"/proc/{pid}/mountinfo").read_text():
            run(
                [
                    "nsenter",
                    "-t",
                    str(pid),
                    "-m",
                    "mount",
                    "--bind",
                    "/usr/local/lib/lab/meminfo",
                    "/proc/meminfo",
                ]
            )


def snapshot(lab: Lab, machine: Machine, name: str) -> Path:
    """Keep the disk of a machine that is off."""
    if is_running(lab, machine):
        raise LabError(f"machine {machine.name} is on: `bin/lab stop {lab.name} {machine.name}` first")
    return clone.take_snapshot(lab, machine, name)
