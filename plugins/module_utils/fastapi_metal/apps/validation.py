"""Finds everything that is wrong with `apps`, before the first machine is touched."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ..fleet.batches import is_batch
from .hostnames import is_domain
from .sentences import sentence, shown
from .specs import Options, entry_options, plain
from .validation_cache import of_cache, of_cache_group, of_micro_cache
from .validation_commands import of_commands
from .validation_serving import OURS, VARIABLE, of_module, of_secrets, of_server, of_values, of_web
from .validation_source import of_fit, of_install, of_source
from .validation_tls import of_tls

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")

# Users and directories of /run that Debian or the services of this project own.
TAKEN = {
    *(
        "root",
        "daemon",
        "bin",
        "sys",
        "sync",
        "games",
        "man",
        "lp",
        "mail",
        "news",
        "uucp",
        "proxy",
        "backup",
    ),
    *("list", "irc", "nobody", "messagebus", "sshd", "www-data", "systemd-network", "systemd-resolve"),
    *("systemd", "systemd-timesync", "systemd-journal", "nginx", "postgres", "postgresql", "prometheus"),
    *("grafana", "certbot", "letsencrypt", "redis", "valkey", "admin", "user", "lock", "log", "udev", "dbus"),
    *("credentials", "initctl", "mount", "shm", "sudo", "tmpfiles", "cron", "fastapi-metal", "release"),
    *("certificates",),
}


def example(key: str, option: Mapping[str, Any]) -> str:
    """Return `key: value` with a value that works."""
    value = option.get("example", option.get("default"))
    return f"`{key}: {value if isinstance(value, str) else shown(value)}`"


def unknown_key(variable: str, key: str, options: Options) -> str:
    """Return the sentence about a key that is none, with the ones that are."""
    close = difflib.get_close_matches(key, options, n=1)
    meant = f"did you mean `{close[0]}`? " if close else ""
    return sentence(f"{variable}.{key}", "is not known", f"{meant}allowed here: {', '.join(sorted(options))}")


def of_options(variable: str, entry: Mapping[str, Any], options: Options) -> Iterator[str]:
    """Find unknown keys, missing keys and values of a wrong type, at any depth."""
    for key in entry:
        if key not in options:
            yield unknown_key(variable, str(key), options)
    for key, option in options.items():
        path = f"{variable}.{key}"
        value = entry.get(key)
        if value is None:
            if option.get("required"):
                yield sentence(path, "is missing", f"add for example {example(key, option)}")
        elif "options" in option and isinstance(value, Mapping):
            yield from of_options(path, value, option["options"])
        else:
            checked = {name: rule for name, rule in option.items() if name != "options"}
            if ArgumentSpecValidator({key: checked}).validate({key: plain(value)}).error_messages:
                yield sentence(path, f"is {wrong_value(option, value)}", f"try {example(key, option)}")


def wrong_value(option: Mapping[str, Any], value: Any) -> str:
    """Return what is wrong with a value: its type, or that it is none of the choices."""
    if "choices" in option:
        return f"{shown(value)}, it must be one of {', '.join(option['choices'])}"
    if value is not None and option.get("no_log"):
        return "of a wrong type (its value is not shown)"
    kind = {"int": "a whole number", "bool": "true or false", "dict": "a dictionary", "list": "a list"}
    return f"{shown(value)}, it must be {kind.get(option['type'], 'a text')}"


def of_name(name: str) -> Iterator[str]:
    """Find a name that cannot be a Linux user, a unit and a directory."""
    if not NAME.fullmatch(name):
        yield sentence(
            f"apps.{name}",
            "has a name that cannot be a user and a unit",
            "use up to 31 small letters, digits and `-`, beginning with a letter, for example `shop`",
        )
    elif name in TAKEN:
        yield sentence(
            f"apps.{name}", "has the name of a system user or service", f"use for example `{name}-app`"
        )


def of_texts(variable: str, app: Mapping[str, Any]) -> Iterator[str]:
    """Find texts that have the right type and still cannot work."""
    domains = [("domain", app.get("domain"))]
    aliases = app.get("aliases")
    domains += [("aliases", alias) for alias in aliases] if isinstance(aliases, list) else []
    for key, domain in domains:
        # Nginx takes `*` for one label or more; its certificate comes over DNS or is the user's own.
        bare = domain.removeprefix("*.") if key == "aliases" and isinstance(domain, str) else domain
        if isinstance(bare, str) and not is_domain(bare):
            yield sentence(
                f"{variable}.{key}",
                f"is {shown(domain)}, which is no host name",
                "use for example `shop.example.org`",
            )
    yield from of_module(variable, app.get("module"))
    health = app.get("health")
    path = health.get("path") if isinstance(health, Mapping) else None
    if isinstance(path, str) and not re.fullmatch(r"/[!-~]*", path):
        yield sentence(
            f"{variable}.health.path", f"is {shown(path)}", "begin it with `/`, as in `/health/ready`"
        )
    yield from of_paths(variable, app)
    yield from of_commands(variable, app)


def of_paths(variable: str, app: Mapping[str, Any]) -> Iterator[str]:
    """Find directories that lead out of the place where they belong."""
    state = app.get("state")
    paths = [("workdir", app.get("workdir"), "backend")]
    paths += [("state", item, "uploads") for item in state] if isinstance(state, list) else []
    for key, path, works in paths:
        if isinstance(path, str) and not re.fullmatch(r"(?!.*\.\.)[A-Za-z0-9_.][A-Za-z0-9_./-]*", path):
            yield sentence(
                f"{variable}.{key}",
                f"is {shown(path)}, which leads elsewhere",
                f"use a relative directory without spaces, as in `{works}`",
            )


def of_numbers(variable: str, app: Mapping[str, Any]) -> Iterator[str]:
    """Find numbers that no machine can act on."""
    server = app.get("server")
    if isinstance(server, Mapping) and server.get("workers", "auto") != "auto":
        workers = server["workers"]
        if not re.fullmatch(r"[1-9][0-9]{0,2}", str(workers)):
            yield sentence(
                f"{variable}.server.workers", f"is {shown(workers)}", "use `auto` or a number from 1 to 999"
            )
    for path, smallest, works in (
        (("keep_releases",), 2, 5),
        (("health", "stable"), 1, 3),
        (("health", "timeout"), 1, 60),
        (("server", "timeout"), 1, 30),
        (("server", "worker_memory"), 1, 200),
        (("server", "threads"), 1, 40),
        (("server", "graceful_timeout"), 1, 30),
        (("web", "read_timeout"), 1, 60),
        (("before_start_timeout",), 1, 600),
        (("before_start_lock_timeout",), 0, 3),
    ):
        value: Any = app
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, int) and value < smallest:
            yield sentence(
                f"{variable}.{'.'.join(path)}", f"is {value}", f"use {smallest} or more, for example {works}"
            )
    yield from of_batch(variable, app.get("release_batch"))
    memory = app["limits"].get("memory") if isinstance(app.get("limits"), Mapping) else None
    if isinstance(memory, str) and not re.fullmatch(r"([1-9][0-9]*[KMGT]?)?", memory):
        yield sentence(f"{variable}.limits.memory", f"is {shown(memory)}", "use for example `512M` or `2G`")


def of_batch(variable: str, batch: Any) -> Iterator[str]:
    """Find a batch that is neither a count of hosts nor a share of them."""
    if batch is not None and not isinstance(batch, Mapping | list) and not is_batch(batch):
        yield sentence(
            f"{variable}.release_batch", f"is {shown(batch)}", "use a count or a share, as in `1` or `25%`"
        )


def of_environment(variable: str, env: Any) -> Iterator[str]:
    """Find environment variables that a process could not get, or that the engine sets."""
    for name, value in env.items() if isinstance(env, Mapping) else ():
        if not VARIABLE.fullmatch(str(name)):
            yield sentence(
                f"{variable}.{name}", "is no name of an environment variable", "use letters, digits and `_`"
            )
        elif str(name) in OURS:
            yield sentence(f"{variable}.{name}", "is set by the release itself", "choose another name")
        elif isinstance(value, Mapping | list | tuple):
            yield sentence(
                f"{variable}.{name}",
                "is no text",
                f"write it as JSON in quotes, as in `{name}: '{shown(value)}'`",
            )
        elif isinstance(value, str):
            yield from of_values(f"{variable}.{name}", value)


def of_entry(name: str, app: Any) -> Iterator[str]:
    """Find everything that is wrong with one application by itself."""
    variable = f"apps.{name}"
    yield from of_name(name)
    if not isinstance(app, Mapping):
        yield sentence(variable, "is no dictionary", "give it at least `domain`, `source` and `module`")
        return
    yield from of_options(variable, app, entry_options())
    yield from of_source(f"{variable}.source", app.get("source"))
    yield from of_fit(variable, app)
    yield from of_install(f"{variable}.install", app.get("install"))
    yield from of_texts(variable, app)
    yield from of_numbers(variable, app)
    yield from of_environment(f"{variable}.env", app.get("env"))
    yield from of_secrets(variable, app)
    yield from of_server(f"{variable}.server", app.get("server"))
    yield from of_web(f"{variable}.web", app.get("web"))
    yield from of_micro_cache(f"{variable}.web", app.get("web"))
    yield from of_cache(variable, app)
    yield from of_tls(variable, app)


def names_of(app: Any) -> set[str]:
    """Return the host names that one application answers to."""
    if not isinstance(app, Mapping):
        return set()
    aliases = app.get("aliases")
    names = [app.get("domain"), *(aliases if isinstance(aliases, list) else [])]
    return {name.lower() for name in names if isinstance(name, str)}


def of_shared_names(apps: Mapping[str, Any]) -> Iterator[str]:
    """Find host names that two applications want."""
    owners: dict[str, str] = {}
    for name, app in apps.items():
        for domain in sorted(names_of(app)):
            if domain in owners:
                yield sentence(
                    f"apps.{name}.domain",
                    f"or an alias of it is {domain}, which apps.{owners[domain]} has too",
                    f"give each application names of its own, for example `{name}.example.org`",
                )
            else:
                owners[domain] = str(name)


def of_groups(
    apps: Mapping[str, Any], groups: Mapping[str, Iterable[str]], serving_group: str
) -> Iterator[str]:
    """Find applications that no machine would run, or some machine without Python, Nginx and certificates."""
    served = set(groups.get(serving_group, ()))
    for name, app in apps.items():
        hosts = app.get("hosts", entry_options()["hosts"]["default"]) if isinstance(app, Mapping) else None
        if not isinstance(hosts, str):
            continue
        unserved = [host for host in groups.get(hosts, ()) if host not in served]
        if unserved:
            yield sentence(
                f"apps.{name}.hosts",
                f"is {hosts}, but the playbooks make only the machines of group {serving_group} ready for "
                "applications",
                f"in the file hosts.yml of the inventory put these hosts into group {serving_group} too: "
                f"{', '.join(unserved)}",
            )
        elif hosts != "all" and not groups.get(hosts):
            filled = sorted(group for group, members in groups.items() if members and group != "ungrouped")
            yield sentence(
                f"apps.{name}.hosts",
                f"is {hosts}, a group without a machine in hosts.yml",
                f"use one that has machines: {', '.join(filled) or 'there is none yet'}",
            )


def problems(
    apps: Any,
    groups: Mapping[str, Iterable[str]] | None = None,
    serving_group: str = "web",
    cache_group: str = "cache",
) -> list[str]:
    """Return one sentence for each thing that is wrong with `apps`; none if nothing is.

    `groups` are the inventory's; the playbooks run the roles that applications need on `serving_group`, and
    the cache on `cache_group`.
    """
    if not isinstance(apps, Mapping):
        return [
            sentence(
                "apps", "is no dictionary", "write one entry per application, as in `apps: {shop: {...}}`"
            )
        ]
    found = [text for name, app in apps.items() for text in of_entry(str(name), app)]
    found += of_shared_names(apps)
    if groups is not None:
        found += of_groups(apps, groups, serving_group)
        found += of_cache_group(apps, groups, cache_group)
    return found
