"""The machine that is measured: a lab of one, with everything on it."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from deploy_bench.lab import ROOT, BenchError, run

HERE = Path(__file__).resolve().parent
NAME = "bench-cache"
DOMAIN = "catalog.lab.test"
# Nobody has it but the bench; `python -m catalog.security` in app/ makes such an entry.
KEY = "known-to-everybody-good-for-the-lab-alone"
KEY_HASH = "lab:008b21798748d4d3c2e6066e581e38c6e6fad7e56e0a0dd15571e0d9993b8b5d"


@dataclass
class Lab:
    """One booted machine."""

    work: Path
    info: dict[str, Any] = field(default_factory=dict)

    def up(self) -> None:
        """Boot it."""
        machine = {"name": "web1", "suite": "trixie", "groups": ["web", "database"], "names": [DOMAIN]}
        path = self.work / "machines.yaml"
        path.write_text(yaml.safe_dump([machine]))
        run(["bin/lab", "up", NAME, "--machines", str(path)], LAB_OWNER_PID=str(os.getpid()))
        self.info = json.loads(run(["bin/lab", "info", NAME]))

    def down(self) -> None:
        """Take it down, whatever state it is in."""
        subprocess.run([ROOT / "bin/lab", "down", NAME], cwd=ROOT, check=False, capture_output=True)

    def converge(self) -> None:
        """Make it a machine that serves the catalogue, and the rival's."""
        inventory = self.inventory()
        update = ["-b", "-m", "ansible.builtin.apt", "-a", "update_cache=true"]
        run([".venv/bin/ansible", "-i", inventory, "all", *update])
        run([".venv/bin/ansible-playbook", "-i", inventory, str(HERE / "machine.yml")])

    def inventory(self) -> str:
        """Write an inventory, a plain file as a user has it, and return its path."""
        listed = json.loads(run(["bin/lab", "inventory", NAME, "--directory", str(self.work), "--list"]))
        shared = {key: value for key, value in listed["all"]["vars"].items() if key.startswith("ansible_")}
        entry = {
            "domain": DOMAIN,
            "source": {"path": str(ROOT / "app")},
            "module": "catalog.main:create_app()",
            "database": "postgresql",
            "before_start": ["alembic upgrade head"],
            "health": {"path": "/health/ready", "stable": 1},
            "release_watch": 0,
            "server": {"workers": 2},
            "secrets": {"api_keys": KEY_HASH},
            # Browsers and proxies may show a read for a second without asking again.
            "env": {"CATALOG_MAX_AGE": "1"},
            "web": {"cache": {"enabled": True, "paths": ["/products"]}},
        }
        variables = {
            **shared,
            "apps": {"catalog": entry},
            "common_ca_certificates": [{"name": "lab", "file": self.info["ca_file"]}],
        }
        host = {"web1": {"ansible_host": self.info["machines"]["web1"]}}
        children = {"web": {"hosts": host}, "database": {"hosts": host}}
        path = self.work / "inventory.yml"
        path.write_text(yaml.safe_dump({"all": {"vars": variables, "children": children}}))
        return str(path)

    def root(self, command: str) -> str:
        """Run a command on the machine as root and return what it printed."""
        config = str(self.info["ssh_config"])
        argv = ["ssh", "-F", config, "web1", "sudo", "bash", "-euo", "pipefail", "-s"]
        done = subprocess.run(argv, input=command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"on the machine, `{command[:80]}`: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        return done.stdout
