"""What Prometheus is told to ask, to keep and to listen on."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError

APP = {"job": "app", "targets": ["127.0.0.1:9101"]}


def jobs(make_role: Any, *targets: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the files of targets by job."""
    role = make_role("prometheus", prometheus_targets=list(targets))
    config = yaml.safe_load(role.render("prometheus.yml.j2"))
    names = [entry["job_name"] for entry in config["scrape_configs"]]
    assert len(names) == len(set(names)), "Prometheus refuses two jobs of one name"
    groups: dict[str, list[dict[str, Any]]] = role.value("__prometheus_groups")
    assert set(names) == set(groups)
    return groups


def test_prometheus_watches_itself(make_role: Any) -> None:
    """Without any target there is still one."""
    assert jobs(make_role)["prometheus"][0]["targets"] == ["127.0.0.1:9090"]


def test_targets_share_a_job_and_keep_their_paths(make_role: Any) -> None:
    """Two entries of one job are told apart by label and asked at their own path, in their own way."""
    found = jobs(
        make_role,
        APP | {"metrics_path": "/metrics/shop", "labels": {"app": "shop"}},
        APP | {"scheme": "https", "params": {"module": "site"}, "labels": {"app": "blog"}},
    )["app"]
    assert [entry["labels"] for entry in found] == [
        {"host": "web1", "app": "shop", "__metrics_path__": "/metrics/shop", "__scheme__": "http"},
        {
            "host": "web1",
            "app": "blog",
            "__metrics_path__": "/metrics",
            "__scheme__": "https",
            "__param_module": "site",
        },
    ]


def test_every_figure_says_whose_it_is(make_role: Any) -> None:
    """Label `host` is this machine's name, unless the target says another."""
    here, there = jobs(
        make_role,
        {"job": "node", "targets": ["127.0.0.1:9100"]},
        {"job": "node", "targets": ["10.0.0.2:9100"], "labels": {"host": "db1"}},
    )["node"]
    assert (here["labels"]["host"], there["labels"]["host"]) == ("web1", "db1")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"job": "a: b", "targets": ["h:1"]}, "the name may hold letters"),
        ({"job": "../x", "targets": ["h:1"]}, "the name may hold letters"),
        ({"job": "node", "targets": ["h"]}, "must be an address with a port, like '10.0.0.11:9100'"),
        ({"job": "node", "targets": ["h:1"], "labels": {"a-b": "c"}}, "label 'a-b' may hold letters"),
    ],
)
def test_what_prometheus_could_not_read_is_refused(
    make_role: Any, row: dict[str, Any], complaint: str
) -> None:
    """One sentence with the job and a value that works."""
    with pytest.raises(AnsibleError, match=re.escape(complaint)):
        jobs(make_role, row)


HOSTS = {
    "web1": {
        "exporters_enabled": ["node", "nginx"],
        "exporters_gateway_address": "10.0.0.11",
    },
    "mon1": {"exporters_enabled": ["node", "probe"]},
    "old1": {"exporters_enabled": []},
}
GROUPS = {"all": ["web1", "mon1", "old1"], "web": ["web1"], "monitoring": ["mon1"]}
APPS = {
    "shop": {"domain": "shop.example.org", "aliases": ["www.example.org"], "web": {"path": "/shop"}},
    "mute": {"domain": "mute.example.org", "web": {"metrics": False}},
}


def fleet(make_role: Any, expression: str, **hostvars: Any) -> Any:
    """Return what a filter makes of an inventory, seen from the machine mon1."""
    role = make_role("prometheus", fleet_apps=APPS, fleet_groups=GROUPS, fleet_hosts=HOSTS | hostvars)
    return role.value("{{ " + expression + "(fleet_groups, fleet_hosts, 'mon1') }}")


def test_every_exporter_of_every_machine_is_a_target(make_role: Any) -> None:
    """The own machine is asked on loopback, others with TLS; one that measures nothing is left out."""
    rows = fleet(make_role, "fleet_apps | prometheus_fleet")
    asked = [(row["job"], row["scheme"], row["targets"][0], row["labels"]["host"]) for row in rows]
    assert asked[:3] == [
        ("node", "http", "127.0.0.1:9101", "mon1"),
        ("node", "https", "10.0.0.11:9101", "web1"),
        ("nginx", "https", "10.0.0.11:9101", "web1"),
    ]
    assert [row["params"]["target"] for row in rows[3:]] == [
        "https://mute.example.org/",
        "https://shop.example.org/shop",
        "https://www.example.org/shop",
    ]


def test_what_a_machine_shows_by_itself_is_a_target(make_role: Any) -> None:
    """A service's own figures go through the gateway too, and Prometheus is then not asked twice."""
    own = {"exporters_enabled": ["node"], "exporters_own": {"prometheus": "http://127.0.0.1:9090/metrics"}}
    rows = fleet(make_role, "fleet_apps | prometheus_fleet", mon1=own)
    (row,) = [row for row in rows if row["job"] == "prometheus"]
    assert (row["metrics_path"], row["targets"]) == ("/prometheus", ["127.0.0.1:9101"])
    assert len(jobs(make_role, row)["prometheus"]) == 1


def test_machines_are_asked_which_releases_they_have(make_role: Any) -> None:
    """Only those that run an application with figures."""
    assert fleet(make_role, "fleet_apps | prometheus_releases") == [
        "https://10.0.0.11:9101/releases?host=web1"
    ]


def test_a_machine_that_cannot_be_asked_is_named(make_role: Any) -> None:
    """Its gateway is on loopback: the sentence says which file and which value."""
    with pytest.raises(AnsibleError, match=r"host_vars/web1.yml, for example `exporters_gateway_address: 10"):
        fleet(make_role, "fleet_apps | prometheus_fleet", web1={"exporters_enabled": ["node"]})


def test_releases_are_known_by_where_they_were_asked(make_role: Any) -> None:
    """A machine cannot speak for another one: address and name come from the address of its list."""
    role = make_role("prometheus", prometheus_releases=["https://10.0.0.11:9101/releases?host=web1"])
    config = yaml.safe_load(role.render("prometheus.yml.j2"))
    app = next(entry for entry in config["scrape_configs"] if entry["job_name"] == "app")
    assert {rule.get("target_label") for rule in app["relabel_configs"]} == {
        "environment",
        "__scheme__",
        "__address__",
        "host",
        "instance",
    }
    assert app["http_sd_configs"][0]["basic_auth"]["username"] == "prometheus"


def test_a_promise_for_nobody_is_refused(make_role: Any) -> None:
    """A name that is no application's would be watched in vain."""
    role = make_role("prometheus", prometheus_apps=["shop"], prometheus_objectives={"shpo": {"errors": 0.1}})
    with pytest.raises(AnsibleError, match="names 'shpo', which is none of the applications: shop"):
        role.value("__prometheus_objectives")


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
        (["/etc/prometheus/rules/waste.yml"], "reloaded"),
        (["/etc/default/prometheus"], "restarted"),
        (["/etc/default/prometheus", "/etc/prometheus/prometheus.yml"], "restarted"),
    ],
)
def test_a_new_target_costs_no_restart(make_role: Any, written: list[str], state: str) -> None:
    """Only arguments and unit need one; a restart is a gap in every graph."""
    assert (
        make_role("prometheus", __prometheus_files={"written": written}).value("__prometheus_state") == state
    )


def test_what_must_be_found_and_read_is_known_before(make_role: Any) -> None:
    """Names of targets, of Alertmanager and of other stores, and the files with their secrets."""
    store = {
        "url": "https://mimir.example.org/api/v1/push",
        "basic_auth": {"username": "shop", "password_file": "/etc/prometheus/mimir"},
        "tls_config": {"ca_file": "/etc/prometheus/mimir.crt"},
    }
    role = make_role(
        "prometheus",
        prometheus_targets=[{"job": "router", "targets": ["gate.example.org:9100", "[fd00::1]:9100"]}],
        prometheus_alertmanagers=["127.0.0.1:9093"],
        prometheus_remote_write=[store],
    )
    found = role.value("__prometheus_find")
    assert {(row["name"], row["variable"].split(",")[0]) for row in found} == {
        ("gate.example.org", "prometheus_targets"),
        ("fd00::1", "prometheus_targets"),
        ("127.0.0.1", "prometheus_alertmanagers"),
        ("mimir.example.org", "prometheus_remote_write"),
    }
    assert [row["path"] for row in role.value("__prometheus_read")] == [
        "/etc/prometheus/mimir",
        "/etc/prometheus/mimir.crt",
    ]
