"""A cache on another machine: the catalogue reaches it over TLS, and does without it when it is away."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import testinfra
import yaml
from client import wait_until
from conftest import ROOT, Lab
from played import why
from testinfra.host import Host

SERVER, CLIENT = "mon1", "web1"
CERTIFICATE = "/etc/ssl/cache-of-the-lab.crt"
CURL = "curl -s --max-time 20 --unix-socket /srv/catalog/current/app.sock"
SITE = "http://catalog.lab.test"
ASK = f"{CURL} -o /dev/null -w '%{{http_code}} %{{time_total}}\\n'"
FORTY = f"for n in $(seq 1 40); do {ASK} {SITE}/products?limit=$n; done"
# Of the inventory of the lab, which has another application in this scenario.
CATALOG = yaml.safe_load((ROOT / "inventories/lab/group_vars/all/apps.yml").read_text())["apps"]["catalog"]
# On the client alone: the scenario has another web machine.
HERE = {"source": {"path": str(ROOT / "app")}, "hosts": "database"}
KEY = "known-to-everybody-good-for-the-lab-alone"


def machine(lab: Lab, name: str) -> Host:
    """Return one machine; commands run as root."""
    return testinfra.get_host(f"ssh://{name}", ssh_config=lab.info["ssh_config"], sudo=True)


@pytest.fixture(scope="module")
def server(lab: Lab) -> Host:
    """Return the machine with the cache, a Redis of Debian 12."""
    return machine(lab, SERVER)


@pytest.fixture(scope="module")
def client(lab: Lab, server: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Return the machine with the catalogue, whose cache is on the other one."""
    host = machine(lab, CLIENT)
    groups = tmp_path_factory.mktemp("groups") / "hosts.yml"
    groups.write_text(json.dumps({"all": {"children": {"cache": {"hosts": {SERVER: {}}}}}}))
    with_cache = replace(lab, inventories=(*lab.inventories, str(groups)))
    apps = {**lab.variable("apps"), "catalog": {**CATALOG, **HERE}}
    own = {
        "apps": apps,
        # The name leads nowhere here, and nobody asks for a certificate.
        "certbot_preflight": False,
        "valkey_listen_addresses": [lab.address(SERVER)],
        "valkey_client_networks": [lab.address(CLIENT)],
        "app_cache_url": f"rediss://{lab.address(SERVER)}:6379/0?ssl_ca_certs={CERTIFICATE}",
    }
    try:
        done = with_cache.playbook("site", "--tags=valkey,postgresql", **own)
        assert done.returncode == 0, why(done)
        trusted = server.check_output("cat /etc/redis/tls/self-signed-*.crt")
        host.check_output("printf %%s %s > %s", trusted, CERTIFICATE)
        done = with_cache.playbook("deploy", app="catalog", **own)
        assert done.returncode == 0, why(done)
        yield host
    finally:
        # As the other tests find the machines.
        lab.playbook("remove", app="catalog", remove_data=True)
        server.run("systemctl disable --now redis-server")


def cache(client: Host) -> str:
    """Return what readiness says of the cache; it is ready whatever that is."""
    answer = json.loads(client.check_output(f"{CURL} --fail {SITE}/health/ready"))
    return str(answer["cache"])


def reads(client: Host, result: str) -> float:
    """Return how many reads of all workers found this in the cache."""
    numbers = client.check_output(f"{CURL} --fail {SITE}/metrics")
    (found,) = re.findall(rf'^cache_reads_total{{result="{result}"}} (\S+)$', numbers, re.M)
    return float(found)


def ask_all(client: Host) -> list[float]:
    """Ask for forty lists, which must be answered; return how long each took."""
    lines = client.check_output(FORTY).splitlines()
    assert {line.split()[0] for line in lines} == {"200"}, lines
    return sorted(float(line.split()[1]) for line in lines)


def forty_kept(client: Host) -> bool:
    """Ask twice for forty lists; tell whether the second time all of them were kept there."""
    ask_all(client)
    before = reads(client, "hit")
    ask_all(client)
    return reads(client, "hit") == before + 40


def add(client: Host, sku: str) -> str:
    """Add a product; return the status."""
    body = json.dumps({"sku": sku, "name": "Far", "price": "1"})
    status: str = client.check_output(
        f"{CURL} -o /dev/null -w '%{{http_code}}' -H 'Authorization: Bearer {KEY}' "
        f"-H 'Content-Type: application/json' -d '{body}' {SITE}/products"
    )
    return status


def test_reads_are_served_from_another_machine(client: Host, server: Host, lab: Lab) -> None:
    """What was read once is answered from there, to the application's own user, until something is written.

    Red when the address, the password or the trusted certificate is not what the server has.
    """
    assert cache(client) == "answers"
    wait_until("forty reads from it", lambda: forty_kept(client), 60)
    assert int(server.check_output("cache-cli --scan --pattern 'catalog:*' | wc -l")) > 40
    known = server.check_output("cache-cli client list")
    assert re.search(rf"addr={re.escape(lab.address(CLIENT))}:\d+ .* user=catalog ", known)
    ask = f"{CURL} --fail {SITE}/products?limit=40"
    sku = f"FAR-{time.time_ns()}"
    assert sku not in client.check_output(ask)
    assert add(client, sku) == "201"
    assert sku in client.check_output(ask)


@pytest.mark.parametrize(
    ("away", "back"),
    [
        ("systemctl stop redis-server", "systemctl start redis-server"),
        # Neither answers nor hangs up, as a machine that lost its power.
        ("systemctl kill -s STOP redis-server", "systemctl kill -s CONT redis-server"),
    ],
    ids=["stopped", "silent"],
)
def test_a_machine_that_is_away_costs_time_alone(client: Host, server: Host, away: str, back: str) -> None:
    """Reads and writes go on without an error, ready meanwhile, and it is found again by itself.

    Red when an answer waits for longer than the cache's time limit, or fails.
    """
    wait_until("the cache", lambda: cache(client) == "answers", 20)
    with_it = ask_all(client)
    server.check_output(away)
    try:
        without = ask_all(client)
        assert add(client, f"FAR-{time.time_ns()}") == "201"
        assert cache(client) == "does not answer"
    finally:
        server.check_output(back)
    print(
        f"slowest of 40: {with_it[-1]:.3f} s with it, {without[-1]:.3f} s without; "
        f"middle: {with_it[20]:.4f} s and {without[20]:.4f} s"
    )
    # Each worker is kept waiting for 0.25 s at most, and nobody else for two seconds.
    assert without[-1] < 2
    assert without[20] < 0.2
    wait_until("the cache again", lambda: cache(client) == "answers", 20)
    wait_until("forty reads from it", lambda: forty_kept(client), 60)
