"""Monitoring has data from the first minute, and shows it to nobody outside."""

import json
import socket
import time
from typing import Any

import pytest
from client import Site, wait_until
from conftest import Lab
from testinfra.host import Host

JOBS = {"app", "nginx", "node", "postgres", "prometheus"}


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


@pytest.mark.parametrize("port", [3000, 5432, 9090, 9100, 9113, 9145, 9187])
def test_no_inner_port_answers_from_outside(site: Site, port: int) -> None:
    """What is meant for the machine itself is closed to the network.

    Red when a service listens on all addresses.
    """
    with pytest.raises(OSError, match=r"refused|timed out"):
        socket.create_connection((site.address, port), 3).close()


def grafana(host: Host, path: str, password: str, *arguments: str) -> dict[str, Any]:
    """Ask Grafana's API as admin; the password travels on standard input, not on a command line."""
    netrc = f"machine 127.0.0.1 login admin password {password}"
    command = " ".join(["curl -fsS --netrc-file /dev/stdin --get", *["%s"] * len(arguments)])
    answer = host.check_output(f"printf %s | {command} %s", netrc, *arguments, f"http://127.0.0.1:3000{path}")
    document: dict[str, Any] = json.loads(answer)
    return document


def dashboard(host: Host, password: str) -> dict[str, Any]:
    """Return the provisioned dashboard as Grafana gives it out."""
    document = grafana(host, "/api/dashboards/uid/fastapi-metal-overview", password)
    found: dict[str, Any] = document["dashboard"]
    return found


def test_grafana_asks_for_a_password(host: Host) -> None:
    """Nobody reads a dashboard without logging in. Red with anonymous access or the vendor's password."""
    url = "http://127.0.0.1:3000/api/dashboards/uid/fastapi-metal-overview"
    assert host.run("curl -fsS %s", url).rc != 0
    assert host.run("curl -fsS -u admin:admin %s", url).rc != 0


def test_every_query_of_the_dashboard_has_data(host: Host, lab: Lab) -> None:
    """Each panel's query returns rows when Grafana passes it on to Prometheus.

    Red when a metric is named wrongly, a label is missing or the datasource leads elsewhere.
    """
    password = lab.variable("grafana_admin_password")
    proxy = "/api/datasources/proxy/uid/prometheus/api/v1/query"
    panels = dashboard(host, password)["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert len(queries) >= 10, "nothing was looked at"

    def empty() -> list[str]:
        answers = {
            query: grafana(host, proxy, password, "--data-urlencode", f"query={query}") for query in queries
        }
        return [query for query, answer in answers.items() if not answer["data"]["result"]]

    deadline = time.monotonic() + 60  # a rate needs two scrapes
    while (missing := empty()) and time.monotonic() < deadline:
        time.sleep(2)
    assert not missing
