"""The lab machine that faults are caused on, and the verify tests of its scenario run against it."""

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MACHINES = ROOT / "inventories/lab/machines.yaml"
TESTS = ROOT / "tests/machine"


@dataclass(frozen=True)
class Machine:
    """The one machine of a lab that site.yml has set up."""

    lab: str
    scenario: str = "default"

    def _call(self, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "LAB_NAME": self.lab, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        # The inner run reports to this one, and to nobody else.
        environment.pop("MACHINE_JUNIT", None)
        environment.pop("PYTEST_ADDOPTS", None)
        command = [str(part) for part in argv]
        return subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)

    def do(self, *argv: str | Path) -> None:
        """Run a command on the controller that must succeed."""
        done = self._call(*argv)
        assert done.returncode == 0, (
            f"{shlex.join(map(str, argv))}\n{done.stdout[-6000:]}{done.stderr[-3000:]}"
        )

    def root(self, commands: str, on: str = "web1") -> None:
        """Run shell commands on a machine as root; the first one that fails ends them, and is an error."""
        self.do(ROOT / "bin/lab", "ssh", self.lab, on, f"sudo bash -euc {shlex.quote(commands)}")

    def verify(self, test: str) -> subprocess.CompletedProcess[str]:
        """Run one verify test in a pytest of its own."""
        options = ["-q", "-p", "no:cacheprovider", "--color=no"]
        return self._call(
            sys.executable, "-m", "pytest", *options, TESTS / self.scenario / test.rpartition("/")[2]
        )

    def boot(self) -> None:
        """Boot the lab's machine and do what a user does."""
        lab = ROOT / "bin/lab"
        own = ROOT / "molecule" / self.scenario
        # As molecule.yml of the scenario says it: machines and variables of its own, or those of the demo.
        apart = (own / "inventory").is_dir()
        self.do(lab, "up", self.lab, "--machines", own / "molecule.yml" if apart else MACHINES)
        playbook = Path(sys.executable).with_name("ansible-playbook")
        inventories = ["-i", "inventories/lab", *(["-i", str(own / "inventory")] if apart else [])]
        if (own / "prepare.yml").is_file():
            self.do(playbook, *inventories, own / "prepare.yml")
        # One application to begin with.
        one = ["-e", "app=mirror"] if self.scenario == "apps" else []
        self.do(playbook, *inventories, *one, "playbooks/site.yml")

    def down(self) -> None:
        """Take the lab down."""
        self.do(ROOT / "bin/lab", "down", self.lab)
