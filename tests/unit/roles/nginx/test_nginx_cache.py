"""The micro-cache as it is printed. What it does is shown by tests/machine/apps/test_cache.py."""

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

IPV4: dict[str, Any] = {"all_ipv6_addresses": []}


def site(make_role: Any, **cache: Any) -> str:
    """Return the text of a site with a micro-cache that has these settings."""
    role = make_role("nginx", facts=IPV4, nginx_sites=[{**SHOP, "cache": {"enabled": True, **cache}}])
    text: str = role.value("{{ lookup('ansible.builtin.template', 'sites.j2') | nginx_split_sites }}")[
        "my-shop"
    ]
    return text


def led_past(text: str) -> set[str]:
    """Return the variables that lead a request past the cache."""
    found = re.search(r'^map "(\S+)" \$cache_zone_my_shop', text, re.MULTILINE)
    assert found is not None
    return set(found[1].split("$")[1:])


def test_it_is_off_unless_it_is_asked_for(make_role: Any) -> None:
    """A site that says nothing has no zone, no key and no header of it."""
    sites: list[dict[str, Any]] = [{}, {"cache": {}}, {"cache": {"seconds": 5}}, {"cache": {"enabled": "no"}}]
    for cache in sites:
        role = make_role("nginx", facts=IPV4, nginx_sites=[SHOP | cache])
        assert "cache" not in role.render("sites.j2").replace("http_cache", "")


def test_a_release_has_keys_of_its_own(make_role: Any) -> None:
    """The key follows the link that a switch renames, and what another release answers is not kept for it."""
    text = site(make_role)
    assert "root /srv/my-shop/current;\n        set $cache_release $realpath_root;" in text
    assert 'proxy_cache_key "$cache_release $scheme://$host$host_port$request_uri";' in text
    assert 'map "$cache_release $realpath_root" $cache_moved_my_shop {' in text
    assert "proxy_no_cache $cache_moved_my_shop;" in text


def test_an_address_has_no_release(make_role: Any) -> None:
    """An application behind an address has no link to follow."""
    entry = {**SHOP, "upstream": "127.0.0.1:8000", "cache": {"enabled": True}}
    text = make_role("nginx", facts=IPV4, nginx_sites=[entry]).render("sites.j2")
    assert "realpath" not in text
    assert "cache_moved" not in text
    assert 'set $cache_release "";' in text


def test_who_shows_who_they_are_is_led_past_it(make_role: Any) -> None:
    """Keys and cookies, parts, upgrades and bodies; cookies alone can be left out of it."""
    both = led_past(site(make_role))
    assert both >= {"http_authorization", "http_x_api_key", "http_cookie", "http_range", "http_upgrade"}
    assert both >= {"http_content_length", "http_transfer_encoding"}
    assert both - led_past(site(make_role, cookies=True)) == {"http_cookie"}


def test_paths_are_whole_ones(make_role: Any) -> None:
    """`/v1.0` is no pattern, and what only begins alike is beside it."""
    text = site(make_role, paths=["/v1.0", "/products"])
    (pattern,) = re.findall(r'"~(\^/v1\S+)" "";', text)
    assert [bool(re.match(pattern, path)) for path in ("/v1.0", "/v1.0/a", "/v1x0", "/v1.01")] == [
        *(True, True),
        *(False, False),
    ]
    assert "cache_beside_my_shop" in led_past(text)
    assert "cache_beside" not in site(make_role)


def test_without_a_word_of_the_application_nothing_is_kept(make_role: Any) -> None:
    """`seconds` is for those who know that all of it is public."""
    assert "proxy_cache_valid" not in site(make_role)
    assert "proxy_cache_valid 200 3s;" in site(make_role, seconds="3")


def test_the_log_tells_hit_or_miss(make_role: Any) -> None:
    """Whoever counts hits reads the access log."""
    assert '"cache":"$upstream_cache_status"' in make_role("nginx", facts=IPV4).render("nginx.conf.j2")
    assert "add_header X-Cache-Status $upstream_cache_status always;" in site(make_role)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seconds": -1}, "cache.seconds '-1' must be a number of seconds"),
        ({"seconds": True}, "must be a number of seconds"),
        ({"idle": 0}, "cache.idle is 0: use 1 or more"),
        ({"size": "0"}, "must be a size like '64m'"),
        ({"size": "1m; }"}, "must be a size like '64m'"),
        ({"paths": ["products"]}, "must be like '/products'"),
        ({"paths": ["/a b"]}, "must be like '/products'"),
        ({"paths": ['/"']}, "must be like '/products'"),
    ],
)
def test_what_nginx_could_not_read_is_refused(make_role: Any, change: dict[str, Any], sentence: str) -> None:
    """The sentence names the key and a value that would work."""
    with pytest.raises(AnsibleError, match=re.escape(sentence)):
        site(make_role, **change)


def test_a_stream_cannot_be_kept(make_role: Any) -> None:
    """Nginx keeps only what it collects."""
    entry = {**SHOP, "buffering": False, "cache": {"enabled": True}}
    with pytest.raises(AnsibleError, match="needs `buffering: true`"):
        make_role("nginx", facts=IPV4, nginx_sites=[entry]).render("sites.j2")
