"""Each way to a certificate ends in TLS that others grade, and a renewal is noticed by nobody."""

import hashlib
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, Pair
from client import Site, wait_until
from conftest import Lab, first, say
from machinery import install, machine, put
from testinfra.host import Host
from traffic import Plan, traffic
from wire import said

OUTSIDE = "out1"
# They come from the authority of the lab: it says nothing of revocation, and its certificates last for years.
OF_THE_LAB = {"cert_validityPeriod", "cert_extlifeSpan", "cert_revocation"}
# Seconds in which ten thousand requests come, each on a connection of its own, on a busy host too.
LONG = 80
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
    assert done.returncode == 0, done.stdout[-3000:]
    return pair


def test_a_closed_network_has_a_certificate_of_its_own(web: Host) -> None:
    """Without any authority the site has a pair that says so, for its name, with a key of root's alone.

    Red when such a site shows what is called temporary, for which an alert would fire for ever.
    """
    home = "/etc/nginx/tls/own"
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
    assert done.returncode == 0, done.stdout[-3000:]
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
        said = " ".join(done.stdout.split())
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
    """testssl.sh, from another machine: A+, and nothing of weight but what comes from the lab's authority.

    Red with an old protocol, a weak cipher, half a chain, or Strict-Transport-Security for days.
    """
    install(outside, "testssl.sh", "bsdextrautils", "dnsutils")
    put(outside, "/root/ca.pem", lab.acme_root.read_text())
    outside.run(
        "rm -f /root/testssl.json; testssl --quiet --color 0 --warnings off --add-ca /root/ca.pem "
        "--jsonfile /root/testssl.json --ip one https://shop.lab.test > /root/testssl.log 2>&1 < /dev/null"
    )
    found = json.loads(outside.check_output("cat /root/testssl.json"))
    grade = next(row["finding"] for row in found if row["id"] == "overall_grade")
    severe = {row["id"]: row["finding"] for row in found if row["severity"] in SEVERE}
    say(f"testssl.sh: grade {grade}, of weight: {', '.join(sorted(severe)) or 'nothing'}")
    assert len(found) > 100
    assert grade == "A+", [row for row in found if row["id"].startswith("grade_cap")]
    assert set(severe) <= OF_THE_LAB, severe


def test_a_renewal_is_noticed_by_nobody(lab: Lab, web: Host, tmp_path: Path) -> None:
    """Under load Certbot renews; the new certificate is shown, and of ten thousand requests none fails.

    Red when the hook is missing, when Nginx is restarted, or when it is stopped for the challenge.
    """
    site = lab.site("shop")
    before, _ = presented(site)
    plan = Plan(
        site.domain, str(site.authority), {first(): site.address},
        kept=0, new=12, pace=0.04, slow=2, slow_seconds=6, uploads=1, websockets=1,
    )  # fmt: skip
    with traffic(plan, tmp_path) as seen:
        begun = time.monotonic()
        time.sleep(2)
        web.check_output("certbot renew --cert-name shop --force-renewal --no-random-sleep-on-renew")
        wait_until("the new certificate shown", lambda: presented(site)[0] != before, 10)
        time.sleep(max(0.0, begun + LONG - time.monotonic()))
    say(f"renewal: {seen.summary()}")
    assert len(seen.requests) >= 10_000
    assert not seen.failed(), seen.failed()[:5]
