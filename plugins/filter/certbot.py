"""Filters of role certbot: which machines stand behind one name, and which of them asks for all."""

import ipaddress
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from ansible.errors import AnsibleFilterError
from fastapi_metal.apps.addresses import addresses
from fastapi_metal.apps.specs import complete, runs_on

Variables = Mapping[str, Mapping[str, Any]]
Rows = list[dict[str, Any]]

_FILE = "group_vars/all/certbot.yml"


def _issuer(hostvars: Variables, host: str) -> str:
    return str(hostvars[host].get("certbot_issuer") or "")


def _sites(apps: Variables, hostvars: Variables, host: str) -> Rows:
    """Return the sites of another machine, which has the role's default where its variables say nothing."""
    own = hostvars[host].get("certbot_sites")
    if own is not None:
        return list(own)
    here = {name: complete(app) for name, app in apps.items() if runs_on(app, hostvars[host]["group_names"])}
    return [
        {"name": name, "domains": [app["domain"], *app["aliases"]]}
        for name, app in sorted(here.items())
        if app["web"]["tls"]["mode"] == "acme"
    ]


def _addresses(host: str, hostvars: Variables) -> list[str]:
    try:
        return addresses(host, hostvars)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


def certbot_peers(apps: Variables, groups: Mapping[str, list[str]], hostvars: Variables, here: str) -> Rows:
    """Return the machines to which this one brings certificates: name, address, port, and all addresses."""
    if _issuer(hostvars, here) != here:
        return []
    return [
        {
            "name": host,
            "address": addresses[0],
            "addresses": addresses,
            "port": int(hostvars[host].get("certbot_ssh_port") or hostvars[host].get("ansible_port") or 22),
        }
        for host in groups["all"]
        if host != here and _issuer(hostvars, host) == here and _sites(apps, hostvars, host)
        for addresses in [_addresses(host, hostvars)]
    ]


def certbot_others(
    apps: Variables, groups: Mapping[str, list[str]], hostvars: Variables, here: str
) -> list[str]:
    """Return the addresses of all machines that show the same certificates as this one."""
    issuer = _issuer(hostvars, here)
    if not issuer or issuer not in hostvars:
        return []
    peers = certbot_peers(apps, groups, hostvars, issuer)
    return [*_addresses(issuer, hostvars), *(address for peer in peers for address in peer["addresses"])]


def certbot_takes(apps: Variables, hostvars: Variables, here: str) -> bool:
    """Tell whether this machine takes its certificates from another one."""
    return _issuer(hostvars, here) not in ("", here) and bool(_sites(apps, hostvars, here))


def certbot_way(issuer: str, hostvars: Variables, here: str) -> str:
    """Return the address to which the authority's challenges are passed on, if they are not answered here."""
    if issuer in ("", here) or issuer not in hostvars:
        return ""
    first = _addresses(issuer, hostvars)[0]
    return f"[{first}]" if ipaddress.ip_address(first).version == 6 else first


def certbot_machines(groups: Mapping[str, list[str]], hostvars: Variables, here: str) -> dict[str, str]:
    """Return the other machines of the inventory by each address that it says of them."""
    found = {}
    for host in groups["all"]:
        address = str(hostvars[host].get("ansible_host") or "")
        for each in [address, *(hostvars[host].get("firewall_addresses") or [])]:
            if host != here and each:
                found[str(each)] = host
    return found


def certbot_problems(
    sites: Rows, issuer: str, apps: Variables, groups: Mapping[str, list[str]], hostvars: Variables, here: str
) -> list[str]:
    """Return a sentence for each mistake in who asks for whom."""
    if issuer in ("", here):
        return []
    if issuer not in groups["all"]:
        known = ", ".join(groups["all"])
        return [f"`certbot_issuer` in {_FILE} is {issuer}, and hosts.yml knows no such machine: use {known}."]
    if _issuer(hostvars, issuer) != issuer:
        return [
            f"`certbot_issuer` of {here} is {issuer}, which does not ask for others: set "
            f"`certbot_issuer: {issuer}` for {issuer} too, best for the whole group in "
            "group_vars/web/certbot.yml."
        ]
    theirs = {site["name"]: list(site["domains"]) for site in _sites(apps, hostvars, issuer)}
    return [
        f"`certbot_issuer` of {here} is {issuer}, which does not serve {site['name']} "
        f"({', '.join(site['domains'])}) as {here} does, and asks for no certificate for it: let the "
        f"application run on both (`apps.{site['name']}.hosts`), or name a machine that serves it."
        for site in sites
        if theirs.get(site["name"]) != list(site["domains"])
    ]


class FilterModule:
    """Offer the filters to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by the name that templates use."""
        return {
            "certbot_addresses": _addresses,
            "certbot_machines": certbot_machines,
            "certbot_others": certbot_others,
            "certbot_peers": certbot_peers,
            "certbot_problems": certbot_problems,
            "certbot_takes": certbot_takes,
            "certbot_way": certbot_way,
        }
