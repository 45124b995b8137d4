"""Certificates come and are renewed while the site serves, whatever the authority does."""

import hashlib
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from client import Site, load, product, wait_until
from conftest import ROOT, Lab
from played import why
from testinfra.host import Host

ALIAS = "web1.lab.test"


def shown(site: Site, name: str) -> tuple[str, list[str]]:
    """Return fingerprint and names of the certificate that the site shows for a name, the chain verified."""
    context = ssl.create_default_context(cafile=str(site.authority))
    with (
        socket.create_connection((site.address, 443), 10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        certificate = secured.getpeercert() or {}
        binary = secured.getpeercert(binary_form=True) or b""
    names: Any = certificate.get("subjectAltName", ())
    return hashlib.sha256(binary).hexdigest(), [value for kind, value in names if kind == "DNS"]


def certbot(lab: Lab, aliases: list[str]) -> subprocess.CompletedProcess[str]:
    """Run what makes sites and certificates, with these aliases."""
    entry = {**lab.variable("apps")["catalog"], "aliases": aliases}
    return lab.run(
        ROOT / ".venv/bin/ansible-playbook", "-i", "inventories/lab", "playbooks/site.yml",
        "--tags", "nginx,certbot", "--extra-vars", json.dumps({"apps": {"catalog": entry}}),
    )  # fmt: skip


@pytest.fixture
def no_authority(host: Host) -> Iterator[None]:
    """Refuse the machine's connections to the ACME server for the length of a test.

    The server itself stays up: Pebble forgets accounts and makes a new root when it starts again.
    """
    host.check_output(
        "nft add table inet drill && "
        "nft add chain inet drill out '{ type filter hook output priority 0; }' && "
        "nft add rule inet drill out tcp dport 14000 reject with tcp reset"
    )
    yield
    host.check_output("nft delete table inet drill")


def test_a_renewal_loses_no_request(host: Host, site: Site) -> None:
    """Certbot renews by itself; Nginx shows the new certificate, and no request fails meanwhile.

    Red when the deploy hook is missing, or when Nginx is stopped for the challenge.
    """
    before, _ = shown(site, site.domain)
    with load(site, lambda number: product(f"renew-{time.time_ns()}-{number}"), clients=2) as running:
        host.check_output("certbot renew --force-renewal --no-random-sleep-on-renew")
        # A reload is over when Nginx has been told: its processes of before accept for a moment more.
        wait_until("the new certificate shown", lambda: shown(site, site.domain)[0] != before, 10)
    print(f"{len(running.records)} requests during the renewal, {len(running.bad())} failed")
    assert len(running.records) > 20
    assert not running.bad()


@pytest.mark.usefixtures("no_authority")
def test_a_silent_authority_stops_nothing(lab: Lab, site: Site) -> None:
    """With the authority down the play goes on and says so; the site is served with what it has.

    Red when the play fails, or when the certificate is taken away before there is a new one.
    """
    before = shown(site, site.domain)
    done = certbot(lab, [ALIAS])
    assert done.returncode == 0, why(done)
    assert "WARNING" in done.stdout + done.stderr
    assert shown(site, site.domain) == before
    assert site.is_well()


def test_a_new_name_gets_a_new_certificate(lab: Lab, site: Site) -> None:
    """An alias is in the certificate after the next run.

    Red when any certificate that is there is taken for the right one.
    """
    done = certbot(lab, [ALIAS])
    assert done.returncode == 0, why(done)
    assert sorted(shown(site, ALIAS)[1]) == sorted([site.domain, ALIAS])
    done = certbot(lab, [])
    assert done.returncode == 0, why(done)
    assert shown(site, site.domain)[1] == [site.domain]


def test_a_name_that_leads_elsewhere_is_refused_before_any_change(lab: Lab, site: Site) -> None:
    """A domain that leads to another machine is refused in one sentence; nothing has changed by then.

    Red when the authority is asked first: its limits count each failed attempt.
    """
    before = shown(site, site.domain)
    done = certbot(lab, ["acme.lab.test"])
    assert done.returncode != 0
    assert "acme.lab.test" in done.stdout
    assert "changed=0" in done.stdout
    assert shown(site, site.domain) == before
