"""Filters for certificates, for each role that makes one."""

import ipaddress
from collections.abc import Callable
from typing import Any


def tls_alt_names(names: list[str]) -> str:
    """Return names and addresses as the value of a certificate's subjectAltName."""
    return ",".join(f"{_kind(name)}:{name}" for name in dict.fromkeys(names))


def _kind(name: str) -> str:
    """Return how a certificate calls this sort of name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "DNS"
    return "IP"


class FilterModule:
    """Offer the filters to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by the name that templates use."""
        return {"tls_alt_names": tls_alt_names}
