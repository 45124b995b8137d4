"""Finds what is wrong with the certificate of an application, and with whom Nginx is to believe."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .pairs import wrong_pair
from .sentences import sentence, shown

PARTS = ("certificate", "key", "authority")
SIZE = re.compile(r"[1-9][0-9]*[kK]?")
RATE = re.compile(r"[1-9][0-9]{0,5}r/[sm]")
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
# What would end a quoted text of Nginx, or would be read as a variable.
HEADER_VALUE = re.compile(r"[ !#%-\[\]-~]*")
# They are Nginx's own, or have a key of their own.
SET_OTHERWISE = {
    "strict-transport-security": "use `hsts`",
    "x-request-id": "Nginx sets it",
    "x-cache-status": "Nginx sets it",
    "alt-svc": "use `nginx_http3`",
    "content-length": "the application sets it",
    "content-type": "the application sets it",
    "transfer-encoding": "Nginx sets it",
    "connection": "Nginx sets it",
}


def network(text: str) -> bool:
    """Tell whether a text is an address or a network, whose bits beyond the prefix are zero."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def of_tls(variable: str, app: Mapping[str, Any]) -> Iterator[str]:
    """Find a certificate that no browser would believe, and a balancer that nobody has named."""
    web = app.get("web")
    if not isinstance(web, Mapping):
        return
    tls = web.get("tls")
    given = tls if isinstance(tls, Mapping) else {}
    mode = given.get("mode", "acme")
    proxies = web.get("trusted_proxies")
    if mode == "own":
        aliases = app.get("aliases")
        domains = [app.get("domain"), *(aliases if isinstance(aliases, list) else [])]
        certificate, key, authority = (str(given.get(each) or "") for each in PARTS)
        names = [name for name in domains if isinstance(name, str)]
        wrong = wrong_pair(certificate, key, authority, names)
        if wrong:
            yield sentence(f"{variable}.web.tls.{wrong.key}", wrong.wrong, wrong.way_out)
    for part in PARTS if mode != "own" else ():
        if given.get(part):
            yield sentence(
                f"{variable}.web.tls.{part}",
                f"is set, and the mode is {mode}",
                "set `mode: own`, or take it out",
            )
    if mode == "external" and not proxies:
        yield sentence(
            f"{variable}.web.trusted_proxies",
            "is empty, and the mode of `web.tls` is external, so nobody could reach the application",
            "name the addresses at which TLS ends, as in `trusted_proxies: [198.18.0.5, 10.0.0.0/24]`",
        )
    yield from of_proxies(f"{variable}.web", web)
    yield from of_limits(f"{variable}.web", web)
    yield from of_headers(f"{variable}.web.headers", web.get("headers"))


def of_proxies(variable: str, web: Mapping[str, Any]) -> Iterator[str]:
    """Find networks that are none, and one that holds everybody."""
    proxies, header = web.get("trusted_proxies"), web.get("client_header")
    for text in proxies if isinstance(proxies, list) else ():
        if not isinstance(text, str) or not network(text):
            yield sentence(
                f"{variable}.trusted_proxies",
                f"has {shown(text)}, which is no address and no network",
                "write it as in `198.18.0.5`, `10.0.0.0/24` or `2001:db8::/32`",
            )
        elif ipaddress.ip_network(text).prefixlen == 0:
            yield sentence(
                f"{variable}.trusted_proxies",
                f"has {text}, so that anybody could say who he is",
                "name the addresses of the balancers alone",
            )
    if isinstance(header, str) and not HEADER.fullmatch(header):
        yield sentence(
            f"{variable}.client_header",
            f"is {shown(header)}, which is no name of a header",
            "use for example `X-Forwarded-For` or `CF-Connecting-IP`",
        )


def of_limits(variable: str, web: Mapping[str, Any]) -> Iterator[str]:
    """Find limits that Nginx could not read."""
    header, limit, most = web.get("max_header"), web.get("rate_limit"), web.get("max_connections")
    if isinstance(header, str) and not SIZE.fullmatch(header):
        yield sentence(f"{variable}.max_header", f"is {shown(header)}", "use for example `16k`")
    if isinstance(most, int) and most < 0:
        yield sentence(f"{variable}.max_connections", f"is {most}", "use 0 for no limit, or for example 100")
    if not isinstance(limit, Mapping):
        return
    rate, burst = limit.get("rate"), limit.get("burst")
    if isinstance(rate, str) and rate and not RATE.fullmatch(rate):
        yield sentence(
            f"{variable}.rate_limit.rate",
            f"is {shown(rate)}",
            "write requests for a second or a minute, as in `20r/s` or `90r/m`",
        )
    if isinstance(burst, int) and burst < 0:
        yield sentence(f"{variable}.rate_limit.burst", f"is {burst}", "use 0 or more, for example 40")


def of_headers(variable: str, headers: Any) -> Iterator[str]:
    """Find headers that Nginx cannot send, and those that have a key of their own."""
    for name, value in headers.items() if isinstance(headers, Mapping) else ():
        path = f"{variable}.{name}"
        if not HEADER.fullmatch(str(name)):
            yield sentence(path, "is no name of a header", "use for example `X-Frame-Options`")
        elif str(name).lower() in SET_OTHERWISE:
            yield sentence(path, "is not set here", SET_OTHERWISE[str(name).lower()])
        elif not isinstance(value, str) or not HEADER_VALUE.fullmatch(value):
            yield sentence(
                path,
                f"is {shown(value)}, which is no text that Nginx can send",
                'leave out `"`, `$`, `\\` and what is not ASCII; an empty text leaves the header out',
            )
