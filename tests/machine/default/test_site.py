"""The site answers as a user of the application sees it."""

import socket
import ssl
import subprocess
import uuid

import pytest
from client import Site, product
from testinfra.host import Host


def test_https_answers_with_a_verified_chain(site: Site) -> None:
    """The application answers over HTTPS with a certificate of the authority that was asked.

    Red when the temporary certificate is still served, or when the chain misses its intermediate.
    """
    answer = site.get("/version")
    assert answer.status == 200
    assert answer.json()["release"]


def test_an_untrusted_authority_is_noticed(site: Site) -> None:
    """The check above can fail: with the system's authorities alone the same certificate is refused."""
    context = ssl.create_default_context()
    with (
        socket.create_connection((site.address, 443), 10) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(plain, server_hostname=site.domain)


def test_http_leads_to_https(site: Site) -> None:
    """Who comes by plain HTTP is sent to HTTPS, path and query kept.

    Red when port 80 serves the application.
    """
    done = subprocess.run(
        ["curl", "-sS", "-o", "-", "-w", "%{http_code} %{redirect_url}", "--max-time", "10",
         "--resolve", f"{site.domain}:80:{site.address}", f"http://{site.domain}/products?limit=2"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.endswith(f"https://{site.domain}/products?limit=2")
    assert " 30" in f" {done.stdout.split()[-2][-3:]}"


def test_an_unknown_name_gets_nothing(site: Site) -> None:
    """The server does not present an application to who asks for another name.

    Red without a default server.
    """
    done = subprocess.run(
        ["curl", "-sS", "-k", "--max-time", "10", "--resolve", f"other.lab.test:443:{site.address}",
         "https://other.lab.test/version"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stdout == ""


def test_a_product_that_was_written_is_read_back(site: Site) -> None:
    """What a client stores is there for the next one.

    Red when the database is not the one that was migrated.
    """
    path, document = product(uuid.uuid4().hex[:12])
    made = site.request("POST", path, document)
    assert made.status == 201, made.body
    again = site.get(f"{path}/{made.json()['id']}")
    assert again.status == 200
    assert again.json()["name"] == document["name"]


def test_metrics_stay_inside(site: Site) -> None:
    """Nobody outside reads the metrics. Red when the public site passes /metrics on."""
    assert site.get("/metrics").status == 404


def test_readiness_tells_the_schema(host: Host, site: Site) -> None:
    """The answer of the readiness check names the release and the schema that the migration made.

    Red when the schema is not asked of the database, or when the migration left no revision there.
    """
    answer = site.get("/health/ready")
    document = answer.json()
    revision = host.check_output("runuser -u postgres -- psql -AXtd catalog -c 'TABLE alembic_version'")
    assert answer.status == 200, document
    assert document["release"] == host.check_output("basename $(readlink /srv/catalog/current)")
    assert document["schema_revision"] == revision
