"""How a site says who it is, whom it believes, and what it lets nobody do, as it is printed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible.errors import AnsibleError

SHOP: dict[str, Any] = {
    "name": "my-shop",
    "server_names": ["shop.example.org"],
    "upstream": "unix:/srv/my-shop/current/app.sock",
}
EXTERNAL: dict[str, Any] = {"tls": {"mode": "external"}, "trusted_proxies": ["198.18.0.0/24", "fd00::5"]}


def role(make_role: Any, *entries: dict[str, Any], debian: str = "13", **variables: Any) -> Any:
    """Return the role with these sites."""
    facts = {"all_ipv6_addresses": [], "distribution_major_version": debian}
    return make_role("nginx", facts=facts, nginx_sites=list(entries), **variables)


def site(make_role: Any, **more: Any) -> str:
    """Return the text of one site."""
    variables = {name: more.pop(name) for name in list(more) if name.startswith("nginx_")}
    return str(role(make_role, {**SHOP, **more}, **variables).render("sites.j2"))


@pytest.mark.parametrize(
    ("stage", "value"),
    [
        ("minutes", "max-age=300"),
        ("week", "max-age=604800"),
        ("years", "max-age=63072000"),
        ("preload", "max-age=63072000; includeSubDomains; preload"),
    ],
)
def test_strict_transport_security_goes_up_by_stages(make_role: Any, stage: str, value: str) -> None:
    """Nothing but `preload` speaks for the subdomains, or asks to be built in."""
    assert f'add_header Strict-Transport-Security "{value}" always;' in site(make_role, hsts=stage)


def test_strict_transport_security_begins_short_and_can_be_left_out(make_role: Any) -> None:
    """A week is what the first day says."""
    assert "max-age=604800" in site(make_role)
    assert "Strict" not in site(make_role, hsts="none")


def test_a_header_of_the_application_wins(make_role: Any) -> None:
    """Ours is sent where the application said nothing of that name: two would be read as both."""
    text = site(make_role)
    found = re.search(r"map \$upstream_http_x_frame_options (\$\S+) \{(.*?)\}", text, re.DOTALL)
    assert found is not None
    assert re.findall(r"^ +(.*);$", found[2], re.MULTILINE) == ['default ""', '"" "SAMEORIGIN"']
    assert f"add_header X-Frame-Options {found[1]} always;" in text


def test_headers_can_be_changed_and_left_out(make_role: Any) -> None:
    """For one site, or for all."""
    text = site(make_role, headers={"X-Frame-Options": "DENY", "Referrer-Policy": ""})
    assert '"" "DENY";' in text
    assert "Referrer-Policy" not in text
    assert "nosniff" in text
    assert "nosniff" not in site(make_role, nginx_headers={})
    with pytest.raises(AnsibleError, match=r"nginx_headers.X-A` in group_vars/all/nginx.yml is"):
        site(make_role, nginx_headers={"X-A": 'a"; }'})


def test_a_header_that_locations_would_switch_off_is_in_none(make_role: Any) -> None:
    """An `add_header` in a location takes those of its server away."""
    text = site(make_role, static=[{"path": "/assets", "roots": ["/srv/my-shop/current/static"]}])
    depth = 0
    for line in text.splitlines():
        assert depth < 2 or "add_header" not in line, line
        depth += line.count("{") - line.count("}")
    assert depth == 0


def test_behind_a_balancer_there_is_plain_http_for_it_alone(make_role: Any) -> None:
    """No certificate, no port 443; strangers get no answer, by the address that has connected."""
    text = site(make_role, **EXTERNAL)
    assert "443 " not in text.replace("X-Forwarded-Port 443", "")
    assert "ssl" not in text
    found = re.search(r"geo \$realip_remote_addr (\$\S+) \{(.*?)\}", text, re.DOTALL)
    assert found is not None
    assert re.findall(r"^ +(.*);$", found[2], re.MULTILINE) == [
        *("default stranger", '198.18.0.0/24 ""', 'fd00::5/128 ""')
    ]
    assert f"if ({found[1]}) {{\n        return 444;" in text


def test_behind_a_balancer_the_application_is_told_of_https(make_role: Any) -> None:
    """Scheme and port are those of the client, and the address is what the balancer says."""
    text = site(make_role, **EXTERNAL)
    assert "proxy_set_header X-Forwarded-Proto https;" in text
    assert "proxy_set_header X-Forwarded-Port 443;" in text
    assert "set_real_ip_from 198.18.0.0/24;\n    set_real_ip_from fd00::5/128;" in text
    assert "real_ip_header X-Forwarded-For;\n    real_ip_recursive on;" in text


def test_nobody_is_believed_unless_named(make_role: Any) -> None:
    """What clients say of their address is no news."""
    assert "real_ip" not in site(make_role)
    text = site(make_role, trusted_proxies=["10.0.0.5"], client_header="CF-Connecting-IP")
    assert "set_real_ip_from 10.0.0.5/32;\n    real_ip_header CF-Connecting-IP;" in text
    assert "stranger" not in text


def test_limits_are_per_client(make_role: Any) -> None:
    """Rate, connections, head: each a key, and off unless it is set."""
    text = site(make_role, rate_limit={"rate": "5r/s", "burst": 9}, max_connections=7, max_header="8k")
    assert "limit_req_zone $binary_remote_addr zone=my-shop-rate:10m rate=5r/s;" in text
    assert "limit_req zone=my-shop-rate burst=9 nodelay;" in text
    assert "limit_conn my-shop-connections 7;" in text
    assert "large_client_header_buffers 4 8k;" in text
    assert "limit_" not in site(make_role)


@pytest.mark.parametrize(
    ("profile", "protocols"), [("intermediate", "TLSv1.2 TLSv1.3"), ("modern", "TLSv1.3")]
)
def test_the_profile_says_what_is_spoken(make_role: Any, profile: str, protocols: str) -> None:
    """Mozilla's names."""
    text = role(make_role, nginx_tls_profile=profile).render("nginx.conf.j2")
    assert f"ssl_protocols {protocols};" in text


def test_an_older_openssl_is_not_asked_for_a_newer_group(make_role: Any) -> None:
    """Nginx of Debian 12 would not start."""
    assert "ssl_ecdh_curve X25519MLKEM768:X25519:" in role(make_role).render("nginx.conf.j2")
    assert "ssl_ecdh_curve X25519:" in role(make_role, debian="12").render("nginx.conf.j2")


def test_http3_is_off_unless_it_is_asked_for(make_role: Any) -> None:
    """One listener has the port's whole queue, the others share it; browsers are told of it."""
    assert "quic" not in site(make_role) + role(make_role).render("nginx.conf.j2")
    text = site(make_role, nginx_http3=True)
    assert "listen 443 quic;" in text
    assert "add_header Alt-Svc 'h3=\":443\"; ma=86400' always;" in text
    main = role(make_role, nginx_http3=True).render("nginx.conf.j2")
    assert main.count("quic reuseport default_server;") == 1
    assert "quic" not in site(make_role, nginx_http3=True, **EXTERNAL)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hsts": "long"}, "hsts 'long' must be one of none, minutes"),
        ({"tls": {"mode": "own"}}, "tls.certificate is missing, and the mode is own"),
        ({"tls": {"mode": "later"}}, "tls.mode 'later' must be one of acme, own"),
        ({"tls": {"mode": "external"}}, "tls.mode is external, which needs trusted_proxies"),
        ({"trusted_proxies": ["10.0.0.1/8"]}, 'trusted_proxies has "10.0.0.1/8", which is no address'),
        ({"rate_limit": {"rate": "5"}}, 'rate_limit.rate is "5"; write requests for a second'),
        ({"headers": {"X-A": "a\nb"}}, "headers.X-A is"),
        ({"max_header": "16k; }"}, "max_header is"),
    ],
)
def test_what_could_not_be_served_is_refused(make_role: Any, change: dict[str, Any], words: str) -> None:
    """The sentence names the site, the key and a value that works."""
    with pytest.raises(AnsibleError, match=re.escape(f"nginx_sites, site 'my-shop': {words}")):
        site(make_role, **change)
