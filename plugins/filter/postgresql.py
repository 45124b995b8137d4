"""Filters of role postgresql: what its templates print but should not compute."""

import base64
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

# PostgreSQL's own default.
ITERATIONS = 4096


def postgresql_passwords(apps: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the secret `database_password` of each application that has one, by name."""
    secrets = {name: app.get("secrets") or {} for name, app in apps.items()}
    return {name: held["database_password"] for name, held in secrets.items() if "database_password" in held}


def postgresql_verifier(password: str, role: str, server: str) -> str:
    """Return what PostgreSQL stores for a password with SCRAM-SHA-256.

    The salt is made from role and server, so that the same password gives the same verifier and a second
    run has nothing to change. A salt is no secret: the server tells it to everybody who asks to log in.
    """
    if not re.fullmatch(r"[\x20-\x7e]+", password):
        raise AnsibleFilterError(
            f"the password of {role} is empty or holds characters outside of ASCII: "
            "set database_password to one made by `openssl rand -base64 24`"
        )
    return scram_verifier(password, hashlib.sha256(f"fastapi-metal {server} {role}".encode()).digest()[:16])


def scram_verifier(password: str, salt: bytes) -> str:
    """Return the verifier of RFC 5803 in PostgreSQL's notation."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    parts = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${ITERATIONS}:{parts[0]}${parts[1]}:{parts[2]}"


def postgresql_network(network: str) -> str:
    """Return a network as pg_hba.conf wants it: a single address gets its mask."""
    try:
        return str(ipaddress.ip_network(network))
    except ValueError as error:
        raise AnsibleFilterError(
            f"postgresql_client_networks: {error}; write an address or a network, such as 10.0.0.0/24"
        ) from error


def postgresql_literal(value: Any) -> str:
    """Return a value as postgresql.conf wants it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return str(value)
    text = str(value)
    if "\n" in text:
        raise AnsibleFilterError(f"postgresql_settings: {text!r} holds a line break; write it in one line")
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


class FilterModule:
    """Offer the filters to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by the name that templates use."""
        return {
            "postgresql_literal": postgresql_literal,
            "postgresql_network": postgresql_network,
            "postgresql_passwords": postgresql_passwords,
            "postgresql_verifier": postgresql_verifier,
        }
