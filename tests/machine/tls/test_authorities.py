"""An authority that is away, knows its customers, asks the DNS, or is shut out by the owner of a domain."""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client import wait_until
from conftest import Lab, say
from machinery import install, machine, put
from played import unbroken, why
from second_authority import DIRECTORY, HMAC_KEY, IDENTITY, KEY_ID, SecondAuthority, second_authority
from testinfra.host import Host
from timers import soon

WEB, OUTSIDE = "web1", "out1"
SETTINGS = "/etc/letsencrypt/fastapi-metal-settings.json"
TSIG = "bm90IGEgc2VjcmV0LCBnb29kIGZvciB0aGUgbGFiIGFsb25l"
# It holds the zone, and passes on what it does not know to the lab's own.
NAMED = """\
key "certbot" {{ algorithm hmac-sha256; secret "{tsig}"; }};
options {{
    directory "/var/cache/bind";
    listen-on {{ any; }};
    listen-on-v6 {{ none; }};
    allow-query {{ any; }};
    allow-recursion {{ any; }};
    forward only;
    forwarders {{ {gateway}; }};
    dnssec-validation no;
}};
zone "drill.test" {{
    type primary;
    file "/var/lib/bind/drill.test";
    update-policy {{ grant certbot zonesub TXT; }};
}};
"""
ZONE = """\
$TTL 1
@ SOA ns hostmaster 1 60 60 600 1
@ NS ns
ns A {outside}
@ A {web}
open A {web}
open CAA 0 issue "{identity}"
shut A {web}
shut CAA 0 issue "another.example.org"
"""


@pytest.fixture(scope="module")
def web() -> Host:
    """Return the machine that asks."""
    return machine(WEB)


@pytest.fixture(scope="module")
def nameserver(lab: Lab, web: Host) -> Iterator[Host]:
    """Run a DNS server with a zone on the machine outside, and let the first machine ask it."""
    host = machine(OUTSIDE)
    install(host, "bind9")
    put(host, "/etc/bind/drill.conf", NAMED.format(tsig=TSIG, gateway=lab.info["gateway"]))
    zone = ZONE.format(web=lab.address(WEB), outside=lab.address(OUTSIDE), identity=IDENTITY)
    put(host, "/var/lib/bind/drill.test", zone)
    host.check_output(
        "chown bind: /etc/bind/drill.conf /var/lib/bind/drill.test; "
        "systemd-run --quiet --collect --unit=drill-dns named -f -u bind -c /etc/bind/drill.conf"
    )
    asks = f"echo nameserver {lab.address(OUTSIDE)} > /etc/resolv.conf"
    web.check_output(f"cp /etc/resolv.conf /root/resolv-before; {asks}")
    wait_until("the zone is served", lambda: web.run("getent ahostsv4 open.drill.test").rc == 0, 15)
    yield host
    web.check_output("cat /root/resolv-before > /etc/resolv.conf; rm /root/resolv-before")
    host.check_output("systemctl stop drill-dns")


@pytest.fixture(scope="module")
def authority(
    lab: Lab, nameserver: Host, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecondAuthority]:
    """Return one that is away until it is opened."""
    assert nameserver.run("true").rc == 0
    forget(machine(WEB))
    with second_authority(lab.info, tmp_path_factory.mktemp("second"), lab.address(OUTSIDE)) as found:
        yield found
    forget(machine(WEB))


@pytest.fixture(scope="module")
def put_back(lab: Lab) -> Iterator[None]:
    """Have everything as the inventory has it when all is done."""
    yield
    done = lab.playbook("site", "--tags", "nginx,certbot,exporters", "--limit", WEB)
    assert done.returncode == 0, why(done)
    # `certbot delete` knows nothing of what is not renewed, and the next run wants a first time again.
    machine(WEB).check_output(
        "cd /etc/letsencrypt; for name in late wild; do "
        "rm -rf live/$name archive/$name renewal/$name.conf*; done"
    )


def forget(web: Host) -> None:
    """Have no account there: Pebble, when it starts, knows none of before."""
    web.check_output(f"rm -rf /etc/letsencrypt/accounts/acme.lab.test:{DIRECTORY}")


def asked(lab: Lab, authority: SecondAuthority, name: str, *domains: str, **more: Any) -> Any:
    """Have one more site on the first machine, whose certificate comes from the second authority."""
    apps: dict[str, Any] = lab.variable("apps")
    entry = {**apps["own"], "domain": domains[0], "aliases": list(domains[1:]), "web": {}}
    return lab.playbook(
        "site", "--tags", "nginx,certbot,exporters", "--limit", WEB,
        apps={**apps, name: entry}, certbot_sites=[{"name": name, "domains": list(domains)}],
        certbot_issuer="", certbot_directory_url=authority.url,
        certbot_eab_key_id=KEY_ID, certbot_eab_hmac_key=HMAC_KEY, **more,
    )  # fmt: skip


def presented(lab: Lab, name: str, root: Path | None) -> str:
    """Return the names of the certificate that is shown; the chain is verified where a root is given."""
    context = ssl.create_default_context(cafile=str(root)) if root else ssl.create_default_context()
    if root is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((lab.address(WEB), 443), 10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        binary = secured.getpeercert(binary_form=True) or b""
        return json.dumps(secured.getpeercert()) if root else binary.decode("latin-1")


def believed(lab: Lab, name: str, root: Path) -> bool:
    """Tell whether a visitor who trusts the authority believes the site."""
    try:
        presented(lab, name, root)
    except (OSError, ssl.SSLError):
        return False
    return True


def temporary(web: Host, site: str) -> str:
    """Return the figure on which the alert CertificateTemporary stands."""
    # It looks at certificates every five minutes, and at once where it has written nothing of them.
    web.check_output("rm /var/lib/prometheus/node-exporter/machine-certificates.prom")
    # The lab's timer starts it every few seconds, and systemd counts them all.
    figures = "machine-figures.service"
    web.check_output(f"systemctl reset-failed {figures}; systemctl start {figures}")
    lines = web.check_output("curl -sS --max-time 20 http://127.0.0.1:9100/metrics").splitlines()
    (line,) = (line for line in lines if "certificate_temporary{" in line and f'site="{site}"' in line)
    return str(line.split()[-1])


@pytest.mark.usefixtures("put_back")
def test_an_authority_that_is_away_at_first_gives_it_later(
    lab: Lab, web: Host, authority: SecondAuthority
) -> None:
    """First run with nobody there: a temporary certificate, a warning, a figure; then the real one, by timer.

    The account is bound to a customer (EAB), and made by the timer: no controller takes part.
    Red when the play fails, when nothing asks again, or when Nginx is not told of what came.
    """
    authority.stop()
    forget(web)
    done = asked(lab, authority, "late", "late.lab.test")
    said = unbroken(done.stdout + done.stderr)
    assert done.returncode == 0, why(done)
    assert "No certificate for late (there is none): " in said
    assert "temporary certificate of fastapi-metal" in presented(lab, "late.lab.test", None)
    assert temporary(web, "late") == "1"
    assert web.check_output("systemctl is-active certificates-again.timer") == "active"
    authority.open()
    begun = time.monotonic()
    with soon(web):
        wait_until("the real one", lambda: believed(lab, "late.lab.test", authority.root), 60)
    say(f"an authority that was away: its certificate served {time.monotonic() - begun:.0f} s after it came")
    assert "late.lab.test" in presented(lab, "late.lab.test", authority.root)
    assert temporary(web, "late") == "0"
    assert "external account" not in web.check_output("journalctl -u certificates-again --no-pager")


def test_a_customer_that_it_does_not_know_is_told(lab: Lab, web: Host, authority: SecondAuthority) -> None:
    """With a key that the authority never gave out nothing is issued, and the reason is the authority's own.

    Red when the account would be made without the key: then this would prove no binding.
    """
    authority.open()
    forget(web)
    account = {"eab_key_id": "stranger", "eab_hmac_key": HMAC_KEY, "directory_url": authority.url}
    sentence = tried(web, "open.drill.test", **account)
    assert "No certificate for drill" in sentence
    assert "references a key that is not known to the ACME server" in sentence


def tried(web: Host, domain: str, **account: Any) -> str:
    """Run what the timer runs, beside everything that is served, and return what it says.

    No site of the domain is served, so an order fails; what counts is whether there is one.
    """
    kept = json.loads(web.check_output(f"cat {SETTINGS}"))
    given = {**kept, **account, "refuse": False, "sites": [{"name": "drill", "domains": [domain]}]}
    web.check_output("rm -rf /root/drill; mkdir -p /root/drill")
    there = {f"{name}_directory": f"/root/drill/{name}" for name in ("letsencrypt", "tls")}
    put(web, "/root/drill/settings.json", json.dumps({**given, **there, "hook": "#!/bin/true", "share": {}}))
    home = "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/usr/local/lib/fastapi-metal-certificates"
    done = web.run(f"{home} python3 -m fastapi_metal.certificates /root/drill/settings.json")
    web.check_output("rm -rf /root/drill")
    assert not done.stderr, done.stderr
    return str(done.stdout)


def test_a_domain_whose_owner_shuts_it_out_costs_no_attempt(web: Host, authority: SecondAuthority) -> None:
    """A DNS server answers CAA: another's name is a sentence before anybody is asked; its own passes.

    Red when the authority is asked first, whose limits count each attempt.
    """
    authority.open()
    account = {"eab_key_id": KEY_ID, "eab_hmac_key": HMAC_KEY, "directory_url": authority.url}
    before = authority.orders()
    sentence = tried(web, "shut.drill.test", **account)
    assert sentence.startswith(
        "shut.drill.test has a CAA record at shut.drill.test that lets another.example"
    )
    assert f'CAA 0 issue "{IDENTITY}"' in sentence
    assert authority.orders() == before
    tried(web, "open.drill.test", **account)
    assert authority.orders() == before + 1


@pytest.mark.full
@pytest.mark.usefixtures("put_back")
def test_a_wildcard_comes_by_way_of_the_dns(lab: Lab, web: Host, authority: SecondAuthority) -> None:
    """Certbot's plugin for RFC 2136 writes into the zone; the authority reads it; any name below is served.

    Red when the plugin is not installed, has no credentials, or when port 80 is asked all the same.
    """
    authority.open()
    login = (
        f"dns_rfc2136_server = {lab.address(OUTSIDE)}\ndns_rfc2136_name = certbot\n"
        f"dns_rfc2136_secret = {TSIG}\ndns_rfc2136_algorithm = HMAC-SHA256\n"
    )
    done = asked(
        lab, authority, "wild", "drill.test", "*.drill.test",
        certbot_dns_plugin="rfc2136", certbot_dns_credentials=login, certbot_dns_wait=2,
    )  # fmt: skip
    assert done.returncode == 0, why(done)
    assert TSIG not in done.stdout
    for name in ("drill.test", "whatever.drill.test"):
        assert "*.drill.test" in presented(lab, name, authority.root)
    assert web.check_output("stat -c '%a %U' /etc/letsencrypt/dns-rfc2136.ini") == "600 root"
    renewed = web.run("certbot renew --cert-name wild --force-renewal --no-random-sleep-on-renew")
    assert renewed.rc == 0, renewed.stdout
