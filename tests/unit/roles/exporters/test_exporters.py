"""What the table's rows become: an environment file and a drop-in for each exporter that is enabled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml


def files(make_role: Any, **variables: Any) -> dict[str, dict[str, str]]:
    """Return the files of the enabled rows, by path."""
    listed = yaml.safe_load(make_role("exporters", **variables).render("files.yml.j2"))
    return {file["path"]: file for file in listed}


def arguments(make_role: Any, unit: str, **variables: Any) -> str:
    """Return the line of arguments of a unit."""
    lines = files(make_role, **variables)[f"/etc/default/{unit}"]["content"].splitlines()
    return next(line for line in lines if line.startswith("ARGS="))


ALL = ["node", "nginx", "postgres", "redis", "probe", "access"]
UNITS = [
    "prometheus-node-exporter",
    "prometheus-nginx-exporter",
    "prometheus-postgres-exporter",
    "prometheus-redis-exporter",
    "prometheus-blackbox-exporter",
]
REMOTE = {
    "exporters_gateway_address": "10.0.0.11",
    "exporters_gateway_password": "known-to-everybody-1234",
}
SHOP = {"name": "shop", "host": "shop.example.org", "certificate": "/etc/nginx/tls/shop/fullchain.pem"}


def test_the_machine_alone_is_measured_by_default(make_role: Any) -> None:
    """An exporter whose service is not here would only make noise."""
    assert [path for path in files(make_role) if path.startswith("/etc/default/")] == [
        "/etc/default/prometheus-node-exporter"
    ]


@pytest.mark.parametrize("unit", UNITS)
def test_every_exporter_listens_on_loopback(make_role: Any, unit: str) -> None:
    """Nobody outside learns what the machine does."""
    line = arguments(make_role, unit, exporters_enabled=ALL)
    assert "--web.listen-address=127.0.0.1:" in line


def test_what_reads_the_log_listens_on_loopback(make_role: Any) -> None:
    """mtail's unit takes address and port apart; it would listen on all addresses without."""
    file = files(make_role, exporters_enabled=ALL)["/etc/default/mtail"]["content"]
    assert "HOST='127.0.0.1'\nPORT='3903'\n" in file
    assert "LOGS='/var/log/nginx/access.log'\n" in file


def test_the_log_is_read_as_nginx_writes_it(make_role: Any, tmp_path: Path) -> None:
    """Fields in the order of Nginx's format; nothing that a visitor sends passes for one of them."""
    program = files(make_role, exporters_enabled=ALL)["/etc/mtail/access.mtail"]["content"]
    pattern = re.compile("".join(re.findall(r"^/(.*)/ (?:\+|\{)$", program, re.MULTILINE)))
    template = (make_role("nginx").path / "templates/nginx.conf.j2").read_text()
    written = "".join(re.findall(r"^        '(.*?)'", template.partition("log_format")[2], re.MULTILINE))
    evil = r"\",\"status\":\"500\",\"bytes\":1,\"seconds\":9.0,"
    values = {
        "server_name": "shop.example.org",
        "scheme": "https",
        "status": "200",
        "body_bytes_sent": "5",
        "request_time": "0.004",
        "upstream_status": "",
        "upstream_response_time": "",
        "upstream_cache_status": "HIT",
        "request_method": evil,
    }
    line = re.sub(
        r"\$(\w+)", lambda found: values.get(found[1], evil if "logged" in found[1] else "x"), written
    )
    found = pattern.match(line)
    assert found, line
    assert found.groupdict() == {
        "site": "shop.example.org",
        "scheme": "https",
        "status": "200",
        "seconds": "0.004",
        "upstream": "",
        "result": "HIT",
    }


@pytest.mark.parametrize("unit", [*UNITS, "mtail", "exporters-gateway"])
def test_every_exporter_comes_back_for_ever(make_role: Any, unit: str) -> None:
    """Debian's five tries within a second are over before Nginx is back from an upgrade."""
    path = f"/etc/systemd/system/{unit}.service.d/restart.conf"
    content = files(make_role, exporters_enabled=ALL)[path]["content"]
    assert "StartLimitIntervalSec=0\n" in content
    assert "Restart=always\n" in content


def test_postgresql_is_asked_without_a_password(make_role: Any) -> None:
    """The socket knows who asks, so there is no secret to keep."""
    file = files(make_role, exporters_enabled=ALL)["/etc/default/prometheus-postgres-exporter"]
    assert "DATA_SOURCE_NAME='user=prometheus host=/run/postgresql dbname=postgres'\n" in file["content"]
    assert (file["owner"], file["mode"]) == ("prometheus", "0640")


def test_arguments_of_the_inventory_are_added(make_role: Any) -> None:
    """A collector can be switched on for one exporter, and the others keep their arguments."""
    more = {"node": ["--collector.systemd"]}
    variables = {"exporters_enabled": ALL, "exporters_arguments": more}
    assert arguments(make_role, "prometheus-node-exporter", **variables).endswith(" --collector.systemd'")
    assert "systemd" not in arguments(make_role, "prometheus-nginx-exporter", **variables)


def test_check_mode_knows_what_is_not_there_yet(make_role: Any) -> None:
    """Only the units of packages that apt would install are left out."""
    announced = {"stdout": "Reading\nInst prometheus-nginx-exporter (1.4 Debian)\nConf x\n"}
    checked = make_role("exporters", ansible_check_mode=True, __exporters_packages=announced)
    assert checked.value("__exporters_missing") == ["prometheus-nginx-exporter"]
    assert make_role("exporters", __exporters_packages=announced).value("__exporters_missing") == []


def test_every_row_can_be_enabled(make_role: Any) -> None:
    """The specs allow the names of the table, and no others."""
    role = make_role("exporters")
    specs = yaml.safe_load((role.path / "meta/argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    assert specs["exporters_enabled"]["choices"] == [row["name"] for row in role.value("__exporters_table")]


def gateway(make_role: Any, **variables: Any) -> str:
    """Return the gateway's configuration."""
    return files(make_role, **variables)["/etc/exporters-gateway/gateway.conf"]["content"]


def test_the_gateway_is_on_loopback_alone_by_default(make_role: Any) -> None:
    """With one server nothing is offered to the network."""
    assert gateway(make_role).count("listen ") == 1
    assert "listen 127.0.0.1:9101;" in gateway(make_role)


def test_others_are_let_in_with_tls_and_a_password(make_role: Any) -> None:
    """Every server block that is not on loopback has both."""
    text = gateway(make_role, **REMOTE)
    outside = text.split("listen 10.0.0.11:9101 ssl;")[1]
    assert "auth_basic_user_file /etc/exporters-gateway/passwords;" in outside
    assert "ssl_certificate /etc/exporters-gateway/10.0.0.11.crt;" in outside


def test_the_gateway_asks_exporters_and_releases(make_role: Any) -> None:
    """A row of the table is a path; a release is asked on its own socket, or for its last figures."""
    text = gateway(
        make_role, exporters_enabled=ALL, exporters_apps=[SHOP, SHOP | {"name": "mute", "host": None}]
    )
    for name in ALL:
        assert f"location = /{name} {{" in text
    assert "proxy_pass http://unix:/srv/shop/releases/$release/app.sock:/metrics;" in text
    assert "try_files /$app/$release.prom =502;" in text
    assert "mute" not in text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            REMOTE | {"exporters_gateway_address": "web1"},
            "for example `exporters_gateway_address: 10.0.0.11`",
        ),
        (REMOTE | {"exporters_gateway_password": "short"}, "openssl rand -hex 16"),
        (REMOTE, ""),
        ({}, ""),
    ],
)
def test_an_open_gateway_is_refused(make_role: Any, variables: dict[str, Any], sentence: str) -> None:
    """An address that is none, or a password that can be guessed, is named with the way out."""
    complaints = make_role("exporters", **variables).value("__exporters_complaints")
    assert [sentence] == [
        found for found in [sentence] if any(found in text for text in complaints) or not found
    ]
    assert bool(complaints) == bool(sentence)


def test_what_a_machine_shows_by_itself_is_passed_on(make_role: Any) -> None:
    """An exporter of one's own gets a path, with the same TLS and password."""
    text = gateway(make_role, **REMOTE, exporters_own={"rabbitmq": "http://127.0.0.1:15692/metrics"})
    assert text.count("location = /rabbitmq {") == 2
    assert text.count("proxy_pass http://127.0.0.1:15692/metrics;") == 2


@pytest.mark.parametrize(
    "own",
    [
        {"node": "http://127.0.0.1:1/metrics"},
        {"releases": "http://127.0.0.1:1/metrics"},
        {"a b": "http://127.0.0.1:1/metrics"},
        {"rabbitmq": "127.0.0.1:15692"},
        {"rabbitmq": "http://127.0.0.1:1/; return 200"},
    ],
)
def test_what_could_not_be_passed_on_is_refused(make_role: Any, own: dict[str, str]) -> None:
    """A name that is taken, or no address: one sentence with one that works."""
    (sentence,) = make_role("exporters", exporters_own=own).value("__exporters_complaints")
    assert next(iter(own)) in sentence
    assert '{rabbitmq: "http://127.0.0.1:15692/metrics"}' in sentence


def test_the_password_lies_there_as_a_digest(make_role: Any) -> None:
    """The same one gives the same text, so a second run changes nothing; another machine has another text."""
    role = make_role("exporters")
    first, again, other = (
        role.value("{{ 'known-to-everybody' | exporters_salted('" + host + "') }}")
        for host in ("a", "a", "b")
    )
    assert first == again != other
    assert first.startswith("{SSHA}")


def test_each_port_is_looked_at_before(make_role: Any) -> None:
    """Every row and the gateway, with the variable that says it; a cache elsewhere must be found."""
    role = make_role("exporters", exporters_enabled=ALL, exporters_redis_url="redis://cache.example.org:6379")
    rows = yaml.safe_load(role.value("__exporters_listen"))
    assert [row["variable"] for row in rows] == [f"exporters_{name}_listen" for name in (*ALL, "gateway")]
    assert {row["address"].split(":")[0] for row in rows} == {"127.0.0.1"}
    assert role.value("__exporters_find") == [
        {"name": "cache.example.org", "variable": "exporters_redis_url"}
    ]
    assert make_role("exporters").value("__exporters_find") == []
