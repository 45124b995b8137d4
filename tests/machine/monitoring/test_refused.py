"""What would not load is refused before it lands, with one sentence, and what runs goes on as it was."""

from pathlib import Path
from typing import Any

import pytest
from played import why
from watch import Watch

pytest_plugins = ["watched"]

UNITS = ("prometheus", "prometheus-alertmanager")
STATE = (
    "find /etc/prometheus /etc/default -type f | sort | xargs sha256sum; "
    f"for unit in {' '.join(UNITS)}; do systemctl show -p MainPID -p ActiveState $unit; done"
)


def refused(both: Watch, tag: str, **variables: Any) -> str:
    """Run a role with variables that it must refuse; return what it printed. Nothing has changed by it."""
    before = both.mon.check_output("bash -c %s", STATE)
    assert before.count("ActiveState=active") == len(UNITS)
    done = both.lab.playbook("site", "--tags", tag, "--limit", "mon1", **variables)
    assert done.returncode == 2, why(done)
    assert both.mon.check_output("bash -c %s", STATE) == before
    assert both.number("min(prometheus_config_last_reload_successful)") == 1
    return done.stdout


def test_a_rule_that_would_not_load_changes_nothing(both: Watch, tmp_path: Path) -> None:
    """promtool's words are shown, and Prometheus judges by the rules that it had.

    Red when a file lands before it was checked, or Prometheus is told to read again.
    """
    rules = len(both.rules())
    path = tmp_path / "orders.yml"
    path.write_text("groups: [{name: orders, rules: [{record: a, expr: 'sum by ('}]}]\n")
    said = refused(both, "prometheus", prometheus_rules_own=[str(path)])
    assert "/etc/prometheus/rules/own-orders.yml was refused by promtool, and nothing was changed" in said
    assert len(both.rules()) == rules


def test_a_receiver_that_would_not_load_changes_nothing(both: Watch) -> None:
    """amtool's words are shown, and Alertmanager tells those whom it told before.

    Red when its file lands before it was checked.
    """
    said = refused(both, "alertmanager", alertmanager_receivers={"pager": {"webhook_url": "no address"}})
    assert "/etc/prometheus/alertmanager.yml was refused by amtool, and nothing was changed" in said
    asked = both.mon.check_output("curl -fsS http://127.0.0.1:9093/api/v2/status")
    assert ":9199/" in asked, "it has another receiver now"


@pytest.fixture(scope="module")
def said(both: Watch) -> str:
    """Return what is said against a port that is taken, a name that nobody finds and a missing password."""
    store = {
        "url": "https://127.0.0.1/push",
        "basic_auth": {"username": "shop", "password_file": "/etc/prometheus/not-there"},
    }
    return refused(
        both,
        "prometheus",
        prometheus_listen="127.0.0.1:22",
        prometheus_targets=[{"job": "router", "targets": ["gate.nowhere.test:9100"]}],
        prometheus_remote_write=[store],
    )


@pytest.mark.parametrize(
    "sentence",
    [
        "prometheus_listen is 127.0.0.1:22, where sshd",
        "prometheus_targets, job 'router', names gate.nowhere.test, which mon1 does not find",
        "prometheus_remote_write names /etc/prometheus/not-there, which is missing on mon1",
    ],
)
def test_what_cannot_work_is_one_sentence(said: str, sentence: str) -> None:
    """With the variable, before anything is touched. Red when it is found out by a service that fails."""
    assert sentence in said.replace("\n", " ")
