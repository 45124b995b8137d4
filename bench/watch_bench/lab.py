"""The machine that is measured: the demo's, with everything on it."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy_bench.lab import ROOT, BenchError, run

PORT = 9990
JOBS = ("node", "nginx", "postgres", "redis", "access", "app")
UNIT = "bench-generator"


@dataclass(frozen=True)
class Lab:
    """A lab of one machine; `ours` is taken down at the end."""

    name: str
    ours: bool

    def up(self) -> None:
        """Boot the machine and do what a user does."""
        machines = "inventories/lab/machines.yaml"
        run(["bin/lab", "up", self.name, "--machines", machines], LAB_OWNER_PID=str(os.getpid()))
        self.root("apt-get update -q")
        self.playbook()

    def down(self) -> None:
        """Take it down, whatever state it is in."""
        if self.ours:
            subprocess.run([ROOT / "bin/lab", "down", self.name], cwd=ROOT, check=False, capture_output=True)

    def playbook(self, *options: str, **variables: Any) -> None:
        """Run site.yml."""
        argv = [".venv/bin/ansible-playbook", "-i", "inventories/lab", "playbooks/site.yml", *options]
        run([*argv, "-e", json.dumps(variables)], LAB_NAME=self.name)

    def root(self, command: str) -> str:
        """Run a command on the machine as root and return what it printed."""
        config = str(json.loads(run(["bin/lab", "info", self.name]))["ssh_config"])
        argv = ["ssh", "-F", config, "web1", "sudo", "bash", "-euo", "pipefail", "-s"]
        done = subprocess.run(argv, input=command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"on the machine, `{command[:80]}`: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        return done.stdout

    def release(self) -> str:
        """Return the catalogue's live release."""
        return self.root("basename $(readlink /srv/catalog/current)").strip()

    def generate(self) -> None:
        """Let the generator answer for the hosts that are not there."""
        text = Path(__file__).with_name("generator.py").read_text()
        gateway = "http://127.0.0.1:9101"
        urls = {job: f"{gateway}/{job}" for job in JOBS} | {"app": f"{gateway}/app/catalog/{self.release()}"}
        rows = " ".join(f"{job}={url}" for job, url in urls.items())
        self.root(
            f"cat > /root/generator.py <<'END'\n{text}\nEND\nsystemctl stop {UNIT} 2> /dev/null || true"
        )
        self.root(
            f"systemd-run -q --collect --unit={UNIT} -p Nice=5 python3 /root/generator.py {PORT} {rows}"
        )

    def watch(self, hosts: int) -> None:
        """Let Prometheus ask the simulated hosts too, by the role itself."""
        targets = [
            {
                "job": job,
                "targets": [f"127.0.0.1:{PORT}"],
                "metrics_path": f"/{number}/{job}",
                "labels": {
                    "host": f"sim{number:03}",
                    "instance": f"sim{number:03}",
                    **({"app": f"app{number % 10}", "release": self.release()} if job == "app" else {}),
                },
            }
            for number in range(hosts)
            for job in JOBS
        ]
        apps = [f"app{number}" for number in range(10)]
        self.playbook("--tags", "prometheus", prometheus_targets=targets, prometheus_apps=[*apps, "catalog"])
