"""Give tests their lab: testinfra's `host` for each machine, and `lab` for what is around them."""

import json
import os
import subprocess
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pytest
import testinfra
from client import Site
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[2]
NAME = os.environ.get("LAB_NAME", "demo")

# `bin/test full` asks for what takes longer than a scenario may.
FULL = "MACHINE_FULL" in os.environ


def say(figures: str) -> None:
    """Print what was measured, and leave it where bin/test looks for what it shows of a scenario."""
    print(figures)
    if "MACHINE_JUNIT" in os.environ:
        with Path(os.environ["MACHINE_JUNIT"]).with_suffix(".figures").open("a") as file:
            file.write(f"{figures}\n")


@dataclass(frozen=True)
class Lab:
    """The lab that the tests run in."""

    name: str
    info: dict[str, Any]
    inventories: tuple[str, ...] = ("inventories/lab",)

    def address(self, machine: str) -> str:
        """Return a machine's address."""
        return str(self.info["machines"][machine])

    @property
    def acme_root(self) -> Path:
        """Return the certificate that those issued in the lab lead to."""
        return Path(self.info["acme_root"])

    def _command(self, *argv: str) -> None:
        done = subprocess.run([ROOT / "bin/lab", *argv], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def reboot(self, machine: str) -> None:
        """Reboot a machine and wait for its login."""
        self._command("reboot", self.name, machine)

    def kill(self, machine: str) -> None:
        """Cut a machine's power."""
        self._command("kill", self.name, machine)

    def start(self, machine: str) -> None:
        """Boot a machine that is off and wait for its login."""
        self._command("start", self.name, machine)

    def memory(self, machine: str, amount: str) -> None:
        """Limit a machine's memory."""
        self._command("memory", self.name, machine, amount)

    def _environment(self, **extra: str) -> dict[str, str]:
        """Return the environment of commands for this lab."""
        # Molecule asks for colours, also where nobody looks.
        return {**os.environ, "LAB_NAME": self.name, "ANSIBLE_FORCE_COLOR": "0", **extra}

    def run(self, *argv: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the controller, in the project's directory and for this lab."""
        command, environment = [str(part) for part in argv], self._environment(**extra)
        return subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)

    def _playbook(self, name: str, variables: dict[str, Any]) -> list[str]:
        """Return the command that runs one of the project's playbooks."""
        # It shares the processors with the machines here, and has some of its own elsewhere.
        polite = ["nice", "-n", "10"]
        argv = [*polite, str(ROOT / ".venv/bin/ansible-playbook"), *self._options(), f"playbooks/{name}.yml"]
        return [*argv, "--extra-vars", json.dumps(variables)]

    def playbook(self, name: str, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """Run one of the project's playbooks on the lab, with options and extra variables."""
        return self.run(*self._playbook(name, variables), *options)

    def begin_playbook(self, name: str, *options: str, **variables: Any) -> "subprocess.Popen[str]":
        """Begin to run a playbook, in a process group of its own, and return while it runs."""
        return subprocess.Popen(
            [*self._playbook(name, variables), *options],
            cwd=ROOT,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _options(self) -> list[str]:
        """Return the options that name the lab's inventories."""
        return [f"--inventory={path}" for path in self.inventories]

    def deploy(self, app: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        """Deploy an app as the inventory describes it, but for the keys in `changes`."""
        if not changes:
            return self.playbook("deploy", app=app)
        entry = {**self.variable("apps")[app], **changes}
        return self.playbook("deploy", app=app, apps={app: entry})

    def variable(self, name: str) -> Any:
        """Return a variable as the inventory gives it to the first machine."""
        return self._variables[name]

    @cached_property
    def _variables(self) -> dict[str, Any]:
        """What the inventory gives to the first machine."""
        inventory = self.run(ROOT / ".venv/bin/ansible-inventory", *self._options(), "--host", first())
        assert inventory.returncode == 0, inventory.stderr
        variables: dict[str, Any] = json.loads(inventory.stdout)
        return variables

    def site(self, app: str) -> Site:
        """Return an app's site as a visitor reaches it, on the first machine."""
        return Site(self.variable("apps")[app]["domain"], self.address(first()), self.acme_root)


@cache
def information() -> dict[str, Any]:
    """Return what bin/lab knows about the lab."""
    done = subprocess.run([ROOT / "bin/lab", "info", NAME], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.exit(done.stderr.strip(), returncode=2)
    info: dict[str, Any] = json.loads(done.stdout)
    return info


def first() -> str:
    """Return the name of the first machine."""
    return str(next(iter(information()["machines"])))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Write the results, and what they do not show, where bin/test looks; molecule takes no such option."""
    if "MACHINE_JUNIT" in os.environ:
        config.option.xmlpath = os.environ["MACHINE_JUNIT"]
        if information()["grafana_standin"]:
            note = "Grafana was the lab's stand-in: the vendor's repository was not reached\n"
            Path(config.option.xmlpath).with_suffix(".note").write_text(note)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `full`, unless it is asked for."""
    wanted = [item for item in items if FULL or item.get_closest_marker("full") is None]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `host` on each machine of the lab."""
    machines = list(information()["machines"])
    # With one machine the tests keep their order; with several pytest groups them by machine.
    if "host" in metafunc.fixturenames and len(machines) > 1:
        metafunc.parametrize("host", machines, indirect=True, scope="session")


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Lab:
    """Return the lab, which is up already, with the variables that its scenario brings along."""
    own = Path("molecule", request.session.items[0].path.parent.name, "inventory")
    more = (str(own),) if (ROOT / own).is_dir() else ()
    return Lab(NAME, information(), ("inventories/lab", *more))


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> Host:
    """Return one machine; commands run as root through sudo."""
    config = information()["ssh_config"]
    return testinfra.get_host(f"ssh://{getattr(request, 'param', first())}", ssh_config=config, sudo=True)


@pytest.fixture(scope="session")
def site(lab: Lab) -> Site:
    """Return the lab's catalogue as a visitor reaches it."""
    return Site("catalog.lab.test", lab.address(first()), lab.acme_root)
