"""What dies comes back without a hand, and who asks meanwhile is not refused."""

import re
import time

import pytest
from client import Site, load, product, wait_until
from testinfra.host import Host

UNITS = {
    "nginx": "nginx.service",
    "postgresql": "postgresql@*-main.service",
    "prometheus": "prometheus.service",
    "grafana": "grafana-server.service",
}

# What is asked on the machine itself; Nginx and PostgreSQL are asked through the site.
ANSWERS = {
    "prometheus": "http://127.0.0.1:9090/-/ready",
    "grafana": "http://127.0.0.1:3000/api/health",
}


# Debian 12 has Redis.
CACHES = "'valkey-server.service' 'redis-server.service'"


def instance(host: Host) -> str:
    """Return the unit of the release that is live."""
    release = host.check_output("basename $(readlink /srv/catalog/current)")
    return f"catalog@{release}.service"


def show(host: Host, unit: str, key: str) -> str:
    """Return one property of a unit; a pattern stands for the one unit that it matches."""
    if "*" in unit:
        unit = host.check_output("systemctl list-units --plain --no-legend %s | head -1", unit).split()[0]
    return str(host.check_output("systemctl show --value -p %s %s", key, unit))


def workers(host: Host) -> set[str]:
    """Return the process ids of the live release's workers."""
    master = show(host, instance(host), "MainPID")
    return set(host.check_output("pgrep -P %s", master).split())


def test_a_killed_worker_is_replaced(host: Host, site: Site) -> None:
    """A worker that is killed is replaced by the master, which goes on.

    Red when the master ends with its worker, or counts a dead one as there.
    """
    before, master = workers(host), show(host, instance(host), "MainPID")
    victim = sorted(before)[0]
    host.check_output("kill -9 %s", victim)
    wait_until("a worker in its place", lambda: len(workers(host) - {victim}) == len(before), 15)
    assert show(host, instance(host), "MainPID") == master
    assert site.is_well()


def test_a_killed_master_refuses_nobody(host: Host, site: Site) -> None:
    """The Gunicorn master is killed under load: systemd holds the socket, connections wait.

    Requests in flight on the killed processes may fail and are counted apart; a connection that is
    refused is a failure. Red with a server that binds its own socket, or without `Restart=`.
    """
    unit = instance(host)
    errors = int(host.check_output("wc -l < /var/log/nginx/error.log"))
    restarts = int(show(host, unit, "NRestarts"))
    clients = 4
    with load(site, lambda number: product(f"{time.time_ns()}-{number}"), clients) as running:
        time.sleep(3)
        killed = time.monotonic()
        host.check_output("systemctl kill --kill-whom=main --signal=KILL %s", unit)
        wait_until("the service again", lambda: int(show(host, unit, "NRestarts")) == restarts + 1, 30)
        wait_until("an answer again", site.is_well, 30)
        time.sleep(3)
    log = host.check_output("tail -n +%s /var/log/nginx/error.log", str(errors + 1))
    refused = re.findall(r"connect\(\).*failed", log)
    in_flight = running.bad()
    print(
        f"{len(running.records)} requests, {running.near(killed)} begun within 1 s of the kill, "
        f"{len(in_flight)} in flight on the killed processes, {len(refused)} refused, "
        f"longest pause {running.longest_pause():.2f} s"
    )
    assert running.near(killed) > 0, "the load missed the kill"
    assert not refused, log
    # A failed request was accepted by a process that died, and a client has one request at a time.
    assert len(in_flight) <= clients, in_flight
    assert all(record.begun < killed + 2 for record in in_flight), in_flight


def writes(site: Site) -> bool:
    """Tell whether several writes in a row are answered well: more than one, as each worker has a pool."""
    made = [site.request("POST", *product(f"again-{time.time_ns()}")).status for _ in range(8)]
    return made == [201] * len(made)


@pytest.mark.parametrize("name", UNITS)
def test_a_killed_service_comes_back(host: Host, site: Site, name: str) -> None:
    """Nginx, PostgreSQL, Prometheus and Grafana come back when their main process is killed, and answer.

    Red without `Restart=`, which Debian's units of Nginx and PostgreSQL lack; with PostgreSQL also when
    dead connections stay in the application's pool, so that it is ready but cannot write.
    """
    unit = UNITS[name]
    master = show(host, unit, "MainPID")
    host.check_output("kill -9 %s", master)

    def back() -> bool:
        return show(host, unit, "ActiveState") == "active" and show(host, unit, "MainPID") not in {
            master,
            "0",
        }

    print(f"{name} is back after {wait_until(f'{name} back', back, 30):.1f} s")
    if name in ANSWERS:
        wait_until(f"{name} answers", lambda: host.run("curl -fsS %s", ANSWERS[name]).rc == 0)
    wait_until("the application well", site.is_well)
    if name == "postgresql":
        assert writes(site), "the application is ready, but a write fails"


def cache(site: Site) -> str:
    """Return what the application says of its cache."""
    return str(site.get("/health/ready").json()["cache"])


def test_a_cache_that_is_down_costs_time_alone(host: Host, site: Site) -> None:
    """The catalogue keeps its lists there; without it every request is answered, and it finds it again.

    Red when the address, the password or the way to the socket is not what the server has.
    """
    unit = host.check_output(f"systemctl list-units --plain --no-legend {CACHES} | cut -d' ' -f1")
    wait_until("the cache", lambda: cache(site) == "answers", 10)
    for _ in range(2):
        assert site.get("/products?limit=3").status == 200
    assert host.check_output("cache-cli --scan --pattern 'catalog:*' | head -1").startswith("catalog:")
    host.check_output("systemctl stop %s", unit)
    try:
        begun = time.monotonic()
        answers = [site.get(f"/products?limit={number}").status for number in range(1, 9)]
        print(f"{len(answers)} answers without a cache in {time.monotonic() - begun:.2f} s")
        assert answers == [200] * len(answers)
        assert cache(site) == "does not answer"
        assert site.is_well()
    finally:
        host.check_output("systemctl start %s", unit)
    print(f"found again after {wait_until('the cache again', lambda: cache(site) == 'answers', 20):.1f} s")
