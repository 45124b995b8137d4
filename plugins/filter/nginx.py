"""Filters of role nginx: sites that are complete and safe to print, and one text that becomes files."""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean
from fastapi_metal.apps.hostnames import is_host_name

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_UPSTREAM = re.compile(r"unix:/[A-Za-z0-9._/@-]+|[A-Za-z0-9._-]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5}")
_SIZE = re.compile(r"[0-9]+[kKmMgG]?")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_SWITCHES = ("websocket", "buffering", "metrics", "strip_path")
_MARK = re.compile(r"^#= (?P<name>[a-z0-9-]+)\n", re.MULTILINE)


def _is_server_name(name: str) -> bool:
    return len(name) <= 253 and is_host_name(name.removeprefix("*."))


def _complaint(site: Mapping[str, Any]) -> str | None:
    """Return what is wrong with one site, and what would be right."""
    name = site["name"]
    if not _NAME.fullmatch(str(name)):
        return f"name '{name}' must begin with a letter and hold a-z, 0-9 and '-' only, like 'shop'"
    if not site.get("server_names"):
        return "server_names is empty: give the names it answers to, like [shop.example.org]"
    for server_name in site["server_names"]:
        if not _is_server_name(str(server_name)):
            return (
                f"server name '{server_name}' is not a host name in lower case, like 'shop.example.org' "
                "(write names with other letters in their xn-- form)"
            )
    if not _UPSTREAM.fullmatch(str(site.get("upstream", ""))):
        return (
            f"upstream '{site.get('upstream', '')}' must be like 'unix:/srv/shop/current/app.sock' "
            "or '127.0.0.1:8000'"
        )
    if not _SIZE.fullmatch(str(site["max_body"])):
        return f"max_body '{site['max_body']}' must be a size like '10m' (0: no limit)"
    if isinstance(site["read_timeout"], bool) or not re.fullmatch(
        r"[1-9][0-9]{0,6}", str(site["read_timeout"])
    ):
        return f"read_timeout '{site['read_timeout']}' must be a number of seconds, like 60"
    return _complaint_about_paths(site)


def _complaint_about_paths(site: Mapping[str, Any]) -> str | None:
    """Return which path of a site is none."""
    if site["path"] != "/" and not _PATH.fullmatch(str(site["path"])):
        return f"path '{site['path']}' must begin with '/' and not end with it, like '/shop'"
    for static in site["static"]:
        if not _PATH.fullmatch(str(static.get("path", ""))):
            return f"path '{static.get('path', '')}' of static must be like '/assets'"
        for root in static.get("roots") or [""]:
            if not _PATH.fullmatch(str(root)):
                return f"root '{root}' of static must be a directory like '/srv/shop/current/static'"
    return None


def nginx_checked_sites(sites: list[Mapping[str, Any]], defaults: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sites with every key set; raise one sentence about the first that Nginx could not serve.

    What is printed into a configuration is checked here, so no value can end a directive and begin another.
    """
    complete: list[dict[str, Any]] = []
    owner: dict[str, str] = {}
    for entry in sites:
        site = {"name": "", **defaults, **entry}
        complaint = _complaint(site)
        if complaint:
            raise AnsibleFilterError(f"nginx_sites, site '{site['name']}': {complaint}.")
        if any(site["name"] == other["name"] for other in complete):
            raise AnsibleFilterError(f"nginx_sites: two sites are named '{site['name']}'; rename one.")
        for server_name in site["server_names"]:
            first = owner.setdefault(server_name, site["name"])
            if first != site["name"]:
                raise AnsibleFilterError(
                    f"nginx_sites: '{first}' and '{site['name']}' both want {server_name}; take it from one."
                )
        # A `no` that came as text would count as true in a template.
        complete.append(site | {switch: boolean(site[switch]) for switch in _SWITCHES})
    return complete


def nginx_split_sites(text: str) -> dict[str, str]:
    """Return the text under each line `#= <name>`: one template prints all sites, each becomes a file."""
    parts = _MARK.split(text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"nginx_checked_sites": nginx_checked_sites, "nginx_split_sites": nginx_split_sites}
