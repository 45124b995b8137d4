"""Reach a machine as its administrator would."""

import socket
import subprocess
import time
from collections.abc import Callable

from lab.errors import LabError
from lab.state import Lab

USER = "admin"


def options(lab: Lab) -> list[str]:
    """Return the options that tie a connection to this lab's keys and to nothing of the caller's."""
    return [
        *("-o", f"UserKnownHostsFile={lab.directory}/known_hosts"),
        *("-o", "GlobalKnownHostsFile=/dev/null"),
        *("-o", "StrictHostKeyChecking=yes"),
        *("-o", "IdentitiesOnly=yes"),
    ]


def config(lab: Lab) -> str:
    """Return an ssh_config that knows the machines by name, for programs that take one."""
    common = "".join(f"  {option.replace('=', ' ', 1)}\n" for option in options(lab) if option != "-o")
    text = ""
    for machine in lab.machines:
        address = lab.address(machine.name)
        text += (
            f"Host {machine.name}\n  HostName {address}\n  User {USER}\n  IdentityFile {lab.directory}/key\n"
        )
        text += f"{common}  ControlPath {lab.sockets / address}\n  ServerAliveInterval 5\n  LogLevel ERROR\n"
    return text


def end_connection(lab: Lab, machine: str) -> None:
    """End the connection that Ansible keeps open: the machine behind it is not the same any more."""
    socket_path = lab.sockets / lab.address(machine)
    if socket_path.exists():
        subprocess.run(["ssh", "-O", "exit", "-S", str(socket_path), "lab"], check=False, capture_output=True)
        socket_path.unlink(missing_ok=True)


def command(lab: Lab, machine: str, argv: list[str]) -> list[str]:
    """Return the ssh command line that runs argv on the machine, or a shell without argv."""
    own = [
        "BatchMode=yes",
        "LogLevel=ERROR",
        "ControlPath=none",
        "ConnectTimeout=10",
        "ServerAliveInterval=5",
    ]
    extra = [part for option in own for part in ("-o", option)]
    who = f"{USER}@{lab.address(machine)}"
    return ["ssh", "-F", "none", "-i", f"{lab.directory}/key", *extra, *options(lab), who, *argv]


def answers(lab: Lab, machine: str) -> bool:
    """Tell whether a login works now; while the machine still boots, it is refused."""
    try:
        socket.create_connection((lab.address(machine), 22), timeout=1).close()
    except OSError:
        return False
    argv = command(lab, machine, ["true"])
    return subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def wait(lab: Lab, machine: str, seconds: float, alive: Callable[[], None]) -> None:
    """Return when a login works; `alive` raises if there is nothing to wait for any more."""
    end = time.monotonic() + seconds
    while not answers(lab, machine):
        alive()
        if time.monotonic() > end:
            log = lab.machine_directory(lab.machine(machine)) / "console.log"
            raise LabError(f"machine {machine} gave no login within {seconds:.0f} s: its console is in {log}")
        time.sleep(0.1)
