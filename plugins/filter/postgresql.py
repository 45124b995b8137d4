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
LOGIN_ITERATIONS = 20_000
# PostgreSQL cuts names after 63 bytes.
LONGEST_OWNER = 56

Rows = list[dict[str, Any]]


def postgresql_passwords(apps: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the secret `database_password` of each application that has one, by name."""
    secrets = {name: app.get("secrets") or {} for name, app in apps.items()}
    return {name: held["database_password"] for name, held in secrets.items() if "database_password" in held}


def postgresql_login(password: str, owner: str) -> str:
    """Return the role that logs in with a password, a member of the owner: another password is another role.

    So the one before goes on letting in whoever still has it, until it is locked. Without a password it is
    the owner itself. The name tells of 24 bits only, and is slow to make.
    """
    if not password:
        return owner
    if len(owner) > LONGEST_OWNER:
        raise AnsibleFilterError(
            f"{owner} in postgresql_databases is longer than {LONGEST_OWNER} characters, so that there is no "
            'room for the names of its logins: choose a shorter one, such as "shop"'
        )
    salt = f"fastapi-metal login {owner}".encode()
    return f"{owner}_{hashlib.pbkdf2_hmac('sha256', password.encode(), salt, LOGIN_ITERATIONS).hex()[:6]}"


def postgresql_logins(owners: list[str], passwords: Mapping[str, str]) -> dict[str, str]:
    """Return the role that logs in for each owner that has a password."""
    return {owner: postgresql_login(passwords[owner], owner) for owner in owners if owner in passwords}


def postgresql_roles(owners: list[str], logins: Mapping[str, str], settings: Mapping[str, str]) -> Rows:
    """Return the roles of owners and logins with what is set for them.

    What a login makes belongs to its owner, as if that had made it: another login finds it as its own.
    """
    return [
        *({"name": owner, "member_of": "", "settings": dict(settings)} for owner in owners),
        *(
            {"name": login, "member_of": owner, "settings": {**settings, "role": owner}}
            for owner, login in logins.items()
        ),
    ]


def postgresql_logins_in_use(
    apps: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, list[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
) -> dict[str, list[str]]:
    """Return the logins that releases have, by application, out of what `database_logins` has found.

    An application of which a machine has not answered is left out: nothing is known of it.
    """
    found: dict[str, list[str]] = {}
    for name, app in apps.items():
        hosts = groups.get(str(app.get("hosts", "web")), [])
        answers = [(hostvars[host].get("__database_logins") or {}).get("logins", {}) for host in hosts]
        if app.get("database") == "postgresql" and all(name in answer for answer in answers):
            found[name] = sorted({login for answer in answers for login in answer[name]})
    return found


def postgresql_locks(logins: Mapping[str, str], in_use: Mapping[str, list[str]]) -> Rows:
    """Return each owner of whose releases all is known, with the logins that stay."""
    return [
        {"owner": owner, "keep": sorted({login, *in_use[owner]})}
        for owner, login in logins.items()
        if owner in in_use
    ]


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
            "postgresql_login": postgresql_login,
            "postgresql_locks": postgresql_locks,
            "postgresql_logins": postgresql_logins,
            "postgresql_logins_in_use": postgresql_logins_in_use,
            "postgresql_network": postgresql_network,
            "postgresql_passwords": postgresql_passwords,
            "postgresql_roles": postgresql_roles,
            "postgresql_verifier": postgresql_verifier,
        }
