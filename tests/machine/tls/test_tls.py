"""Each way to a certificate ends in TLS that others grade, and a renewal is noticed by nobody."""

import hashlib
import json
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, Pair
from client import Site, wait_until
from conftest import Lab, first, say
from machinery import install, machine, put
from played import unbroken, why
from testinfra.host import Host
from wire import said

OUTSIDE = "out1"
# They come from the authority of the lab: it says nothing of revocation, and its certificates last for years.
OF_THE_LAB = {"cert_validityPeriod", "cert_extlifeSpan", "cert_revocation"}
# The machines that serve the shop.
DEBIANS = {"web1": "Debian 13", "web2": "Debian 12"}
SEVERE = {"MEDIUM", "HIGH", "CRITICAL"}


@pytest.fixture(scope="module")
def web() -> Host:
    """Return the machine with the sites."""
    return machine(first())


@pytest.fixture(scope="module")
def outside() -> Host:
    """Return the machine that asks it from outside."""
    return machine(OUTSIDE)


def presented(site: Site) -> tuple[str, dict[str, Any]]:
    """Return digest and content of the certificate that a site shows, the chain verified."""
    context = ssl.create_default_context(cafile=str(site.authority))
    with (
        socket.create_connection((site.address, 443), 10) as plain,
        context.wrap_socket(plain, server_hostname=site.domain) as secured,
    ):
        binary = secured.getpeercert(binary_form=True) or b""
        return hashlib.sha256(binary).hexdigest(), dict(secured.getpeercert() or {})


def own(lab: Lab, pair: Pair, authority: Authority) -> dict[str, Any]:
    """Return the applications, the one of its own certificate with this pair."""
    apps: dict[str, Any] = lab.variable("apps")
    tls = {
        "mode": "own",
        "certificate": pair.certificate,
        "key": pair.key,
        "authority": str(authority.root),
    }
    return {**apps, "own": {**apps["own"], "web": {"tls": tls}}}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return a company's own authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def served(lab: Lab, authority: Authority) -> Pair:
    """Have the site show a pair of the user's own, once."""
    pair = authority.issue("first", "own.lab.test")
    done = lab.playbook("site", "--tags", "nginx", apps=own(lab, pair, authority))
    assert done.returncode == 0, why(done)
    return pair


def test_a_closed_network_has_a_certificate_of_its_own(lab: Lab, web: Host) -> None:
    """Without any authority the site has a pair that says so, for its name, with a key of root's alone.

    Red when such a site shows what is called temporary, for which an alert would fire for ever.
    """
    home = "/etc/nginx/tls/own"
    if "/.selfsigned/" not in web.check_output(f"readlink -f {home}"):
        done = lab.playbook("site", "--tags", "nginx")
        assert done.returncode == 0, why(done)
    told = web.check_output(f"openssl x509 -noout -subject -ext subjectAltName -in {home}/fullchain.pem")
    assert "self-signed certificate of fastapi-metal" in told
    assert "DNS:own.lab.test" in told
    assert web.file(f"{web.check_output(f'readlink -f {home}')}/privkey.pem").mode == 0o600


@pytest.mark.usefixtures("served")
def test_a_pair_of_the_users_own_is_served(lab: Lab, authority: Authority) -> None:
    """The chain leads a visitor to the company's root.

    Red when the intermediate certificate is not sent.
    """
    site = Site("own.lab.test", lab.address(first()), authority.root)
    _, told = presented(site)
    assert ("DNS", "own.lab.test") in told["subjectAltName"]
    assert site.get("/request").json()["url"] == "https://own.lab.test/request"


@pytest.mark.usefixtures("served")
def test_a_newer_pair_takes_the_place(lab: Lab, web: Host, authority: Authority) -> None:
    """The next run turns it, under the eyes of a visitor, and the key of before is gone from the disk.

    Red when Nginx is not reloaded, or when old keys pile up.
    """
    site = Site("own.lab.test", lab.address(first()), authority.root)
    before, _ = presented(site)
    newer = authority.issue("second", "own.lab.test", "www.own.lab.test")
    done = lab.playbook("site", "--tags", "nginx", "-vvv", "--diff", apps=own(lab, newer, authority))
    assert done.returncode == 0, why(done)
    wait_until("the newer certificate shown", lambda: presented(site)[0] != before, 10)
    keys = web.check_output("cat /etc/nginx/tls/.own/*/privkey.pem")
    assert keys.count("BEGIN") == 1
    assert newer.key.splitlines()[1] not in done.stdout


def wrong_pairs(authority: Authority) -> Iterator[tuple[Pair, str]]:
    """Return each thing that users do wrong, and what they are told."""
    right = authority.issue("right", "own.lab.test")
    other = authority.issue("other", "other.lab.test")
    old = authority.issue("old", "own.lab.test", days=-1)
    leaf = right.certificate.removesuffix(authority.between)
    yield replace(right, key=authority.with_passphrase(right)), "tls.key` .* has a passphrase"
    yield replace(right, key=other.key), "tls.key` .* does not belong to the certificate"
    yield other, "is for other.lab.test, and not for own.lab.test"
    yield old, "expired on"
    yield replace(right, certificate=leaf), "lacks the intermediate certificate of CN=between"


@pytest.mark.usefixtures("served")
def test_what_no_browser_would_believe_changes_nothing(lab: Lab, web: Host, authority: Authority) -> None:
    """A locked key, one of another pair, another name, an expired one, half a chain: a sentence each.

    Red when one of them reaches the machine.
    """
    before = web.check_output("readlink /etc/nginx/tls/own")
    for pair, words in wrong_pairs(authority):
        done = lab.playbook("site", "--tags", "nginx", apps=own(lab, pair, authority))
        said = unbroken(done.stdout)
        assert done.returncode != 0, words
        assert "apps.own.web.tls" in said
        assert re.search(words, said), said[-1500:]
        assert "changed=0" in said
        assert not re.search(r"changed=[1-9]", said)
    assert web.check_output("readlink /etc/nginx/tls/own") == before


HAPROXY = """\
global
    log stderr local0
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 5s
frontend secured
    bind :8443 ssl crt /root/front.pem
    option forwardfor
    http-request set-header X-Forwarded-Proto https
    default_backend web
frontend plain
    bind :8080
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    default_backend web
backend web
    server web1 {address}:80
"""
CADDY = """\
{{
    admin off
    auto_https off
}}
:8443 {{
    tls /root/front-chain.pem /root/front-key.pem
    reverse_proxy {address}:80
}}
"""
BALANCERS = {
    "haproxy": ("/root/haproxy.cfg", HAPROXY, "haproxy -db -f /root/haproxy.cfg"),
    "caddy": ("/root/Caddyfile", CADDY, "caddy run --adapter caddyfile --config /root/Caddyfile"),
}


@dataclass
class Balancer:
    """What ends TLS before the machine."""

    address: str
    root: Path

    def ask(self, path: str, **headers: str) -> Any:
        """Ask the site through it; another port than a visitor's, so that a scan of the machine sees none."""
        context = ssl.create_default_context(cafile=str(self.root))
        named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        with (
            socket.create_connection((self.address, 8443), 10) as plain,
            context.wrap_socket(plain, server_hostname="behind.lab.test") as wire,
        ):
            wire.sendall(
                f"GET {path} HTTP/1.1\r\nHost: behind.lab.test\r\nConnection: close\r\n{named}\r\n".encode()
            )
            answer = b"".join(iter(lambda: wire.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.split()[1] == b"200", answer[:500]
        return json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])


@pytest.fixture(params=sorted(BALANCERS))
def balancer(
    request: pytest.FixtureRequest, lab: Lab, outside: Host, authority: Authority
) -> Iterator[Balancer]:
    """Run one on the other machine."""
    path, text, command = BALANCERS[request.param]
    install(outside, request.param)
    pair = authority.issue("front", "behind.lab.test")
    put(outside, "/root/front.pem", pair.certificate + pair.key)
    put(outside, "/root/front-chain.pem", pair.certificate)
    put(outside, "/root/front-key.pem", pair.key)
    put(outside, path, text.format(address=lab.address(first())))
    outside.check_output(f"systemd-run --quiet --collect --unit=balancer -p User=root {command}")
    wait_until(
        f"{request.param} listens", lambda: outside.run("ss -Htln sport = 8443").stdout.strip() != "", 15
    )
    yield Balancer(lab.address(OUTSIDE), authority.root)
    outside.check_output("systemctl stop balancer.service")


def test_behind_a_balancer_the_application_sees_the_visitor(lab: Lab, balancer: Balancer) -> None:
    """Scheme, host and address are the visitor's, though plain HTTP arrives; what he claims is no news.

    Red when the application is told of HTTP, of the balancer's address, or of what the visitor invents.
    """
    seen = balancer.ask("/request")
    assert seen["url"] == "https://behind.lab.test/request"
    assert seen["url_for"] == "https://behind.lab.test/health"
    assert seen["client"] == lab.info["gateway"]
    claimed = balancer.ask("/request", X_Forwarded_For="192.0.2.77", X_Real_IP="192.0.2.77")
    assert claimed["client"] == lab.info["gateway"]
    assert "192.0.2.77" not in json.dumps(claimed["headers"])


def test_whoever_goes_round_the_balancer_gets_no_answer(lab: Lab, outside: Host) -> None:
    """Port 80 answers the trusted addresses alone, whatever a stranger says of himself.

    Red when a stranger is served, or led on by what he writes into X-Forwarded-For.
    """
    for header in ("X-A: b", f"X-Forwarded-For: {lab.address(OUTSIDE)}"):
        with socket.create_connection((lab.address(first()), 80), 10) as wire:
            wire.sendall(f"GET /request HTTP/1.1\r\nHost: behind.lab.test\r\n{header}\r\n\r\n".encode())
            assert said(wire).text == b""
    ask = f"curl -sS -o /dev/null -w '%{{http_code}}' --resolve behind.lab.test:80:{lab.address(first())} "
    assert outside.check_output(f"{ask} http://behind.lab.test/request") == "200"
    plain = f"{ask} -H 'X-Forwarded-Proto: http' http://behind.lab.test/request"
    assert outside.check_output(plain) == "301"
    assert outside.run(f"{ask} -k https://behind.lab.test/request").rc != 0


def test_the_documentation_of_an_api_works_under_the_headers(lab: Lab) -> None:
    """They are on every answer, also on Nginx's own, and the page /docs may load what it loads.

    Red when a header is missing, or when a policy forbids scripts of the page.
    """
    site = lab.site("shop")
    for path in ("/docs", "/openapi.json", "/nowhere", "/metrics"):
        answer = site.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["x-frame-options"] == "SAMEORIGIN", path
        assert answer.headers["referrer-policy"] == "strict-origin-when-cross-origin", path
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'self'" in policy
        assert not {"default-src", "script-src", "style-src", "connect-src", "img-src"} & set(policy.split())
        assert answer.headers["strict-transport-security"].startswith("max-age=63072000")
        assert answer.headers["server"] == "nginx"
    assert b"swagger-ui" in site.get("/docs").body


def test_others_grade_it_well(lab: Lab, outside: Host) -> None:
    """testssl.sh, from another machine: A+ for both Debians, and nothing of weight but the lab's authority's.

    Red with an old protocol, a weak cipher, half a chain, or Strict-Transport-Security for days.
    """
    install(outside, "testssl.sh", "bsdextrautils", "dnsutils")
    put(outside, "/root/ca.pem", lab.acme_root.read_text())
    # Side by side: each waits for answers most of the time.
    scans = " & ".join(
        f"(rm -f /root/{name}.json; testssl --quiet --color 0 --warnings off --add-ca /root/ca.pem "
        f"--jsonfile /root/{name}.json --ip {lab.address(name)} https://shop.lab.test "
        f"> /root/{name}.log 2>&1 < /dev/null)"
        for name in DEBIANS
    )
    outside.run(f"{scans} & wait")
    for name, debian in DEBIANS.items():
        found = json.loads(outside.check_output(f"cat /root/{name}.json"))
        grade = next(row["finding"] for row in found if row["id"] == "overall_grade")
        severe = {row["id"]: row["finding"] for row in found if row["severity"] in SEVERE}
        say(f"testssl.sh, {debian}: grade {grade}, of weight: {', '.join(sorted(severe)) or 'nothing'}")
        assert len(found) > 100
        assert grade == "A+", [row for row in found if row["id"].startswith("grade_cap")]
        assert set(severe) <= OF_THE_LAB, severe


def test_http3_is_spoken_where_it_is_switched_on(lab: Lab, web: Host, outside: Host) -> None:
    """Over QUIC alone a client of Debian's gets the answer; others are told of it. Off by default, it is off.

    Red when UDP is not listened on or not let in, or when no word of it goes out.
    """
    curl = (
        f"-sS --max-time 10 --cacert /root/ca.pem --resolve shop.lab.test:443:{lab.address(first())} "
        "-o /dev/null -w '%{http_version} %{http_code} %header{alt-svc}' https://shop.lab.test/version"
    )
    put(outside, "/root/ca.pem", lab.acme_root.read_text())
    only = f"curl --http3-only {curl}"
    assert outside.run(only).rc != 0
    assert outside.check_output(f"curl {curl}") == "2 200 "
    try:
        done = lab.playbook("site", "--tags", "nginx", "--limit", first(), nginx_http3=True)
        assert done.returncode == 0, why(done)
        for version, option in (("3", "--http3-only"), ("2", "--http2"), ("1.1", "--http1.1")):
            told = outside.check_output(f"curl {option} {curl}")
            assert told == f'{version} 200 h3=":443"; ma=86400'
        # What a renewal does to those who use it: they come again.
        web.check_output("systemctl reload nginx")
        wait_until("HTTP/3 after a reload", lambda: outside.run(only).rc == 0, 15)
    finally:
        done = lab.playbook("site", "--tags", "nginx", "--limit", first())
    assert done.returncode == 0, why(done)
    assert outside.run(only).rc != 0


def test_debian_12_says_that_it_knows_no_http3(lab: Lab) -> None:
    """The older Nginx is refused the switch in a sentence, before anything changes.

    Red when it would be left without a configuration that it can read.
    """
    done = lab.playbook("site", "--tags", "nginx", "--limit", "web2", nginx_http3=True)
    said = unbroken(done.stdout)
    assert done.returncode != 0
    assert "Nginx of Debian 12 knows no HTTP/3" in said
    assert not re.search(r"changed=[1-9]", said)
