"""Filters of role firewall: what the inventory says becomes rules, and nothing has to be listed twice."""

import ipaddress
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from ansible.errors import AnsibleFilterError
from fastapi_metal.apps.addresses import addresses

Variables = Mapping[str, Mapping[str, Any]]
Groups = Mapping[str, list[str]]
Rule = dict[str, Any]

# What a machine has where its variables say nothing: the defaults of the roles whose ports these are.
_GATEWAY_PORT = "127.0.0.1:9101"
_POSTGRESQL_PORT = 5432
_VALKEY_PORT = 6379
_JOURNAL_PORT = 19532
_SSH_PORT = 22
# It stands in a comment of nft.
_NAME = re.compile(r"[A-Za-z0-9 ._-]{1,60}")


def firewall_services(
    apps: Variables, groups: Groups, hostvars: Variables, here: str, http3: bool = False
) -> list[Rule]:
    """Return what a machine offers to others, by what the inventory says of it."""
    rules = []
    if any(_runs(app, here, groups) for app in apps.values()):
        rules.append(_rule("web", [80, 443], []))
        if http3:
            rules.append({**_rule("web over HTTP/3", [443], []), "protocol": "udp"})
    mine = hostvars[here]
    if mine.get("postgresql_listen_addresses"):
        clients = list(mine.get("postgresql_client_networks") or [])
        rules += [_rule("database", [_POSTGRESQL_PORT], clients)] if clients else []
    if mine.get("valkey_listen_addresses"):
        clients = list(mine.get("valkey_client_networks") or [])
        port = int(mine.get("valkey_port") or _VALKEY_PORT)
        rules += [_rule("cache", [port], clients)] if clients else []
    rules += _certificates(hostvars, here) if rules else []
    return (
        rules
        + _watched(groups, hostvars, here)
        + _agreeing(groups, hostvars, here)
        + _central(groups, hostvars, here)
    )


def _runs(app: Mapping[str, Any], host: str, groups: Groups) -> bool:
    where = app.get("hosts", "web")
    return where == "all" or host in groups.get(where, [])


def firewall_users(
    apps: Variables, groups: Groups, here: str, users: Mapping[str, list[str]]
) -> list[dict[str, str]]:
    """Return the users of the applications of a machine that it knows already, with their numbers.

    `users` is what Ansible's module `getent` finds: the fields after the name.
    """
    names = sorted(name for name, app in apps.items() if _runs(app, here, groups) and name in users)
    return [{"name": name, "uid": users[name][1]} for name in names]


def _rule(name: str, ports: list[int], sources: list[str]) -> Rule:
    return {"name": name, "protocol": "tcp", "ports": ports, "from": sources}


def _watched(groups: Groups, hostvars: Variables, here: str) -> list[Rule]:
    """Return the rule for the machines whose Prometheus asks this one."""
    if not hostvars[here].get("exporters_gateway_address"):
        return []
    watchers = [host for host in groups.get("monitoring", []) if host != here]
    port = int(str(hostvars[here].get("exporters_gateway_listen") or _GATEWAY_PORT).rpartition(":")[2])
    return [_rule("figures", [port], _all_addresses(watchers, hostvars))] if watchers else []


def _certificates(hostvars: Variables, here: str) -> list[Rule]:
    """Return the rule for the machine that brings certificates to this one, over SSH."""
    issuer = hostvars[here].get("certbot_issuer") or ""
    if issuer in ("", here) or issuer not in hostvars or not hostvars[here].get("firewall_ssh_from"):
        return []
    ports = list(hostvars[here].get("firewall_ssh_ports") or [_SSH_PORT])
    return [_rule("certificates", ports, firewall_addresses(issuer, hostvars))]


def _agreeing(groups: Groups, hostvars: Variables, here: str) -> list[Rule]:
    """Return the rule for the machines whose Alertmanagers agree with this one's."""
    others = [host for host in groups.get("monitoring", []) if host != here]
    address = str(hostvars[here].get("alertmanager_cluster_listen") or "")
    if not address or not others or here not in groups["monitoring"]:
        return []
    return [_rule("alerts", [int(address.rpartition(":")[2])], _all_addresses(others, hostvars))]


def _central(groups: Groups, hostvars: Variables, here: str) -> list[Rule]:
    """Return the rule for the machines that send copies of their journals to this one."""
    senders = [host for host in groups["all"] if host != here]
    if hostvars[here].get("journal_central") != here or not senders:
        return []
    port = int(hostvars[here].get("journal_central_port") or _JOURNAL_PORT)
    return [_rule("journals", [port], _all_addresses(senders, hostvars))]


def _all_addresses(hosts: list[str], hostvars: Variables) -> list[str]:
    return sorted({address for host in hosts for address in firewall_addresses(host, hostvars)})


def firewall_addresses(host: str, hostvars: Variables) -> list[str]:
    """Return the addresses by which others see a machine: its own variable, or what the inventory says."""
    try:
        return addresses(host, hostvars)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


def firewall_problems(
    rules: Iterable[Mapping[str, Any]], ssh_from: list[str], ssh_ports: list[int]
) -> list[str]:
    """Return a sentence for each mistake in what the inventory says."""
    found = []
    for network in ssh_from:
        found += _network_problem("firewall_ssh_from", network)
    if not ssh_ports:
        found.append("firewall_ssh_ports is empty, and nobody could log in: write the port of sshd, as [22].")
    for rule in rules:
        where = f"firewall_rules, rule '{rule.get('name', '')}'"
        if not _NAME.fullmatch(str(rule.get("name", ""))):
            found.append(f"{where}: a name is letters, digits, spaces, dots and dashes, as `name: mail`.")
        for network in rule.get("from") or []:
            found += _network_problem(where, network)
    for port in [*ssh_ports, *(port for rule in rules for port in rule.get("ports") or [])]:
        if not 0 < int(port) < 65536:
            found.append(f"{port} is no port: write a number from 1 to 65535, as `ports: [25, 587]`.")
    return found


def _network_problem(where: str, network: str) -> list[str]:
    try:
        ipaddress.ip_network(str(network))
    except ValueError as error:
        example = "write an address or a network, such as 10.0.0.0/24 or 2001:db8::/32"
        return [f"{where}: {error}; {example}, in group_vars/all/firewall.yml."]
    return []


def firewall_sources(networks: Iterable[str], version: int) -> str:
    """Return the networks of one version as nft's set; overlapping ones would be refused."""
    parsed = [ipaddress.ip_network(network) for network in networks]
    wanted = ipaddress.collapse_addresses(network for network in parsed if network.version == version)  # type: ignore[type-var]
    texts = [str(network.network_address if network.num_addresses == 1 else network) for network in wanted]
    return f"{{ {', '.join(texts)} }}" if texts else ""


def firewall_statements(rule: Mapping[str, Any]) -> list[str]:
    """Return the lines of a rule: one for everybody, or one for each version of IP that it names."""
    ports = f"{rule.get('protocol') or 'tcp'} dport {{ {', '.join(map(str, rule['ports']))} }}"
    end = f'counter accept comment "{rule["name"]}"'
    sources = rule.get("from") or []
    if not sources:
        return [f"{ports} {end}"]
    sets = {family: firewall_sources(sources, version) for family, version in (("ip", 4), ("ip6", 6))}
    return [f"{family} saddr {members} {ports} {end}" for family, members in sets.items() if members]


class FilterModule:
    """Offer the filters to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by the name that templates use."""
        return {
            "firewall_problems": firewall_problems,
            "firewall_services": firewall_services,
            "firewall_sources": firewall_sources,
            "firewall_statements": firewall_statements,
            "firewall_users": firewall_users,
        }
