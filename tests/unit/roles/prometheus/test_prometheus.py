"""What Prometheus is told to ask, to keep and to listen on."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

APP = {"job": "app", "targets": ["127.0.0.1:9145"]}


def jobs(make_role: Any, *targets: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the static configurations of each job."""
    config = yaml.safe_load(
        make_role("prometheus", prometheus_targets=list(targets)).render("prometheus.yml.j2")
    )
    names = [entry["job_name"] for entry in config["scrape_configs"]]
    assert len(names) == len(set(names)), "Prometheus refuses two jobs of one name"
    return {entry["job_name"]: entry["static_configs"] for entry in config["scrape_configs"]}


def test_prometheus_watches_itself(make_role: Any) -> None:
    """Without any target there is still one."""
    assert jobs(make_role)["prometheus"][0]["targets"] == ["127.0.0.1:9090"]


def test_applications_share_a_job_and_keep_their_paths(make_role: Any) -> None:
    """Two applications are one job, told apart by label and asked at their own path."""
    found = jobs(
        make_role,
        APP | {"metrics_path": "/metrics/shop", "labels": {"app": "shop"}},
        APP | {"metrics_path": "/metrics/blog", "labels": {"app": "blog"}},
    )["app"]
    assert [(entry["labels"]["app"], entry["labels"]["__metrics_path__"]) for entry in found] == [
        ("shop", "/metrics/shop"),
        ("blog", "/metrics/blog"),
    ]


def test_every_figure_says_whose_it_is(make_role: Any) -> None:
    """Label `host` is this machine's name, unless the target says another."""
    here, there = jobs(
        make_role,
        {"job": "node", "targets": ["127.0.0.1:9100"]},
        {"job": "node", "targets": ["10.0.0.2:9100"], "labels": {"host": "db1"}},
    )["node"]
    assert (here["labels"]["host"], there["labels"]["host"]) == ("web1", "db1")


def test_labels_cannot_break_the_file(make_role: Any) -> None:
    """Signs that mean something in YAML, and numbers, arrive as text."""
    labels = {"a": "x: [y", "b": '"', "c": "yes", "d": "#"}
    found = jobs(make_role, {"job": "a: b", "targets": ["h:1"], "labels": labels})["a: b"][0]["labels"]
    assert {key: found[key] for key in labels} == labels


def test_the_web_interface_is_on_loopback(make_role: Any) -> None:
    """Prometheus knows no passwords."""
    assert "--web.listen-address=127.0.0.1:9090 " in make_role("prometheus").render("default.j2")


def test_retention_is_the_inventorys(make_role: Any) -> None:
    """Both bounds reach the command line."""
    role = make_role("prometheus", prometheus_retention_time="90d", prometheus_retention_size="20GB")
    line = role.render("default.j2")
    assert "--storage.tsdb.retention.time=90d" in line
    assert "--storage.tsdb.retention.size=20GB" in line


@pytest.mark.parametrize(
    ("written", "state"),
    [
        ([], "started"),
        (["/etc/prometheus/prometheus.yml"], "reloaded"),
        (["/etc/default/prometheus"], "restarted"),
        (["/etc/default/prometheus", "/etc/prometheus/prometheus.yml"], "restarted"),
    ],
)
def test_a_new_target_costs_no_restart(make_role: Any, written: list[str], state: str) -> None:
    """Only arguments and unit need one; a restart is a gap in every graph."""
    assert (
        make_role("prometheus", __prometheus_files={"written": written}).value("__prometheus_state") == state
    )
