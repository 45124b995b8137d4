"""The ways to deploy that are compared: for each, the command that a user types."""

import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .lab import APP, HERE, ROOT, Lab

Command = list[str]


@dataclass(frozen=True)
class Way:
    """One tool, and how it is called: `deploy` and `rollback` get the number of hosts."""

    name: str
    what: str
    command: Callable[[str, int], Command]


def archive(source: Path) -> tuple[Path, str]:
    """Return a source as a tarball and its digest, the same for the same files."""
    path = source.parent / "source.tar.gz"
    options = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0"]
    subprocess.run(["tar", "-czf", path, *options, "-C", source, "."], check=True)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def ours(lab: Lab) -> Way:
    """This project."""
    playbook = str(ROOT / ".venv/bin/ansible-playbook")

    def command(action: str, hosts: int) -> Command:
        path = ROOT / "playbooks" / ("rollback.yml" if action == "rollback" else "deploy.yml")
        return [playbook, "-i", str(lab.work / f"inventory-{hosts}.yml"), str(path), "-e", f"app={APP}"]

    return Way("fastapi-metal", "`playbooks/deploy.yml`", command)


def shell(lab: Lab) -> Way:
    """A script."""

    def command(action: str, hosts: int) -> Command:
        script = [str(HERE / "rivals/deploy.sh"), action, str(lab.source("shell")), lab.info["ssh_config"]]
        return [*script, str(lab.stable), *list(lab.machines)[:hosts]]

    return Way("shell", "a hand-written script, one SSH connection", command)


def pyinfra(lab: Lab) -> Way:
    """The same steps for pyinfra."""

    def command(action: str, hosts: int) -> Command:
        path, digest = archive(lab.source("pyinfra"))
        data = {"action": action, "archive": path, "digest": digest, "stable": lab.stable}
        options = [word for key, value in data.items() for word in ("--data", f"{key}={value}")]
        names = f"{lab.work}/pyinfra_inventory_{hosts}.py"
        shared = {
            "ssh_user": lab.info["ssh_user"],
            "ssh_key": lab.info["ssh_key"],
            "ssh_known_hosts_file": lab.info["known_hosts"],
            "ssh_strict_host_key_checking": "yes",
        }
        machines = [(address, shared) for address in list(lab.machines.values())[:hosts]]
        Path(names).write_text(f"web = {machines!r}\n")
        return [
            str(lab.work / "pyinfra/bin/pyinfra"),
            "-y",
            *options,
            names,
            str(HERE / "rivals/pyinfra_deploy.py"),
        ]

    return Way("pyinfra", "pyinfra, the same five steps", command)


def tasks(lab: Lab) -> Way:
    """The same steps as plain tasks of Ansible."""

    def command(action: str, hosts: int) -> Command:
        path, digest = archive(lab.source("tasks"))
        data = {"action": action, "archive": path, "digest": digest, "stable": lab.stable}
        options = [word for key, value in data.items() for word in ("-e", f"bench_{key}={value}")]
        playbook = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(lab.work / f"inventory-{hosts}.yml")]
        return [*playbook, str(HERE / "rivals/tasks.yml"), *options]

    return Way("tasks", "plain Ansible tasks, the same five steps", command)


def install_pyinfra(lab: Lab) -> None:
    """Give pyinfra a virtual environment of its own."""
    uv = str(ROOT / ".venv/bin/uv")
    place = lab.work / "pyinfra"
    subprocess.run([uv, "venv", "--quiet", str(place)], check=True)
    lock = str(ROOT / "bench/requirements.txt")
    install = [uv, "pip", "sync", "--quiet", "--system-certs", "--require-hashes", lock]
    subprocess.run([*install, "--python", str(place / "bin/python")], check=True)
