"""Filters of role nginx: sites that are complete and safe to print, and one text that becomes files."""

import ipaddress
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean
from fastapi_metal.apps.hostnames import is_host_name
from fastapi_metal.apps.pairs import text_of, wrong_pair
from fastapi_metal.apps.validation_tls import PARTS, of_headers, of_limits, of_proxies

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_UPSTREAM = re.compile(r"unix:/[A-Za-z0-9._/@-]+|[A-Za-z0-9._-]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5}")
_SIZE = re.compile(r"[0-9]+[kKmMgG]?")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_SWITCHES = ("websocket", "buffering", "metrics", "strip_path")
# Somebody shows who they are, asks for a part or another protocol, or sends something along.
_PAST = (
    "http_authorization",
    "http_x_api_key",
    "http_range",
    "http_upgrade",
    "http_content_length",
    "http_transfer_encoding",
)
_MODES = ("acme", "own", "selfsigned", "external")
# For how long a browser comes by no other way, each stage when the one before has shown that nothing breaks.
_HSTS = {
    "none": "",
    "minutes": "max-age=300",
    "week": "max-age=604800",
    "years": "max-age=63072000",
    "preload": "max-age=63072000; includeSubDomains; preload",
}
_LINK = re.compile(r"unix:(/.+)/[^/]+")
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
    return _complaint_about_paths(site) or _complaint_about_cache(site) or _complaint_about_tls(site)


def _complaint_about_tls(site: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a site's certificate, its headers, its limits, or whom it believes."""
    tls = site["tls"]
    if site["hsts"] not in _HSTS:
        return f"hsts '{site['hsts']}' must be one of {', '.join(_HSTS)}"
    if tls["mode"] not in _MODES:
        return f"tls.mode '{tls['mode']}' must be one of {', '.join(_MODES)}"
    if tls["mode"] == "own":
        certificate, key, authority = (str(tls[part] or "") for part in PARTS)
        wrong = wrong_pair(certificate, key, authority, [str(name) for name in site["server_names"]])
        if wrong:
            return f"tls.{wrong.key} {wrong.wrong}: {wrong.way_out}"
    if tls["mode"] == "external" and not site["trusted_proxies"]:
        return "tls.mode is external, which needs trusted_proxies: name the addresses at which TLS ends"
    for found in (
        of_proxies("", site),
        of_limits("", {**site, "max_connections": int(site["max_connections"])}),
        of_headers("headers", site["headers"]),
    ):
        for sentence in found:
            # Their words begin with the variable, in the file of `apps`; here it is the site that is named.
            variable, _, words = sentence.partition("` in group_vars/all/apps.yml ")
            return f"{variable.removeprefix('`').removeprefix('.')} {words.removesuffix('.')}"
    return None


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


def _complaint_about_cache(site: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the micro-cache of a site."""
    cache = site["cache"]
    for key, smallest in (("seconds", 0), ("idle", 1)):
        if isinstance(cache[key], bool) or not re.fullmatch(r"[0-9]{1,7}", str(cache[key])):
            return f"cache.{key} '{cache[key]}' must be a number of seconds, like 10"
        if int(cache[key]) < smallest:
            return f"cache.{key} is {cache[key]}: use {smallest} or more"
    if not _SIZE.fullmatch(str(cache["size"])) or not re.search(r"[1-9]", str(cache["size"])):
        return f"cache.size '{cache['size']}' must be a size like '64m'"
    for path in cache["paths"]:
        if path != "/" and not _PATH.fullmatch(str(path)):
            return f"path '{path}' of cache.paths must be like '/products'"
    if boolean(cache["enabled"]) and not boolean(site["buffering"]):
        return "cache.enabled needs `buffering: true`: what is passed on as it comes cannot be kept"
    return None


def _cache(site: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a site's micro-cache as the template prints them."""
    cache = site["cache"]
    link = _LINK.fullmatch(str(site["upstream"]))
    return {
        **cache,
        **{switch: boolean(cache[switch]) for switch in ("enabled", "cookies")},
        # Names of variables hold no `-`, and names of sites no `_`.
        "word": str(site["name"]).replace("-", "_"),
        # The directory of the socket is the link that a switch renames. An address has no release.
        "link": link[1] if link else "",
        "past": "".join(f"${name}" for name in _led_past(site)),
    }


def _led_past(site: Mapping[str, Any]) -> list[str]:
    """Return the variables of which any that holds something leads a request past the micro-cache."""
    beside = [f"cache_beside_{site['name'].replace('-', '_')}"] if site["cache"]["paths"] else []
    cookie = [] if boolean(site["cache"]["cookies"]) else ["http_cookie"]
    return [*beside, *cookie, *_PAST]


def _tls(site: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    """Return what a site says and believes, as the template prints it."""
    word = str(site["name"]).replace("-", "_")
    external = site["tls"]["mode"] == "external"
    wanted = {str(name): str(value) for name, value in {**headers, **site["headers"]}.items()}
    return {
        "word": word,
        "external": external,
        # What the application is told of the way that the client came, and where a client is sent.
        "port": "443" if external else "$server_port",
        "strict": _HSTS[site["hsts"]],
        "headers": [
            {
                "name": name,
                "value": value,
                "said": f"upstream_http_{name.lower().replace('-', '_')}",
                "variable": f"added_{word}_{name.lower().replace('-', '_')}",
            }
            for name, value in sorted(wanted.items())
            if value
        ],
        "networks": [str(ipaddress.ip_network(text)) for text in site["trusted_proxies"]],
        "rate": site["rate_limit"]["rate"],
        "burst": int(site["rate_limit"]["burst"]),
        "max_connections": int(site["max_connections"]),
    }


def nginx_pairs(sites: list[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return certificate and key of each site that brings its own, read from where they lie."""
    return {
        site["name"]: {key: text_of(key, str(site["tls"][key])) for key in ("certificate", "key")}
        for site in sites
        if site["tls"]["mode"] == "own"
    }


def nginx_names(sites: list[Mapping[str, Any]], mode: str) -> dict[str, list[str]]:
    """Return the names of each site whose certificate comes this way."""
    return {site["name"]: site["server_names"] for site in sites if site["tls"]["mode"] == mode}


def nginx_checked_sites(
    sites: list[Mapping[str, Any]], defaults: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return the sites with every key set; raise one sentence about the first that Nginx could not serve.

    What is printed into a configuration is checked here, so no value can end a directive and begin another.
    `headers` are those of every site, unless it says otherwise.
    """
    for sentence in of_headers("nginx_headers", headers or {}):
        raise AnsibleFilterError(sentence.replace("apps.yml", "nginx.yml"))
    complete: list[dict[str, Any]] = []
    owner: dict[str, str] = {}
    for entry in sites:
        site = {"name": "", **defaults, **entry}
        for key in ("cache", "tls", "rate_limit"):
            site[key] = {**defaults[key], **(entry.get(key) or {})}
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
        complete.append(
            site
            | {switch: boolean(site[switch]) for switch in _SWITCHES}
            | {"cache": _cache(site), "way": _tls(site, headers or {})}
        )
    return complete


def nginx_split_sites(text: str) -> dict[str, str]:
    """Return the text under each line `#= <name>`: one template prints all sites, each becomes a file."""
    parts = _MARK.split(text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "nginx_checked_sites": nginx_checked_sites,
            "nginx_names": nginx_names,
            "nginx_pairs": nginx_pairs,
            "nginx_split_sites": nginx_split_sites,
        }
