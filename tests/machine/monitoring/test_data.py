"""What is watched has data, exact data, and shows it to nobody else."""

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from client import Site, wait_until
from conftest import say
from played import why
from sink import Sink
from watch import Watch, figures

pytest_plugins = ["watched"]

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
# A release that has just begun grows, which in seconds looks like a leak; on a busy host visitors wait.
OF_SECONDS = {"WorkerLeak", "AppLatencyFast", "AppLatencySlow"}


def test_every_target_of_the_inventory_is_up(both: Watch) -> None:
    """Every exporter of every machine, each release and the public names answer, with their labels.

    Red when the gateway is down, its certificate is not trusted, or a target is missing.
    """
    wanted = {
        ("node", "web1", ""),
        ("nginx", "web1", ""),
        ("postgres", "web1", ""),
        ("access", "web1", ""),
        ("app", "web1", "meter"),
        ("node", "web2", ""),
        ("nginx", "web2", ""),
        ("access", "web2", ""),
        ("app", "web2", "meter"),
        ("node", "mon1", ""),
        ("probe", "mon1", "meter"),
        ("probe", "mon1", "plain"),
        ("prometheus", "mon1", ""),
        ("alertmanager", "mon1", ""),
        ("node", "mon2", ""),
        ("prometheus", "mon2", ""),
        ("alertmanager", "mon2", ""),
    }

    def up() -> bool:
        rows = [row["metric"] for row in both.query('up{environment="production"} == 1')]
        return {(row["job"], row["host"], row.get("app", "")) for row in rows} == wanted

    wait_until("all targets up", up, 60)
    wait_until("the probe sees the sites", lambda: both.number("min(probe_success)") == 1, 60)


def test_every_query_of_every_rule_has_data(both: Watch) -> None:
    """Whatever a rule asks for is there, but for what is listed with its reason.

    Red when a rule asks for a name that no exporter of Debian 12 or 13 has.
    """
    # There once the micro-cache was asked.
    assert both.lab.site("plain").get("/status/200").status == 200
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


@contextmanager
def visitors(site: Site, path: str, status: int) -> Iterator[list[int]]:
    """Let three visitors ask all the time; yield the list that gets one entry for each answer."""
    sent: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            assert site.get(path).status == status
            sent.append(1)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_what_was_sent_is_what_is_counted(both: Watch, told: Sink) -> None:
    """Four workers, one of them ends; a switch; one worker, it is killed: the sum is exactly what was sent.

    Red when an old release is stopped before its last requests were read, or a worker's count goes with it.
    Nobody is alarmed by a deploy.
    """
    begun = time.time()
    code = 230 + int(begun) % 60
    path = f"/status/{code}"
    with visitors(both.site, path, code) as sent:
        wait_until("visitors", lambda: len(sent) > 20)
        assert both.site.get("/forget").status == 200
        deployed = both.lab.deploy("meter", server={"workers": 1, "graceful_timeout": 5})
        before = len(sent)
        wait_until("visitors of the new release", lambda: len(sent) > before + 20)
    assert deployed.returncode == 0, why(deployed)
    (worker,) = both.workers()
    both.web.check_output("kill -9 %s", worker)
    wait_until(
        "another worker", lambda: both.workers() not in ([], [worker]) and both.site.is_well("/health")
    )
    for _ in range(20):
        assert both.site.get(path).status == code
    total = len(sent) + 20

    series = f'http_requests_total{{app="meter",status="{code}"}}'
    counted = f"sum(max_over_time({series}[15m]))"
    wait_until("all of them counted", lambda: both.number(counted) == total, 60)
    # Nothing comes later: three scrapes of the same.
    seen = both.number(f"max(timestamp({series}))")
    wait_until("more scrapes", lambda: both.number(f"max(timestamp({series}))") >= seen + 6, 60)
    assert both.number(counted) == total, "and none twice"
    releases = both.query(f"count by (release) (max_over_time({series}[15m]))")
    assert len(releases) == 2, "the load was on one release only"
    assert told.names(begun, app="meter") <= OF_SECONDS, "a deploy alarms nobody"
    say(f"monitoring: {total} requests over a switch from 4 workers to 1 and a kill -9, all counted")


def test_a_scrape_costs_the_same_however_many_workers_have_ended(both: Watch) -> None:
    """Eight workers, fifty and more replacements: no more files than before, and under 30 ms.

    Red when each worker leaves files behind that every scrape reads.
    """
    server = {"workers": 8, "preload": True, "graceful_timeout": 5}
    deployed = both.lab.deploy("meter", server=server, limits={"memory": "1G"})
    assert deployed.returncode == 0, why(deployed)
    release = both.release()

    def files() -> int:
        return len(both.web.check_output("ls /run/meter/%s/metrics", release).split())

    def all_serve() -> bool:
        return both.number(f'sum(app_workers{{release="{release}",host="web1"}})') == 8

    def ask() -> None:
        for code in (*range(200, 204), *range(400, 422)):
            both.site.get(f"/status/{code}")

    wait_until("eight workers", all_serve)
    ask()
    ended = 0
    while ended < 50:
        old = both.workers()
        both.web.check_output("kill -9 " + " ".join(old))
        wait_until("eight others", lambda old=old: len(set(both.workers()) - set(old)) == 8)  # type: ignore[misc]
        wait_until("an answer", lambda: both.site.is_well("/health"))
        ended += len(old)
        ask()
    wait_until("eight workers again", all_serve)
    url = f"http://127.0.0.1:9101/app/meter/{release}"
    timed = both.web.check_output(
        f"for n in $(seq 21); do curl -fs -o /dev/null -w '%{{time_total}}\\n' {url}; done"
    )
    seconds = sorted(map(float, timed.split()))
    say(
        f"monitoring: a scrape with 8 workers after {ended} ended: {statistics.median(seconds) * 1000:.0f} "
        f"({seconds[0] * 1000:.0f} to {seconds[-1] * 1000:.0f}) ms; {files()} files"
    )
    # One of each kind for each of the eight, and for what the master made before it forked.
    assert files() <= 9 * len(KINDS)
    # The quickest says what it takes; the others, what else the machine did.
    assert seconds[0] < 0.03


def test_an_application_without_figures_has_rate_errors_and_latency(both: Watch) -> None:
    """Nginx has written down each request: they are counted exactly, by status, and so is the micro-cache.

    Red when the log is not read, is read twice, or is not brought together with the application.
    """
    site = both.lab.site("plain")
    where = 'host="web1",site="plain.lab.test"'
    counted = f'sum(site_requests_total{{{where},status="251"}})'
    before = both.number(counted)

    def kept(result: str) -> float:
        return both.number(f'sum(site_cache_total{{{where},result="{result}"}})')

    hits = kept("HIT")
    for _ in range(30):
        assert site.get("/status/251").status == 251
    # The first of them may be there already, from a run before.
    answers = [site.get("/status/200").headers["x-cache-status"] for _ in range(12)]
    wait_until("all of them", lambda: both.number(counted) >= before + 30, 60)
    wait_until("its hits", lambda: kept("HIT") == hits + answers.count("HIT"), 60)
    assert answers.count("HIT") >= 11
    assert both.number(counted) == before + 30
    figures = {
        "rate": 'app:http_requests:rate5m{app="plain"} > 0',
        "errors": 'app:http_errors:ratio_rate5m{app="plain"} == 0',
        "latency": 'app:http_request_duration_seconds:p95_5m{app="plain"} < 1',
        "micro-cache": 'app:micro_cache_hits:ratio_rate5m{app="plain"} > 0',
        "memory": 'unit_memory_bytes{app="plain"} > 0',
    }

    def there(query: str) -> bool:
        # Rates are over a few seconds, so somebody has to ask.
        return site.get("/status/200").status == 200 and bool(both.query(query))

    for name, query in figures.items():
        wait_until(name, partial(there, query), 30)
    assert not both.query('up{job="app",app="plain"}'), "it is asked for figures that it does not show"


# What the files of metrics are called after.
KINDS = ("counter", "histogram", "gauge_livesum")
# Says which of the ports from 1 to 20,000 an address answers at.
SCAN = """
import asyncio, sys
many = asyncio.Semaphore(400)
async def asked(port):
    async with many:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(sys.argv[1], port), 2)
        except (OSError, asyncio.TimeoutError):
            return None
        writer.close()
        return port
async def all_of_them():
    return await asyncio.gather(*map(asked, range(1, 20001)))
print(*filter(None, asyncio.run(all_of_them())))
"""
SERVED = {"web1": "22 80 443 9101", "web2": "22 80 443 9101", "mon1": "22 9094 9101", "mon2": "22 9094 9101"}


@pytest.mark.parametrize("machine", SERVED)
def test_no_port_of_the_watch_answers_another_machine(both: Watch, machine: str) -> None:
    """A scan finds SSH, the sites and the gateway, and that one wants TLS and a password.

    Where two agree on what is told (9094), test_pair.py looks at who may take part.

    Red when an exporter, Prometheus or Alertmanager listens on more than loopback.
    """
    asking = both.web if machine == "mon1" else both.mon
    address = both.lab.address(machine)
    assert asking.check_output("nice python3 -c %s %s", SCAN, address) == SERVED[machine]
    if "9101" in SERVED[machine]:
        url = f"https://{address}:9101/node"
        assert asking.check_output("curl -sk -o /dev/null -w '%%{http_code}' %s", url) == "401"
        assert asking.run("curl -sS http://%s:9101/node", address).stdout.count("HELP") == 0


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
