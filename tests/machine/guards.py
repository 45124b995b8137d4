"""The machines of the scenario `security`: the one that is guarded, and the one that looks from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import testinfra
from testinfra.host import Host

if TYPE_CHECKING:
    from conftest import Lab

GUARDED, OUTSIDE = "web1", "scan1"
SSH_AUDIT = Path(sys.executable).with_name("ssh-audit")


def machine(lab: Lab, name: str = GUARDED) -> Host:
    """Return one of them; commands run as root."""
    return testinfra.get_host(f"ssh://{name}", ssh_config=lab.info["ssh_config"], sudo=True)


def apart(lab: Lab, folder: Path) -> Host:
    """Return the guarded machine over a connection that no playbook shares, and so none ends."""
    config = folder / "ssh_config"
    config.write_text(
        Path(lab.info["ssh_config"]).read_text().replace("ControlPath ", f"ControlPath {folder}/c #")
    )
    return testinfra.get_host(f"ssh://{GUARDED}", ssh_config=str(config), sudo=True)


def address6(lab: Lab, name: str = GUARDED) -> str:
    """Return a machine's address of the newer kind."""
    return str(lab.info["machines6"][name])


def login(lab: Lab, command: str, *options: str, user: str = "admin") -> subprocess.CompletedProcess[str]:
    """Log in over a connection of its own, with nothing but what is said here."""
    common = ["-F", lab.info["ssh_config"], "-o", "ControlPath=none", "-o", "BatchMode=yes", "-l", user]
    argv = ["ssh", "-n", *map(str, common), "-o", "ConnectTimeout=5", *options, GUARDED, command]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a playbook and everything that it has begun; Ansible's workers are in sessions of their own."""
    every = [process.pid]
    for pid in every:
        children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
        every += [int(child) for child in children.stdout.split()]
    for pid in every:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()
