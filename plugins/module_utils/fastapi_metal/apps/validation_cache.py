"""Finds what is wrong with what an application wants to be kept: by Valkey, and by Nginx."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..release.settings import secret_variable
from .cache import PASSWORD
from .sentences import sentence, shown
from .validation_serving import OURS, SECRET, URL_PATH, VARIABLE

SIZE = re.compile(r"[1-9][0-9]*[kKmMgG]?")
SHORTEST = 20
TAKEN = {"default", "monitor"}


def of_cache(variable: str, app: Mapping[str, Any]) -> Iterator[str]:
    """Find a cache that nobody could log in to, or whose address would be lost."""
    name = variable.removeprefix("apps.")
    if app.get("cache") != "valkey":
        return
    if name == "default":
        yield sentence(
            f"{variable}.cache", "cannot be: `default` is a user of Valkey's own", "rename the app"
        )
    secrets = app.get("secrets")
    given = secrets if isinstance(secrets, Mapping) else {}
    yield from of_password(f"{variable}.secrets.{PASSWORD}", given.get(PASSWORD))
    yield from of_secret_name(f"{variable}.cache_secret", app, given)


def of_password(path: str, password: Any) -> Iterator[str]:
    """Find a password that is missing or that can be guessed; what is no text is found elsewhere."""
    works = "set one made by `openssl rand -hex 24`, from the vault"
    if password is None:
        yield sentence(path, "is missing, and the cache asks for it", works)
    elif not isinstance(password, Mapping | list | tuple) and (
        len(str(password)) < SHORTEST or not re.fullmatch(r"[!-~]+", str(password))
    ):
        yield sentence(path, f"is shorter than {SHORTEST} characters, or holds a blank or an umlaut", works)


def of_secret_name(path: str, app: Mapping[str, Any], secrets: Mapping[str, Any]) -> Iterator[str]:
    """Find a name under which the address could not be handed over."""
    wanted, env = app.get("cache_secret", "cache_url"), app.get("env")
    works = "use for example `cache_secret: REDIS_URL`"
    if not isinstance(wanted, str):
        return
    as_variable = app.get("secrets_as") == "env"
    found = secret_variable(wanted)
    if not SECRET.fullmatch(wanted) or (as_variable and not VARIABLE.fullmatch(found)):
        yield sentence(path, f"is {shown(wanted)}, which can be no file and no variable", works)
    elif wanted in secrets or (as_variable and found in {secret_variable(str(name)) for name in secrets}):
        yield sentence(path, f"is {wanted}, which `secrets` has too", "take it out of one of the two")
    elif as_variable and (found in OURS or (isinstance(env, Mapping) and found in env)):
        yield sentence(path, f"would be the variable {found}, which is set otherwise", works)


def of_micro_cache(variable: str, web: Any) -> Iterator[str]:
    """Find settings of the micro-cache that Nginx could not read."""
    cache = web.get("cache") if isinstance(web, Mapping) else None
    if not isinstance(cache, Mapping):
        return
    path = f"{variable}.cache"
    for key, smallest, works in (("seconds", 0, 1), ("idle", 1, 60)):
        value = cache.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value < smallest:
            yield sentence(f"{path}.{key}", f"is {value}", f"use {smallest} or more, for example {works}")
    size, paths = cache.get("size"), cache.get("paths")
    if isinstance(size, str) and not SIZE.fullmatch(size):
        yield sentence(f"{path}.size", f"is {shown(size)}", "use for example `64m`")
    for url in paths if isinstance(paths, list) else ():
        if isinstance(url, str) and url != "/" and not URL_PATH.fullmatch(url):
            yield sentence(
                f"{path}.paths", f"has {shown(url)}, which is no path", "write it as in `/products`"
            )
    if cache.get("enabled") is True and web.get("buffering") is False:
        yield sentence(
            f"{path}.enabled",
            "is true and `web.buffering` is false, and what is passed on as it comes cannot be kept",
            "take one of the two out",
        )


def of_cache_group(apps: Mapping[str, Any], groups: Mapping[str, Iterable[str]], group: str) -> Iterator[str]:
    """Find applications that want a cache where no machine is to have one."""
    if list(groups.get(group, ())):
        return
    for name, app in apps.items():
        if isinstance(app, Mapping) and app.get("cache") == "valkey":
            yield sentence(
                f"apps.{name}.cache",
                f"is valkey, and group {group} has no machine in hosts.yml",
                f"put one into group {group}; the address of a server of your own is a secret like any "
                "other, as in `secrets: {cache_url: ...}` without `cache`",
            )
