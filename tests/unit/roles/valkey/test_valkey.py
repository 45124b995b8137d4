"""What role valkey promises, as far as it can be seen without a machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import MakeRole

PASSWORD = "correct-horse-battery-staple"  # noqa: S105  # of a test
LOCAL = {"name": "shop", "clients": "local"}
REMOTE = {"name": "office", "clients": "remote"}
GOOD: dict[str, Any] = {
    "valkey_users": [LOCAL, REMOTE],
    "valkey_passwords": {"shop": PASSWORD, "office": PASSWORD[::-1]},
    "valkey_listen_addresses": ["10.0.0.5"],
    "valkey_client_networks": ["10.0.0.0/24"],
}


def app(**keys: Any) -> dict[str, Any]:
    """Return an application with what every one needs, and these keys."""
    return {"domain": "shop.example.org", "source": {"path": "."}, "module": "shop.main:app", **keys}


def complaints(make_role: MakeRole, **variables: Any) -> list[str]:
    """Return the sentences with which the role refuses these variables."""
    return list(make_role("valkey", **variables).value("__valkey_complaints"))


def lines(text: str) -> list[str]:
    """Return the lines that say something."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_users_are_the_apps_that_ask_for_a_cache(make_role: MakeRole) -> None:
    """One user for each, with the password of its secrets; an app on another machine too is a remote one."""
    apps = {
        "shop": app(cache="valkey", secrets={"cache_password": PASSWORD}),
        "wide": app(cache="valkey", hosts="wide", secrets={"cache_password": PASSWORD}),
        "office": app(),
    }
    groups = {"web": ["web1"], "wide": ["web1", "web2"], "cache": ["web1"], "all": ["web1", "web2"]}
    role = make_role("valkey", apps=apps, groups=groups)
    assert role.value("valkey_users") == [LOCAL, {"name": "wide", "clients": "remote"}]
    assert role.value("valkey_passwords") == {"shop": PASSWORD, "wide": PASSWORD}


def test_a_user_has_its_own_keys_and_nothing_of_the_server(make_role: MakeRole) -> None:
    """Keys and channels begin with the name; what lists keys, or works on the server, is taken away."""
    role = make_role("valkey", **GOOD | {"valkey_users": [LOCAL | {"rules": "+info"}, REMOTE]})
    shop, office = role.value("__valkey_landed")["users"]
    assert shop["hash"] == hashlib.sha256(PASSWORD.encode()).hexdigest()
    assert shop["rules"].startswith("~shop:* resetchannels &shop:* +@all -@admin -@dangerous")
    assert shop["rules"].endswith(" +info")
    assert "-scan" in office["rules"]
    assert "shop" not in office["rules"]


def test_without_remote_clients_there_is_no_port(make_role: MakeRole) -> None:
    """The socket alone, nothing on a disk, and a process that has no network."""
    role = make_role("valkey", valkey_users=[LOCAL], valkey_passwords={"shop": PASSWORD})
    config = lines(role.render("valkey.conf.j2"))
    assert {"port 0", "unixsocket /run/valkey/valkey.sock", 'save ""', "appendonly no"} <= set(config)
    assert not [line for line in config if line.startswith(("tls", "bind"))]
    assert "PrivateNetwork=yes" in lines(role.render("valkey.service.conf.j2"))


def test_remote_clients_come_over_tls_and_from_known_addresses(make_role: MakeRole) -> None:
    """A TLS port on the addresses that are named, no plain one, and systemd lets nobody else in."""
    role = make_role("valkey", **GOOD)
    config = lines(role.render("valkey.conf.j2"))
    assert {"port 0", "tls-port 6379", "bind 10.0.0.5", 'tls-protocols "TLSv1.2 TLSv1.3"'} <= set(config)
    assert "IPAddressAllow=localhost 10.0.0.5 10.0.0.0/24" in lines(role.render("valkey.service.conf.j2"))


@pytest.mark.parametrize(("version", "name"), [("12", "redis"), ("13", "valkey")])
def test_both_releases_of_debian_have_one(make_role: MakeRole, version: str, name: str) -> None:
    """Debian 12 has Redis; the socket is the same, so that an app need not know."""
    role = make_role("valkey", facts={"distribution_major_version": version}, **GOOD)
    assert f"/usr/bin/{name}-server /etc/{name}/fastapi-metal.conf" in role.render("valkey.service.conf.j2")
    assert "unixsocket /run/valkey/valkey.sock" in role.render("valkey.conf.j2")
    assert f"exec {name}-cli" in role.render("cache-cli.j2")


@pytest.mark.parametrize(("memory", "kept"), [(128, 32), (3934, 491), (65536, 4096)])
def test_memory_follows_the_machine(make_role: MakeRole, memory: int, kept: int) -> None:
    """An eighth of it, within bounds."""
    role = make_role("valkey", facts={"memtotal_mb": memory}, **GOOD)
    assert f"maxmemory {kept}mb" in lines(role.render("valkey.conf.j2"))


def test_settings_of_the_user_win(make_role: MakeRole) -> None:
    """Whoever wants something else on a disk, or another limit, says it."""
    role = make_role("valkey", **GOOD, valkey_settings={"appendonly": True, "maxclients": 20})
    config = lines(role.render("valkey.conf.j2"))
    assert {"appendonly yes", "maxclients 20"} <= set(config)
    assert "appendonly no" not in config


def test_another_certificate_is_another_file(make_role: MakeRole) -> None:
    """The server reads it only at its start, so a changed one changes the configuration."""
    pairs = [{"valkey_tls_certificate": text, "valkey_tls_key": "K"} for text in ("A", "B")]
    first, second = (make_role("valkey", **GOOD | pair).value("__valkey_tls_base") for pair in pairs)
    assert first != second
    assert make_role("valkey", **GOOD).value("__valkey_tls_base").startswith("/etc/valkey/tls/self-signed-")


def test_what_works_is_not_refused(make_role: MakeRole) -> None:
    """No sentence for variables without fault, and none for none."""
    assert complaints(make_role, **GOOD) == []
    assert complaints(make_role) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"valkey_users": [LOCAL | {"name": "Shop x"}], "valkey_passwords": {"Shop x": PASSWORD}},
            "cannot be used: Shop x; write small letters",
        ),
        (
            {"valkey_users": [LOCAL | {"name": "default"}], "valkey_passwords": {"default": PASSWORD}},
            "belong to the server itself: default",
        ),
        ({"valkey_users": [LOCAL, LOCAL]}, "A name stands twice"),
        ({"valkey_passwords": {"shop": PASSWORD}}, "from Vault for office; `openssl rand -hex 24`"),
        ({"valkey_passwords": {"shop": "short", "office": PASSWORD}}, "can be guessed for shop:"),
        ({"valkey_passwords": {"shop": "a" * 40, "office": PASSWORD}}, "can be guessed for shop:"),
        ({"valkey_passwords": {"shop": f"a b{PASSWORD}", "office": PASSWORD}}, "can be guessed for shop:"),
        ({"valkey_listen_addresses": ["::"]}, "holds a wildcard"),
        ({"valkey_listen_addresses": []}, "office runs on other servers too, but nothing listens"),
        ({"valkey_client_networks": []}, "office runs on other servers too, but none is let in"),
        ({"valkey_tls_key": "PEM"}, "belong together"),
        ({"valkey_memory_mb": 5000}, "set an eighth of it, 491."),
        ({"valkey_memory_mb": 0}, "set an eighth of it, 491."),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(
    make_role: MakeRole, changes: dict[str, Any], sentence: str
) -> None:
    """Each says which variable is wrong and what would work, and no password is in it."""
    (said,) = complaints(make_role, **GOOD | changes)
    assert sentence in said
    assert PASSWORD not in said
