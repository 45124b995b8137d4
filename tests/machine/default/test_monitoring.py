"""Monitoring has data from the first minute, and shows it to nobody outside."""

import json
import socket
from typing import Any

import pytest
from client import Site, wait_until
from conftest import Lab
from panels import Grafana, shipped
from testinfra.host import Host

JOBS = {"access", "alertmanager", "app", "nginx", "node", "postgres", "probe", "prometheus", "redis"}


def query(host: Host, expression: str) -> list[dict[str, Any]]:
    """Return the result of a query of the machine's Prometheus."""
    answer = host.check_output(
        "curl -fsS --get --data-urlencode %s http://127.0.0.1:9090/api/v1/query", f"query={expression}"
    )
    return list(json.loads(answer)["data"]["result"])


def now(host: Host) -> float:
    """Return the machine's time."""
    return float(host.check_output("date +%s.%N"))


def since(host: Host, begun: float, metric: str) -> dict[str, str]:
    """Return a metric's values by job, those alone that were scraped after a time.

    A query answers with the last scrape, which for some seconds knows nothing of what broke after it.
    """
    rows = query(host, f"{metric} and timestamp({metric}) > {begun:.3f}")
    return {row["metric"]["job"]: row["value"][1] for row in rows}


def test_every_target_is_up(host: Host) -> None:
    """Prometheus reaches the machine, Nginx, PostgreSQL, itself and the application.

    Red when an exporter is stopped, listens elsewhere or may not log in.
    """
    begun = now(host)
    wait_until("all jobs up", lambda: since(host, begun, "up") == dict.fromkeys(JOBS, "1"), 45)


@pytest.mark.parametrize(("job", "metric"), [("nginx", "nginx_up"), ("postgres", "pg_up")])
def test_exporters_reach_what_they_export(host: Host, job: str, metric: str) -> None:
    """An exporter that runs but cannot see its server says `up 0` of it: both are asked.

    Red when Nginx shows its status elsewhere, or when PostgreSQL refuses the exporter's login.
    """
    begun = now(host)
    wait_until(f"a scrape of {metric}", lambda: job in since(host, begun, metric), 45)
    assert since(host, begun, metric)[job] == "1"


def test_requests_are_counted(host: Host, site: Site) -> None:
    """Requests that were sent are in Prometheus within two scrapes, summed over the workers.

    Red when the metrics of one worker are taken for those of all.
    """
    # A release that has just started counts from nothing: what was scraped before is not looked at.
    metric = 'http_requests_total{route="/version"}'
    expression = f"sum({metric} and timestamp({metric}) > {now(host):.3f})"

    def counted() -> float:
        rows = query(host, expression)
        return float(rows[0]["value"][1]) if rows else 0.0

    assert site.get("/version").status == 200
    wait_until("a first count", lambda: counted() > 0)
    before = counted()
    for _ in range(40):
        assert site.get("/version").status == 200
    wait_until("40 more requests counted", lambda: counted() >= before + 40, 45)


@pytest.mark.parametrize(
    "port", [3000, 3903, 5432, 9090, 9093, 9094, 9100, 9101, 9113, 9115, 9121, 9145, 9187]
)
def test_no_inner_port_answers_from_outside(site: Site, port: int) -> None:
    """What is meant for the machine itself is closed to the network.

    Red when a service listens on all addresses.
    """
    with pytest.raises(OSError, match=r"refused|timed out"):
        socket.create_connection((site.address, port), 3).close()


def test_grafana_asks_for_a_password(host: Host) -> None:
    """Nobody reads a dashboard without logging in. Red with anonymous access or the vendor's password."""
    url = "http://127.0.0.1:3000/api/dashboards/uid/fastapi-metal-fleet"
    assert host.run("curl -fsS %s", url).rc != 0
    assert host.run("curl -fsS -u admin:admin %s", url).rc != 0


def test_grafana_has_the_dashboards_and_their_figures(host: Host, lab: Lab) -> None:
    """Every dashboard that is shipped is there, panel for panel, and its datasource answers.

    Red when a dashboard is missing, or when the datasource leads elsewhere.
    """
    grafana = Grafana(host, lab.variable("grafana_admin_password"))
    for dashboard in shipped():
        found = grafana.dashboard(dashboard["uid"])
        assert [panel["title"] for panel in found["panels"]] == [
            panel["title"] for panel in dashboard["panels"]
        ]
    assert grafana.query("up"), "the datasource has nothing"
