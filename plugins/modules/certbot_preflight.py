#!/usr/bin/python
"""Check that domains lead to this machine before anything is changed on it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from fastapi_metal.apps.hostnames import is_domain
else:
    from ansible.module_utils.fastapi_metal.apps.hostnames import is_domain

DOCUMENTATION = r"""
module: certbot_preflight
short_description: Check that domains lead to this machine
description:
  - Resolves each domain as this machine does. Every address that comes back, IPv4 and IPv6, must be one of
    the machine's or one of C(public_addresses), since the certificate authority may use any of them.
  - Changes nothing.
author: fastapi-metal
options:
  sites:
    description: List of C(name) and C(domains).
    type: list
    elements: dict
    required: true
  addresses:
    description: The machine's own addresses.
    type: list
    elements: str
    required: true
  public_addresses:
    description: Further addresses under which the world reaches this machine.
    type: list
    elements: str
    default: []
  machines:
    description: Names of other machines of the inventory, by address, for a domain that leads there.
    type: dict
    default: {}
  refuse:
    description: Fail if a domain leads elsewhere; otherwise only warn.
    type: bool
    default: true
  over_dns:
    description: The authority is answered over DNS. A domain need not lead here then, and may be a wildcard.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: preflight | Check that the shop leads to this machine
  certbot_preflight:
    sites: [{name: shop, domains: [shop.example.org]}]
    addresses: "{{ ansible_facts['all_ipv4_addresses'] }}"
"""

RETURN = r"""
resolved:
  description: The addresses of each domain.
  returned: always
  type: dict
"""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

APPS_FILE = "group_vars/all/apps.yml"
CERTBOT_FILE = "group_vars/all/certbot.yml"


def parse(texts: Iterable[str]) -> list[Address]:
    """Return addresses without their zone, as in fe80::1%eth0; raise ValueError for what is none."""
    return [ipaddress.ip_address(text.split("%")[0]) for text in texts]


def resolve(domain: str) -> list[Address]:
    """Return the addresses that this machine finds for a domain."""
    return parse(str(entry[4][0]) for entry in socket.getaddrinfo(domain, 80, type=socket.SOCK_STREAM))


def unusable(domain: str) -> str | None:
    """Return why no certificate can be had for a domain by this way, if so."""
    if domain.startswith("*."):
        return (
            "is a wildcard, which a certificate over HTTP cannot hold: set `certbot_dns_plugin`, or list "
            "names like shop.example.org"
        )
    if not is_domain(domain):
        return "is not a domain in lower case, like shop.example.org (xn-- form for other letters)"
    return None


def record(version: int, own: Iterable[Address]) -> str:
    """Return what to do with a domain's record of one version of IP: `own` begins with the best address."""
    kind = "A" if version == 4 else "AAAA"
    for address in own:
        if address.version == version and not address.is_loopback and not address.is_link_local:
            return f"set its {kind} record to {address}"
    return f"remove its {kind} record"


def elsewhere(
    found: Iterable[Address], own: list[Address], machines: Mapping[str, str] | None = None
) -> str | None:
    """Return where a domain leads if not here, and what would work."""
    # Debian's installer writes the machine's name into /etc/hosts with 127.0.1.1: no word about DNS.
    foreign = {address for address in found if address not in own and not address.is_loopback}
    if not foreign:
        return None
    listed = ", ".join(sorted(map(str, foreign)))
    known = {str(address): name for address, name in (machines or {}).items()}
    others = sorted({known[str(address)] for address in foreign if str(address) in known})
    if others:
        return (
            f"resolves to {listed}, which is {' and '.join(others)} of the inventory: where several machines "
            f"stand behind one name, one of them asks for all: set `certbot_issuer: {others[0]}` for them, "
            "in group_vars/web/certbot.yml"
        )
    mine = ", ".join(sorted({str(address) for address in own if not address.is_loopback})) or "none"
    records = " and ".join(record(version, own) for version in sorted({each.version for each in foreign}))
    return (
        f"resolves to {listed}, which is not an address of this machine ({mine}): {records}, or, if that "
        f"leads here, set `certbot_public_addresses: [{listed}]` in {CERTBOT_FILE}"
    )


def examine(
    sites: Iterable[Mapping[str, Any]],
    own: list[Address],
    ask: Callable[[str], list[Address]] = resolve,
    machines: Mapping[str, str] | None = None,
) -> tuple[list[str], dict[str, list[str]]]:
    """Return the complaints about the domains of all sites, and what each resolves to."""
    complaints: list[str] = []
    resolved: dict[str, list[str]] = {}
    for site in sites:
        for number, domain in enumerate(site["domains"]):
            variable = f"apps.{site['name']}.{'aliases' if number else 'domain'}"
            wrong = unusable(domain)
            if wrong is None:
                try:
                    found = ask(domain)
                except OSError as error:
                    # A machine with an IPv6 address alone needs no A record.
                    version = 4 if any(each.version == 4 for each in own) or not own else 6
                    wrong = f"does not resolve ({error.strerror}): {record(version, own)}"
                else:
                    resolved[domain] = sorted(map(str, found))
                    wrong = elsewhere(found, own, machines)
            if wrong:
                complaints.append(f"{domain} (`{variable}` in {APPS_FILE}) {wrong}")
    return complaints, resolved


def main() -> None:
    """Speak to Ansible."""
    module = AnsibleModule(
        argument_spec={
            "sites": {"type": "list", "elements": "dict", "required": True},
            "addresses": {"type": "list", "elements": "str", "required": True},
            "public_addresses": {"type": "list", "elements": "str", "default": []},
            "machines": {"type": "dict", "default": {}},
            "refuse": {"type": "bool", "default": True},
            "over_dns": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        # The public ones first: the world's way is what a DNS record should say.
        own = parse(module.params["public_addresses"]) + parse(module.params["addresses"])
    except ValueError as error:
        module.fail_json(
            msg=f"`certbot_public_addresses` in {CERTBOT_FILE}: {error}; write for example "
            "`certbot_public_addresses: [198.18.0.10]`."
        )
    if module.params["over_dns"]:
        module.exit_json(changed=False, resolved={})
    complaints, resolved = examine(module.params["sites"], own, machines=module.params["machines"])
    if complaints and module.params["refuse"]:
        module.fail_json(
            msg=f"{'. '.join(complaints)}. "
            f"(`certbot_preflight: false` in {CERTBOT_FILE} turns this into a warning.)"
        )
    for each in complaints:
        module.warn(each + ".")
    module.exit_json(changed=False, resolved=resolved)


if __name__ == "__main__":
    main()
