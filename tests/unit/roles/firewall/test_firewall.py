"""What the inventory says becomes a set of rules that lets in nobody else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

APPS = {"shop": {"hosts": "web", "domain": "shop.example.org"}}
GROUPS = {"all": ["web1", "db1", "mon1"], "web": ["web1"], "database": ["db1"], "monitoring": ["mon1"]}
HOSTVARS: dict[str, Any] = {
    "web1": {"ansible_host": "198.18.5.11", "exporters_gateway_address": "10.0.0.11"},
    "db1": {
        "ansible_host": "db1.example.org",
        "postgresql_listen_addresses": ["10.0.0.12"],
        "postgresql_client_networks": ["10.0.0.11"],
        "exporters_gateway_address": "10.0.0.12",
    },
    "mon1": {"ansible_host": "198.18.5.13", "firewall_addresses": ["10.0.0.13", "fd00::13"]},
}


def rules(make_role: Any, host: str = "web1", **variables: Any) -> str:
    """Return the set of rules of a machine."""
    fleet = {"apps": APPS, "groups": GROUPS, "hostvars": HOSTVARS, "inventory_hostname": host}
    return str(make_role("firewall", **{**fleet, **variables}).render("firewall.nft.j2"))


def test_a_web_server_offers_the_web_and_its_figures(make_role: Any) -> None:
    """The web is open to everybody, the figures to the machine that watches, by both versions of IP."""
    text = rules(make_role)
    assert 'tcp dport { 80, 443 } counter accept comment "web"' in text
    assert 'ip saddr { 10.0.0.13 } tcp dport { 9101 } counter accept comment "figures"' in text
    assert 'ip6 saddr { fd00::13 } tcp dport { 9101 } counter accept comment "figures"' in text
    assert "5432" not in text
    assert "policy drop;" in text


def test_a_database_offers_its_port_to_its_clients(make_role: Any) -> None:
    """What PostgreSQL listens for is let in, and no web."""
    text = rules(make_role, "db1")
    assert 'ip saddr { 10.0.0.11 } tcp dport { 5432 } counter accept comment "database"' in text
    assert "dport { 80, 443 }" not in text


def test_a_machine_that_nobody_asks_offers_ssh_alone(make_role: Any) -> None:
    """The watcher itself has no port for others."""
    accepted = [line for line in rules(make_role, "mon1").splitlines() if "counter accept" in line]
    assert [line.strip() for line in accepted] == ['tcp dport { 22 } counter accept comment "ssh"']


def test_two_that_watch_hear_each_other(make_role: Any) -> None:
    """The port of one is open to the other alone, and closed where one watches alone."""
    hostvars = {
        **HOSTVARS,
        "mon1": {**HOSTVARS["mon1"], "alertmanager_cluster_listen": "10.0.0.13:9094"},
        "mon2": {"ansible_host": "10.0.0.14", "alertmanager_cluster_listen": "10.0.0.14:9094"},
    }
    pair = {**GROUPS, "all": [*GROUPS["all"], "mon2"], "monitoring": ["mon1", "mon2"]}
    text = rules(make_role, "mon1", hostvars=hostvars, groups=pair)
    assert 'ip saddr { 10.0.0.14 } tcp dport { 9094 } counter accept comment "alerts"' in text
    assert "9094" not in rules(make_role, "web1", hostvars=hostvars, groups=pair)
    assert "9094" not in rules(make_role, "mon1", hostvars=hostvars)


def test_journals_come_in_where_the_copies_are(make_role: Any) -> None:
    """Every other machine may send, by an address that the inventory says."""
    hostvars = {name: {**values, "journal_central": "mon1"} for name, values in HOSTVARS.items()}
    text = rules(make_role, "mon1", hostvars=hostvars)
    assert "ip saddr { 10.0.0.11, 10.0.0.12, 198.18.5.11 } tcp dport { 19532 }" in text
    assert "19532" not in rules(make_role, "web1", hostvars=hostvars)


def test_a_machine_without_an_address_is_asked_for_one(make_role: Any) -> None:
    """A name cannot be a rule: it would be looked up once, at some other time."""
    hostvars = {**HOSTVARS, "mon1": {"ansible_host": "mon1.example.org"}}
    with pytest.raises(Exception, match=r"firewall_addresses: \[10\.0\.0\.11\]. in host_vars/mon1\.yml"):
        rules(make_role, hostvars=hostvars)


def test_ssh_comes_from_where_the_inventory_says(make_role: Any) -> None:
    """Networks that overlap become one, as nft would refuse them."""
    text = rules(make_role, firewall_ssh_from=["198.18.5.0/24", "198.18.5.7", "2001:db8:5::/48"])
    assert 'ip saddr { 198.18.5.0/24 } tcp dport { 22 } counter accept comment "ssh"' in text
    assert 'ip6 saddr { 2001:db8:5::/48 } tcp dport { 22 } counter accept comment "ssh"' in text
    assert '        tcp dport { 22 } counter accept comment "ssh"' not in text


def test_only_its_own_table_is_replaced(make_role: Any) -> None:
    """Tables of fail2ban, Docker and libvirt stay."""
    text = rules(make_role)
    assert "flush ruleset" not in text
    assert "delete table inet fastapi_metal" in text
    assert "hook forward" not in text


def test_applications_are_kept_from_the_ports_inside(make_role: Any) -> None:
    """By their numbers, of those that run here and have a user already; the main set takes the rules in."""
    apps = {**APPS, "blog": {"domain": "blog.example.org"}, "new": {}, "other": {"hosts": "database"}}
    users = {"shop": ["x", "997", "996"], "blog": ["x", "998", "995"], "other": ["x", "994", "994"]}
    fleet = {"apps": apps, "groups": GROUPS, "hostvars": HOSTVARS, "inventory_hostname": "web1"}
    role = make_role("firewall", **fleet, ansible_facts={"getent_passwd": users})
    text = str(role.render("inner.nft.j2"))
    assert "oif lo meta skuid { 998, 997 } tcp dport { 3000, 3903, 9090," in text
    assert "# blog, shop\n" in text
    assert 'include "/etc/fastapi-metal/inner*.nft"' in str(role.render("firewall.nft.j2"))
    assert "chain" not in make_role("firewall", **fleet).render("inner.nft.j2")


def test_every_port_inside_is_known(make_role: Any) -> None:
    """Each port on loopback that a role has by default is among those that applications may not ask."""
    roles = Path(__file__).parents[4] / "roles"
    texts = [file.read_text() for part in ("defaults", "vars") for file in roles.glob(f"*/{part}/main.yml")]
    listening = {
        int(port) for text in texts for port in re.findall(r": 127\.0\.0\.1:(\d+)$", text, re.MULTILINE)
    }
    assert len(listening) > 8
    assert sorted(listening - set(make_role("firewall").value("firewall_inner_ports"))) == []


def test_lines_of_the_inventory_come_before_the_rules(make_role: Any) -> None:
    """Who is to be refused is refused, also at a port that is open."""
    text = rules(make_role, firewall_lines=["ip saddr 198.18.9.0/24 drop"])
    assert text.index("198.18.9.0/24 drop") < text.index('comment "ssh"')


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"firewall_ssh_from": ["198.18.5.1/24"]}, "firewall_ssh_from: 198.18.5.1/24 has host bits set"),
        ({"firewall_ssh_from": ["office"]}, "firewall_ssh_from: 'office' does not appear to be"),
        ({"firewall_ssh_ports": []}, "nobody could log in"),
        ({"firewall_rules": [{"name": "mail", "ports": [25], "from": ["10.0.0.300"]}]}, "rule 'mail'"),
        ({"firewall_rules": [{"name": "mail", "ports": [70000]}]}, "70000 is no port"),
        ({"firewall_rules": [{"name": 'a"; drop', "ports": [25]}]}, "a name is letters"),
        ({"firewall_rules": [{"name": "mail", "ports": [25, 587], "from": ["10.0.0.0/24", "fd00::1"]}]}, ""),
    ],
)
def test_what_is_no_rule_is_refused(make_role: Any, variables: dict[str, Any], sentence: str) -> None:
    """A network or a port that is none is named, with one that works."""
    complaints = make_role("firewall", **variables).value("__firewall_complaints")
    assert bool(complaints) == bool(sentence)
    assert all(sentence in complaint for complaint in complaints)
