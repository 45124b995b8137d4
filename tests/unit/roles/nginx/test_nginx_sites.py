"""What the templates print: sites as a user expects them, and nothing that a value could break out of."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible.errors import AnsibleError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SHOP: dict[str, Any] = {
    "name": "shop",
    "server_names": ["shop.example.org"],
    "upstream": "unix:/srv/shop/current/app.sock",
}
LONGEST = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
IPV6 = {"all_ipv6_addresses": ["fd00::10"]}


def sites(make_role: Any, *entries: dict[str, Any], **variables: Any) -> Any:
    """Return the text of each site's file, by name."""
    facts = IPV6 | variables.pop("facts", {})
    role = make_role("nginx", facts=facts, nginx_sites=list(entries), **variables)
    return role.value("{{ lookup('ansible.builtin.template', 'sites.j2') | nginx_split_sites }}")


def main(make_role: Any, *entries: dict[str, Any], **variables: Any) -> str:
    """Return nginx.conf."""
    facts = IPV6 | variables.pop("facts", {})
    return str(
        make_role("nginx", facts=facts, nginx_sites=list(entries), **variables).render("nginx.conf.j2")
    )


def is_balanced(text: str) -> bool:
    """Tell whether every block is closed; braces within quotes do not count."""
    bare = re.sub(r"#.*|\"[^\"]*\"|'[^']*'", "", text)
    return bare.count("{") == bare.count("}")


def test_each_site_gets_a_file_of_its_own(make_role: Any) -> None:
    """Two sites make two files, each with its own names, and nothing of the other."""
    office = {"name": "office", "server_names": ["office.example.org"], "upstream": "127.0.0.1:8000"}
    files = sites(make_role, SHOP, office)
    assert list(files) == ["shop", "office"]
    assert "office" not in files["shop"]
    assert "proxy_pass http://unix:/srv/shop/current/app.sock;" in files["shop"]
    assert "proxy_pass http://127.0.0.1:8000;" in files["office"]
    assert all(is_balanced(text) and text.startswith("#") for text in files.values())


def test_no_sites_at_all(make_role: Any) -> None:
    """A machine without sites has a server that answers nothing, and no file."""
    assert sites(make_role) == {}
    assert is_balanced(main(make_role))
    assert "return 444;" in main(make_role)


@pytest.mark.parametrize(("release", "word", "directive"), [("12", True, False), ("13", False, True)])
def test_http2_is_written_as_that_nginx_reads_it(
    make_role: Any, release: str, word: bool, directive: bool
) -> None:
    """Debian 12's Nginx knows HTTP/2 as a word of `listen` only, Debian 13's warns about it."""
    facts = {"distribution_major_version": release}
    text = sites(make_role, SHOP, facts=facts)["shop"]
    assert ("listen 443 ssl http2;" in text) is word
    assert ("listen [::]:443 ssl http2;" in text) is word
    assert ("http2 on;" in text) is directive
    assert ("listen 443 ssl http2 default_server;" in main(make_role, SHOP, facts=facts)) is word


def test_without_ipv6_no_socket_of_it_is_opened(make_role: Any) -> None:
    """With IPv6 switched off in the kernel, `listen [::]` would keep Nginx from starting."""
    facts: dict[str, Any] = {"all_ipv6_addresses": []}
    assert "[::]" not in sites(make_role, SHOP, facts=facts)["shop"] + main(make_role, SHOP, facts=facts)


def test_a_sites_own_values_are_printed(make_role: Any) -> None:
    """Body size, time limit, buffering and websockets are what the site says."""
    own = {"max_body": "64m", "read_timeout": 300, "buffering": False, "websocket": False}
    text = sites(make_role, SHOP | own)["shop"]
    assert "client_max_body_size 64m;" in text
    assert "proxy_read_timeout 300s;" in text
    assert "proxy_buffering off;" in text
    assert 'proxy_set_header Upgrade "";' in text
    plain = sites(make_role, SHOP)["shop"]
    assert "client_max_body_size 1m;" in plain
    assert "proxy_read_timeout 60s;" in plain
    assert "proxy_buffering on;" in plain
    assert "proxy_set_header Upgrade $upgrade_to;" in plain


def test_values_of_the_command_line_are_understood(make_role: Any) -> None:
    """Numbers and switches that come as text, as with `-e nginx_drain_timeout=30`, count as what they say."""
    role = make_role(
        "nginx", nginx_drain_timeout="30", nginx_sites=[SHOP | {"read_timeout": "90"}], facts=IPV6
    )
    files = sites(make_role, SHOP | {"buffering": "no"}, nginx_ipv6="false")
    assert "proxy_buffering off;" in files["shop"]
    assert "[::]" not in files["shop"]
    unit = role.render("nginx.service.conf.j2")
    assert "--retry QUIT/30 " in unit
    assert "TimeoutStopSec=35\n" in unit


def test_metrics_are_inside_only(make_role: Any) -> None:
    """Metrics are hidden outside; where there are none, the path is the application's like any other."""
    assert "location = /metrics {\n        return 404;" in sites(make_role, SHOP)["shop"]
    without = SHOP | {"metrics": False}
    assert "metrics" not in sites(make_role, without)["shop"]


def test_what_a_client_claims_is_not_passed_on(make_role: Any) -> None:
    """Headers on address and scheme are set, not added to; the host keeps its port."""
    text = sites(make_role, SHOP)["shop"]
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in text
    assert 'proxy_set_header Forwarded "";' in text
    assert "proxy_set_header Host $host$host_port;" in text
    assert "$proxy_add_x_forwarded_for" not in text


def test_nothing_is_remembered_between_releases(make_role: Any) -> None:
    """No kept connection and no cached file of the old release: the switch is one rename."""
    text = sites(make_role, SHOP)["shop"] + main(make_role, SHOP)
    assert "keepalive " not in text
    assert "upstream {" not in text
    assert re.findall(r"open_file_cache\w* [^;]*;", text) == ["open_file_cache off;"]


def test_no_query_string_is_logged(make_role: Any) -> None:
    """The access log holds neither `$request`, `$request_uri`, `$args` nor the bare referrer."""
    text = main(make_role, SHOP)
    log_format = re.search(r"log_format json.*?;\n", text, re.DOTALL)
    assert log_format is not None
    logged = set(re.findall(r"\$(\w+)", log_format[0]))
    assert "logged_path" in logged
    assert not logged & {"request", "request_uri", "args", "query_string", "http_referer", "uri"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "../shop"}, "name '../shop' must begin with a letter"),
        ({"name": "Shop"}, "must begin with a letter"),
        ({"server_names": []}, "server_names is empty"),
        ({"server_names": ["shop.example.org; return 200"]}, "is not a host name"),
        ({"server_names": ["bücher.example"]}, "xn-- form"),
        ({"server_names": ["x" * 64 + ".example"]}, "is not a host name"),
        ({"server_names": [LONGEST + "d"]}, "is not a host name"),
        ({"upstream": "unix:/srv/shop/a b.sock"}, "must be like 'unix:/srv"),
        ({"upstream": "unix:/a;}"}, "must be like 'unix:/srv"),
        ({"upstream": "shop"}, "must be like 'unix:/srv"),
        ({"max_body": "1x"}, "must be a size like '10m'"),
        ({"max_body": "1m\n"}, "must be a size like '10m'"),
        ({"read_timeout": 0}, "must be a number of seconds"),
        ({"read_timeout": True}, "must be a number of seconds"),
    ],
)
def test_a_value_that_nginx_could_not_serve_is_refused(
    make_role: Any, change: dict[str, Any], sentence: str
) -> None:
    """The sentence names variable and value, and a value that would work."""
    with pytest.raises(AnsibleError, match=re.escape(sentence)) as refused:
        sites(make_role, SHOP | change)
    assert "nginx_sites" in str(refused.value)


def test_a_name_belongs_to_one_site(make_role: Any) -> None:
    """Nginx would only warn and serve the first one."""
    with pytest.raises(AnsibleError, match=r"'shop' and 'other' both want shop\.example\.org"):
        sites(make_role, SHOP, SHOP | {"name": "other"})
    with pytest.raises(AnsibleError, match="two sites are named 'shop'"):
        sites(make_role, SHOP, SHOP)


def test_odd_names_that_are_right_pass(make_role: Any) -> None:
    """The longest name, a single label, a wildcard and a punycode name are served."""
    names = [LONGEST, "localhost", "*.example.org", "xn--bcher-kva.example", "1.example"]
    assert f"server_name {' '.join(names)};" in sites(make_role, SHOP | {"server_names": names})["shop"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(["name", "upstream", "max_body", "read_timeout", "server_names"]),
    value=st.text(alphabet=st.characters(codec="utf-8"), max_size=40)
    | st.text(alphabet="az09.:/-_*m;{}$\"'\\\n \t#", max_size=12),
)
def test_no_accepted_value_ends_a_directive(make_role: Any, key: str, value: str) -> None:
    """Whatever is accepted holds no character that means something to Nginx."""
    role = make_role("nginx", facts=IPV6)
    role._variables["nginx_sites"] = [SHOP | {key: [value] if key == "server_names" else value}]
    try:
        checked = role.value("__nginx_sites")
    except AnsibleError:
        return
    printed = " ".join(str(checked[0][each]) for each in ("name", "upstream", "max_body", "read_timeout"))
    assert not set(printed + checked[0]["server_names"][0]) & set(";{}$\"'\\\n\t#")


def test_an_application_under_a_path_has_nothing_beside_it(make_role: Any) -> None:
    """Whatever else is asked gets 404; without its last slash the path leads to where it has one."""
    text = sites(make_role, SHOP | {"path": "/a.b", "strip_path": True})["shop"]
    assert "location ~ ^/a\\.b(/|$) {\n" in text
    assert "location / {\n        return 404;" in text
    assert "location = /a.b {\n        return 301 https://$host$host_port/a.b/$is_args$args;" in text
    assert "location = /a.b/metrics {\n        return 404;" in text
    assert "rewrite" not in text
    kept = sites(make_role, SHOP | {"path": "/shop"})["shop"]
    assert "location = /shop {" not in kept
    assert is_balanced(text)
    assert is_balanced(kept)


def test_static_files_are_looked_for_in_both_releases(make_role: Any) -> None:
    """In the live one first, by paths that need no reload; the application is not asked for them."""
    static = [{"path": "/assets", "roots": ["/srv/shop/current/static", "/srv/shop/previous/static"]}]
    text = sites(make_role, SHOP | {"static": static})["shop"]
    assert "location ^~ /assets/ {" in text
    assert "try_files /srv/shop/current/static$uri /srv/shop/previous/static$uri =404;" in text
    assert "try_files /srv" not in sites(make_role, SHOP)["shop"]
    assert is_balanced(text)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"path": "shop"}, "path 'shop' must begin with '/'"),
        ({"path": "/shop/"}, "must begin with '/' and not end with it"),
        ({"path": "/a b"}, "must begin with '/'"),
        ({"static": [{"path": "/", "roots": ["/srv"]}]}, "must be like '/assets'"),
        ({"static": [{"path": "/assets", "roots": ["/srv/a;b"]}]}, "must be a directory like"),
        ({"static": [{"path": "/assets"}]}, "must be a directory like"),
    ],
)
def test_a_path_that_nginx_could_not_serve_is_refused(
    make_role: Any, change: dict[str, Any], sentence: str
) -> None:
    """One sentence, as for every other value."""
    with pytest.raises(AnsibleError, match=re.escape(sentence)):
        sites(make_role, SHOP | change)
