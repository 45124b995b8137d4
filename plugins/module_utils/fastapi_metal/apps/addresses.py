"""Where the machines of an inventory see each other, by what it says of them."""

import ipaddress
from collections.abc import Mapping
from typing import Any

# Variables of a machine's own, of which each is an address or a list of them.
_NAMES = (
    "ansible_host",
    "exporters_gateway_address",
    "postgresql_listen_addresses",
    "valkey_listen_addresses",
)


def addresses(host: str, hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the addresses by which others see a machine: its own variable, or what the inventory says.

    ValueError, with a sentence, where it says none.
    """
    found = _listed(hostvars[host].get("firewall_addresses"))
    if not found:
        every = (address for name in _NAMES for address in _listed(hostvars[host].get(name)))
        found = [address for address in every if _is_address(address)]
    if not found:
        raise ValueError(
            f"{host} is to be let in by others, and the inventory says no address of it: set "
            f"`firewall_addresses: [10.0.0.11]` in host_vars/{host}.yml, with those by which others see it."
        )
    return found


def _listed(value: Any) -> list[str]:
    if not value:
        return []
    return [value] if isinstance(value, str) else [str(one) for one in value]


def _is_address(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return False
