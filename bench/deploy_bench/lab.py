"""The machines that are measured: a lab of the bench's own, and inventories of its first N machines."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
NAME = "bench-deploy"
APP = "probe"
WORKERS = 2
RIVALS = ("shell", "pyinfra", "tasks")
PORTS = {"fastapi-metal": 8001, "shell": 8002, "pyinfra": 8003, "tasks": 8004}


class BenchError(Exception):
    """The bench cannot go on; the message says why."""


def run(argv: list[str], **environment: str) -> str:
    """Run a command of the project and return what it printed."""
    done = subprocess.run(
        argv, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise BenchError(f"{' '.join(argv[:3])} ended with status {done.returncode}:\n{tail}")
    return done.stdout


@dataclass
class Lab:
    """Booted machines."""

    work: Path
    count: int
    stable: int
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def machines(self) -> dict[str, str]:
        """Address of each machine by its name, in order."""
        return {f"web{number}": self.info["machines"][f"web{number}"] for number in range(1, self.count + 1)}

    def source(self, way: str) -> Path:
        """The application as one way deploys it."""
        return self.work / way / "source"

    def up(self) -> None:
        """Boot the machines."""
        machines = [
            {"name": f"web{number}", "suite": "trixie", "groups": ["web"], "memory": "2G"}
            for number in range(1, self.count + 1)
        ]
        path = self.work / "machines.yaml"
        path.write_text(yaml.safe_dump(machines))
        run(["bin/lab", "up", NAME, "--machines", str(path)], LAB_OWNER_PID=str(os.getpid()))
        self.info = json.loads(run(["bin/lab", "info", NAME]))

    def down(self) -> None:
        """Take them down, whatever state they are in."""
        subprocess.run([ROOT / "bin/lab", "down", NAME], cwd=ROOT, check=False, capture_output=True)

    def inventory(self, hosts: int) -> Path:
        """Return an inventory of the first machines, a plain file as a user has it."""
        path = self.work / f"inventory-{hosts}.yml"
        listed = json.loads(run(["bin/lab", "inventory", NAME, "--directory", str(self.work), "--list"]))
        shared = {key: value for key, value in listed["all"]["vars"].items() if key.startswith("ansible_")}
        entry = {
            "hosts": "web",
            "domain": "probe.lab.test",
            "source": {"path": str(self.source("fastapi-metal"))},
            "module": "probe.main:app",
            "server": {"workers": WORKERS},
            "health": {"path": "/health/ready", "stable": self.stable},
            "release_watch": 0,
            "switch": "side_by_side",
        }
        variables = {
            **shared,
            "apps": {APP: entry},
            "common_ca_certificates": [{"name": "lab", "file": self.info["ca_file"]}],
            "nginx_sites": [],
            "bench_rivals": list(RIVALS),
            "bench_ports": PORTS,
            "bench_workers": WORKERS,
        }
        names = list(self.machines)[:hosts]
        web = {"hosts": {name: {"ansible_host": self.machines[name]} for name in names}}
        path.write_text(yaml.safe_dump({"all": {"vars": variables, "children": {"web": web}}}))
        return path

    def converge(self) -> None:
        """Make them machines that can be deployed to."""
        playbook = str(HERE / "machines.yml")
        update = ["-b", "-m", "ansible.builtin.apt", "-a", "update_cache=true"]
        inventory = str(self.inventory(self.count))
        run([".venv/bin/ansible", "-i", inventory, "all", *update])
        run([".venv/bin/ansible-playbook", "-i", inventory, playbook])
