"""What is watched has data, exact data, and shows it to nobody else."""

import threading
import time
from collections.abc import Iterator

import pytest
from client import wait_until
from conftest import Lab, say
from sink import Sink, sink
from watch import PORT, Watch, figures, watch

# Figures that this scenario's machines do not have, and why.
EMPTY = {
    "backup_last_success_timestamp_seconds": "nothing makes backups yet",
    "redis": "no cache; the scenario has none",
    "pg_replication_lag": "one database server; and its exporter has the figure in seconds",
    "database_connections": "the application has no pool that it counts",
    "cache_reads_total": "the application has no cache that it counts",
    "app:pool_in_use:ratio": "as database_connections",
    "app:cache_hits:ratio_rate5m": "as cache_reads_total",
    "node_pressure_memory": "a kernel without pressure figures has none",
    "host:memory_pressure": "as node_pressure_memory",
    "unit_failed": "absent while no unit is failed",
    "unit_cpu_seconds_total": "the lab's control groups count no processor time of units",
    "host_maintenance_until_seconds": "nobody works on the machines",
    "alertmanager_notifications_failed_total": "there once something was sent",
}
# A release that has just begun grows, which in seconds looks like a leak.
OF_SECONDS = {"WorkerLeak"}


@pytest.fixture(scope="module")
def both(lab: Lab) -> Watch:
    """Return the two machines."""
    return watch(lab)


@pytest.fixture(scope="module")
def told(lab: Lab) -> Iterator[Sink]:
    """Listen as a receiver."""
    with sink(lab.info["gateway"], PORT) as found:
        yield found


def test_every_target_of_the_inventory_is_up(both: Watch) -> None:
    """Every exporter of both machines, each release and the public name answer, with their labels.

    Red when the gateway is down, its certificate is not trusted, or a target is missing.
    """
    wanted = {
        ("node", "web1", ""),
        ("nginx", "web1", ""),
        ("postgres", "web1", ""),
        ("app", "web1", "meter"),
        ("node", "mon1", ""),
        ("probe", "mon1", "meter"),
        ("prometheus", "mon1", ""),
        ("alertmanager", "mon1", ""),
    }

    def up() -> bool:
        rows = [row["metric"] for row in both.query('up{environment="production"} == 1')]
        return {(row["job"], row["host"], row.get("app", "")) for row in rows} == wanted

    wait_until("all targets up", up, 30)
    wait_until("the probe sees the site", lambda: both.number("probe_success") == 1, 20)


def test_every_query_of_every_rule_has_data(both: Watch) -> None:
    """Whatever a rule asks for is there, but for what is listed with its reason.

    Red when a rule asks for a name that no exporter of Debian 12 or 13 has.
    """
    rules = both.rules()
    assert len(rules) >= 100, "nothing was looked at"
    assert not [rule["name"] for rule in rules if rule["health"] == "err"]
    asked = set().union(*(figures(rule["query"]) for rule in rules))
    asked |= {rule["name"] for rule in rules if rule["type"] == "recording"}
    there = set(both.ask("label/__name__/values"))

    def missing() -> list[str]:
        there.update(both.ask("label/__name__/values"))
        return sorted(name for name in asked - there if not any(name.startswith(key) for key in EMPTY))

    deadline = time.monotonic() + 60
    while (found := missing()) and time.monotonic() < deadline:
        time.sleep(2)
    assert not found
    say(f"monitoring: {len(rules)} rules ask for {len(asked)} figures, {len(asked - there)} may be absent")


def test_what_was_sent_is_what_is_counted(both: Watch, told: Sink) -> None:
    """A release switches and a worker ends under load: sums over releases are exactly what was sent.

    Red when an old release is stopped before its last requests were read. Nobody is alarmed by a deploy.
    """
    begun = time.time()
    code = 230 + int(begun) % 60
    sent: list[int] = []
    over = threading.Event()

    def load() -> None:
        while not over.is_set():
            assert both.site.get(f"/status/{code}").status == code
            sent.append(1)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert both.site.get("/forget").status == 200
        deployed = both.lab.deploy("meter", env={"SWITCH": str(begun)})
        time.sleep(1)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert deployed.returncode == 0, deployed.stdout[-3000:]
    series = f'http_requests_total{{app="meter",status="{code}"}}'
    counted = f"sum(max_over_time({series}[15m]))"
    wait_until("all of them counted", lambda: both.number(counted) == len(sent), 20)
    time.sleep(6)
    assert both.number(counted) == len(sent), "and none twice"
    releases = both.query(f"count by (release) (max_over_time({series}[15m]))")
    assert len(releases) == 2, "the load was on one release only"
    assert told.names(begun) <= OF_SECONDS, "a deploy alarms nobody"
    seconds = both.number('max(scrape_duration_seconds{job="app"})')
    say(f"monitoring: {len(sent)} requests over a switch, all counted; a scrape of the app {seconds:.3f} s")


@pytest.mark.parametrize("machine", ["web1", "mon1"])
def test_no_port_of_the_watch_answers_another_machine(both: Watch, machine: str) -> None:
    """Nothing but the gateway is reachable, and that one wants TLS and a password.

    Red when an exporter, Prometheus or Alertmanager listens on more than loopback.
    """
    asking = both.mon if machine == "web1" else both.web
    address = both.lab.address(machine)
    ports = (3000, 5432, 9090, 9093, 9094, 9100, 9101, 9113, 9115, 9121, 9145, 9187)
    script = (
        "import socket, sys\n"
        "for port in map(int, sys.argv[2:]):\n"
        "    with socket.socket() as s:\n"
        "        s.settimeout(3)\n"
        "        print(port) if s.connect_ex((sys.argv[1], port)) == 0 else None\n"
    )
    numbers = " ".join(map(str, ports))
    answered = asking.check_output(f"python3 -c %s %s {numbers}", script, address).split()
    assert answered == (["9101"] if machine == "web1" else [])
    if machine == "web1":
        status = asking.check_output(
            "curl -sk -o /dev/null -w '%%{http_code}' %s", f"https://{address}:9101/node"
        )
        assert status == "401"


def test_watching_is_cheap(both: Watch) -> None:
    """What watches takes little: Prometheus, Alertmanager, exporters and gateway together under 300 MB.

    Red when a figure explodes into labels.
    """
    script = (
        "for unit in prometheus prometheus-alertmanager prometheus-node-exporter "
        "prometheus-blackbox-exporter exporters-gateway; "
        "do systemctl show --value -p MemoryCurrent $unit; done"
    )
    taken = sum(int(line) for line in both.mon.check_output(script).split()) >> 20
    say(f"monitoring: what watches takes {taken} MB together")
    assert taken < 300
