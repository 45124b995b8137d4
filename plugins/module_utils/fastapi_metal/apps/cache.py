"""The address of an application's cache, with the user and the password that are its own."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

# The secret out of which role and address are made. The application gets the address alone.
PASSWORD = "cache_password"  # noqa: S105  # its name


def address(url: str, user: str, password: str) -> str:
    """Return an address with user and password in it, as clients of Redis read it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{rest}"


def with_address(name: str, entry: dict[str, Any], url: str) -> dict[str, Any]:
    """Return an application's entry with the address among its secrets, where it has a cache."""
    if entry["cache"] != "valkey":
        return entry
    secrets: Mapping[str, Any] = entry["secrets"]
    others = {key: value for key, value in secrets.items() if key != PASSWORD}
    made = {entry["cache_secret"]: address(url, name, str(secrets[PASSWORD]))}
    return {**entry, "secrets": {**others, **made}}


def group(entry: Mapping[str, Any], url: str, socket_group: str) -> str:
    """Return the Linux group that an application's processes need; none where it comes over the network."""
    return socket_group if entry["cache"] == "valkey" and url.startswith("unix:") else ""
