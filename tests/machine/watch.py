"""The machines of the scenario `monitoring`, and what Prometheus on one knows of the others."""

import json
import re
from dataclasses import dataclass
from typing import Any

import testinfra
from client import Site
from conftest import Lab
from testinfra.host import Host

# Where Alertmanager tells: molecule/monitoring/inventory/group_vars/all/alertmanager.yml.
PORT = 9199
# Words of the query language that are no names of figures.
WORDS = {"and", "or", "unless", "on", "by", "without", "ignoring", "group_left", "group_right", "bool"}


@dataclass(frozen=True)
class Watch:
    """Two watched machines, the two that watch, and what is between them."""

    lab: Lab
    web: Host
    other: Host
    mon: Host
    second: Host

    @property
    def site(self) -> Site:
        """Return the application's site as visitors reach it."""
        return self.lab.site("meter")

    def ask(self, path: str, **arguments: str) -> Any:
        """Return the data of an answer of Prometheus."""
        words = ["curl -fsS --get", *["--data-urlencode %s"] * len(arguments), "%s"]
        values = [f"{name}={value}" for name, value in arguments.items()]
        answer = self.mon.check_output(" ".join(words), *values, f"http://127.0.0.1:9090/api/v1/{path}")
        return json.loads(answer)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        rows: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return rows

    def number(self, expression: str) -> float:
        """Return the one value of a query, 0 where there is none."""
        rows = self.query(expression)
        return float(rows[0]["value"][1]) if rows else 0.0

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule that Prometheus has loaded."""
        groups = self.ask("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def look_again(self) -> None:
        """Let the watched machine look at everything, also what is not due yet."""
        self.web.check_output(
            "env PYTHONPATH=/usr/local/lib/fastapi-metal python3 -m machine_figures collect --all"
        )

    def release(self) -> str:
        """Return the application's live release on the first machine."""
        return str(self.web.check_output("basename $(readlink /srv/meter/current)"))

    def unit(self, prop: str) -> str:
        """Return a property of the live release's service."""
        command = "systemctl show --value -p %s meter@%s.service"
        return str(self.web.check_output(command, prop, self.release()))

    def workers(self) -> list[str]:
        """Return the process ids of the live release's workers."""
        return str(self.web.run("pgrep -P %s", self.unit("MainPID")).stdout).split()


def watch(lab: Lab) -> Watch:
    """Return the machines; commands run as root."""

    def host(name: str) -> Host:
        return testinfra.get_host(f"ssh://{name}", ssh_config=lab.info["ssh_config"], sudo=True)

    return Watch(lab, host("web1"), host("web2"), host("mon1"), host("mon2"))


def figures(expression: str) -> set[str]:
    """Return the names of the figures that a query asks for."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    names = re.findall(r"(?<![\w:.])([a-z_][a-z0-9_:]*)(?!\s*\(|[\w:])", bare)
    return {name for name in names if name not in WORDS}
