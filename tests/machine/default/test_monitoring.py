"""Monitoring has data from the first minute, and shows it to nobody outside."""

import json
import socket

import pytest
from client import Site, wait_until
from testinfra.host import Host

JOBS = {"app", "nginx", "node", "postgres", "prometheus"}


def query(host: Host, expression: str) -> list[dict[str, object]]:
    """Return the result of a query of the machine's Prometheus."""
    answer = host.check_output(
        "curl -fsS --get --data-urlencode %s http://127.0.0.1:9090/api/v1/query", f"query={expression}"
    )
    return list(json.loads(answer)["data"]["result"])


def up(host: Host) -> dict[str, str]:
    """Return each job's `up`, by job."""
    return {row["metric"]["job"]: row["value"][1] for row in query(host, "up")}  # type: ignore[index]


def test_every_target_is_up(host: Host) -> None:
    """Prometheus reaches the machine, Nginx, PostgreSQL, itself and the application.

    Red when an exporter is stopped, listens elsewhere or may not log in.
    """
    wait_until("all jobs up", lambda: up(host) == dict.fromkeys(JOBS, "1"))


def test_exporters_reach_what_they_export(host: Host) -> None:
    """An exporter that runs but cannot see its server says `up 0` of it: both are asked."""
    assert query(host, "nginx_up")[0]["value"][1] == "1"  # type: ignore[index]
    assert query(host, "pg_up")[0]["value"][1] == "1"  # type: ignore[index]


def test_requests_are_counted(host: Host, site: Site) -> None:
    """Requests that were sent are in Prometheus within two scrapes, summed over the workers.

    Red when the metrics of one worker are taken for those of all.
    """
    expression = 'sum(http_requests_total{route="/version"})'

    def counted() -> float:
        rows = query(host, expression)
        return float(rows[0]["value"][1]) if rows else 0.0  # type: ignore[index]

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


def grafana(host: Host, path: str, password: str) -> str:
    """Ask Grafana's API as admin; the password travels in a file, not on a command line."""
    command = "curl -fsS --netrc-file /dev/stdin http://127.0.0.1:3000%s"
    netrc = f"machine 127.0.0.1 login admin password {password}"
    return str(host.check_output(f"printf '%s' {netrc!r} | {command}", path))
