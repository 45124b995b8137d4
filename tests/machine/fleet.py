"""The machines of the scenario `releases` and the one application on them."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client import Site
from played import why
from traffic import Plan, Traffic

if TYPE_CHECKING:
    from conftest import Lab

APP = "probe"
RUNNING = f"systemctl list-units --plain --no-legend '{APP}@*.service' | cut -d' ' -f1"
ENABLED = f"ls /etc/systemd/system/multi-user.target.wants | grep '^{APP}@'"
HALVES = f"cd /srv/{APP}/releases; for each in *; do [ -e $each/release.json ] || echo $each; done"


@dataclass
class Fleet:
    """The application `probe` on all machines of the lab."""

    lab: Lab
    directory: Path
    # Keys of the application that a whole test module wants otherwise.
    entry: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def machines(self) -> dict[str, str]:
        """Each machine's address."""
        return dict(self.lab.info["machines"])

    def root(self, machine: str, command: str) -> str:
        """Run a command as root and return what it printed."""
        config = str(self.lab.info["ssh_config"])
        argv = ["ssh", "-n", "-F", config, machine, f"sudo sh -c {quoted(command)}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command} on {machine}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def everywhere(self, command: str) -> dict[str, str]:
        """Run a command as root on all machines at once."""
        with ThreadPoolExecutor() as pool:
            answers = pool.map(lambda machine: self.root(machine, command), self.machines)
            return dict(zip(self.machines, answers, strict=True))

    @cached_property
    def authority(self) -> Path:
        """Return a file with the certificate of each machine: exactly those are trusted."""
        path = self.directory / "authority.pem"
        pairs = self.everywhere(f"cat /etc/nginx/tls/{APP}/fullchain.pem")
        path.write_text("\n".join(pairs.values()) + "\n")
        return path

    @property
    def domain(self) -> str:
        """The application's domain."""
        return str(self.described["domain"])

    @cached_property
    def described(self) -> dict[str, Any]:
        """The application as the inventory describes it."""
        return dict(self.lab.variable("apps")[APP])

    def site(self, machine: str) -> Site:
        """Return the site on one machine."""
        return Site(self.domain, self.machines[machine], self.authority)

    def plan(self, **changes: Any) -> Plan:
        """Return who comes, on all machines."""
        return Plan(
            **{
                "domain": self.domain,
                "authority": str(self.authority),
                "machines": self.machines,
                **changes,
            }
        )

    def light(self, **changes: Any) -> Plan:
        """Return a few visitors, for a test that is not about load."""
        few = {"kept": 1, "new": 1, "pace": 0.1, "slow": 0, "uploads": 0, "websockets": 0}
        return self.plan(**{**few, **changes})

    def variables(self, word: str, **changes: Any) -> dict[str, Any]:
        """Return the variables of a deploy: the inventory's, the word, and what is changed."""
        env = {**self.described["env"], "PROBE_WORD": word, **changes.pop("env", {})}
        return {"app": APP, "apps": {APP: {**self.described, **self.entry, "env": env, **changes}}}

    def deploy(self, word: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        """Deploy, with keys of the application changed; `env` is added to."""
        return self.lab.playbook("deploy", **self.variables(word, **changes))

    def good_deploy(self, word: str, **changes: Any) -> str:
        """Deploy what must succeed and return the release."""
        done = self.deploy(word, **changes)
        assert done.returncode == 0, why(done)
        return self.live()

    def switch(self, label: str, word: str, **changes: Any) -> Switch:
        """Deploy what must move the traffic, and say when it did."""
        before = self.live()
        after = self.good_deploy(word, **changes)
        assert before != after, f"{label} released nothing"
        return Switch(label, before, after, self.renamed())

    def back(self, label: str) -> Switch:
        """Go back to the release before, and say when the traffic moved."""
        before = self.live()
        done = self.lab.playbook("rollback", app=APP)
        assert done.returncode == 0, why(done)
        after = self.live()
        assert before != after, f"{label} moved nothing"
        return Switch(label, before, after, self.renamed())

    def complete(self, word: str, **changes: Any) -> None:
        """Deploy after something was cut off: it is live everywhere, alone, and nothing is half."""
        live = self.good_deploy(word, **changes)
        assert self.words() == {word}
        for found in (self.everywhere(RUNNING), self.everywhere(ENABLED)):
            assert set(found.values()) == {f"{APP}@{live}.service"}, found
        halves = self.everywhere(HALVES)
        assert set(halves.values()) == {""}, halves

    def live(self) -> str:
        """Return the release that is live on all machines, which must be the same one."""
        found = set(self.everywhere(f"basename $(readlink /srv/{APP}/current)").values())
        assert len(found) == 1, f"the machines differ: {found}"
        return found.pop()

    def renamed(self) -> dict[str, float]:
        """Return when each machine's link to the live release was renamed."""
        # Machines of a lab share the clock of their host, and a rename sets the link's time of change.
        return {
            name: float(when) for name, when in self.everywhere(f"stat -c %.Z /srv/{APP}/current").items()
        }

    def words(self) -> set[str]:
        """Return the words that the site answers with, one question to each machine."""
        return {str(self.site(machine).get("/version").json()["word"]) for machine in self.machines}


def leftovers(app: str) -> str:
    """Return the command that lists what a machine has of an application, but for its data."""
    return f"""\
ls -d /srv/{app} /etc/{app} /etc/systemd/system/{app}@* /etc/systemd/system/*/*{app}@* \
    /etc/nginx/sites-enabled/{app}.conf 2>/dev/null
systemctl list-units --all --plain --no-legend "*{app}*" | cut -d" " -f1 | grep -v "[.]slice$"
true
"""


def quoted(command: str) -> str:
    """Return a command as one word of a shell."""
    return "'" + command.replace("'", "'\\''") + "'"


@dataclass(frozen=True)
class Switch:
    """One deploy under load: from which release to which, and when each machine moved."""

    label: str
    before: str
    after: str
    renamed: dict[str, float]

    def around(self, found: Traffic) -> dict[str, int]:
        """Return how many requests began within a second of the rename, on each machine."""
        return {machine: found.of(machine).near(when) for machine, when in self.renamed.items()}

    def across(self, found: Traffic) -> dict[str, int]:
        """Return how many requests began before the rename on the old release and ended well after it."""
        return {
            machine: found.of(machine).across(when, self.before) for machine, when in self.renamed.items()
        }
