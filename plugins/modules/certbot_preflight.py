#!/usr/bin/python
"""Check that domains lead to this machine before anything is changed on it."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable

from ansible.module_utils.basic import AnsibleModule

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
  refuse:
    description: Fail if a domain leads elsewhere; otherwise only warn.
    type: bool
    default: true
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
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def parse(texts: Iterable[str]) -> set[Address]:
    """Return addresses without their zone, as in fe80::1%eth0; raise ValueError for what is none."""
    return {ipaddress.ip_address(text.split("%")[0]) for text in texts}


def resolve(domain: str) -> set[Address]:
    """Return the addresses that this machine finds for a domain."""
    return parse(str(entry[4][0]) for entry in socket.getaddrinfo(domain, 80, type=socket.SOCK_STREAM))


def unusable(domain: str) -> str | None:
    """Return why no certificate can be had for a domain by this way, if so."""
    if domain.startswith("*."):
        return f"{domain}: a certificate over HTTP cannot hold a wildcard; list the names themselves"
    if (
        len(domain) > 253
        or "." not in domain
        or not all(_LABEL.fullmatch(each) for each in domain.split("."))
    ):
        return f"{domain}: not a domain in lower case, like shop.example.org (xn-- form for other letters)"
    return None


def complaint(domain: str, found: set[Address], own: set[Address]) -> str | None:
    """Return a sentence if a domain leads elsewhere."""
    # Debian's installer writes the machine's name into /etc/hosts with 127.0.1.1: no word about DNS.
    foreign = {address for address in found - own if not address.is_loopback}
    if not foreign:
        return None
    listed = ", ".join(sorted(map(str, foreign)))
    mine = ", ".join(sorted(str(address) for address in own if not address.is_loopback)) or "none"
    return (
        f"{domain} resolves to {listed}, which is not an address of this machine ({mine}): correct its DNS "
        f"record, or set certbot_public_addresses: [{listed}] if that leads here"
    )


def examine(
    domains: Iterable[str], own: set[Address], ask: Callable[[str], set[Address]] = resolve
) -> tuple[list[str], dict[str, list[str]]]:
    """Return the complaints about all domains, and what each resolves to."""
    complaints: list[str | None] = []
    resolved: dict[str, list[str]] = {}
    for domain in domains:
        wrong = unusable(domain)
        if wrong:
            complaints.append(wrong)
            continue
        try:
            found = ask(domain)
        except OSError as error:
            complaints.append(
                f"{domain} does not resolve ({error.strerror}): add a DNS record that leads to this machine"
            )
            continue
        resolved[domain] = sorted(map(str, found))
        complaints.append(complaint(domain, found, own))
    return [each for each in complaints if each], resolved


def main() -> None:
    """Speak to Ansible."""
    module = AnsibleModule(
        argument_spec={
            "sites": {"type": "list", "elements": "dict", "required": True},
            "addresses": {"type": "list", "elements": "str", "required": True},
            "public_addresses": {"type": "list", "elements": "str", "default": []},
            "refuse": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    try:
        own = parse(module.params["addresses"]) | parse(module.params["public_addresses"])
    except ValueError as error:
        module.fail_json(msg=f"certbot_public_addresses: {error}; write addresses like 198.18.0.10.")
    domains = [domain for site in module.params["sites"] for domain in site["domains"]]
    complaints, resolved = examine(domains, own)
    if complaints and module.params["refuse"]:
        module.fail_json(
            msg=". ".join(complaints) + ". (certbot_preflight: false turns this into a warning.)"
        )
    for each in complaints:
        module.warn(each + ".")
    module.exit_json(changed=False, resolved=resolved)


if __name__ == "__main__":
    main()
