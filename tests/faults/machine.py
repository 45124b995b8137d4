"""The lab machine that faults are caused on, and the tests of tests/machine/default run against it."""

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MACHINES = ROOT / "inventories/lab/machines.yaml"
TESTS = ROOT / "tests/machine/default"


@dataclass(frozen=True)
class Machine:
    """The one machine of a lab that site.yml has set up."""

    lab: str

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

    def root(self, commands: str) -> None:
        """Run shell commands on the machine as root; the first one that fails ends them, and is an error."""
        self.do(ROOT / "bin/lab", "ssh", self.lab, "web1", f"sudo bash -euc {shlex.quote(commands)}")

    def verify(self, test: str) -> subprocess.CompletedProcess[str]:
        """Run one verify test in a pytest of its own."""
        options = ["-q", "-p", "no:cacheprovider", "--color=no"]
        return self._call(sys.executable, "-m", "pytest", *options, TESTS / test)

    def boot(self) -> None:
        """Boot the lab's machine and do what a user does."""
        lab = ROOT / "bin/lab"
        self.do(lab, "up", self.lab, "--machines", MACHINES)
        self.root("apt-get update -q")
        playbook = Path(sys.executable).with_name("ansible-playbook")
        self.do(playbook, "-i", "inventories/lab", "playbooks/site.yml")

    def down(self) -> None:
        """Take the lab down."""
        self.do(ROOT / "bin/lab", "down", self.lab)
