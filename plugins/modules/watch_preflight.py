#!/usr/bin/python
"""Refuse on this machine what its part of the watch could not do: listen, find a name, read a password."""

from __future__ import annotations

import os
import pwd
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: watch_preflight
short_description: Refuse what a service of the watch could not do on this machine
description:
  - Looks at ports, names and files, and changes nothing. What is wrong is one sentence each, with the
    variable and what would work.
author: fastapi-metal
options:
  listen:
    description:
      - Where services are to listen, each with C(address), the C(unit) that may listen there already, and the
        C(variable) that says it.
    type: list
    elements: dict
    default: []
  find:
    description: Names of machines that must be found from here, each C(name) with its C(variable).
    type: list
    elements: dict
    default: []
  read:
    description:
      - Files on this machine that must be there, each C(path) with the C(user) who reads it and its
        C(variable).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Refuse what Prometheus could not do
  watch_preflight:
    listen: [{address: "127.0.0.1:9090", unit: prometheus.service, variable: prometheus_listen}]
    find: [{name: db1.example.org, variable: prometheus_targets}]
    read: [{path: /etc/prometheus/mimir, user: prometheus, variable: prometheus_remote_write}]
"""

RETURN = r"""
msg:
  description: What is wrong, a sentence for each.
  returned: when something is
  type: str
"""

LISTENS = "0A"
# Somewhere else to listen, for the sentence.
ASIDE, MOST = 10000, 65536


class Listener(NamedTuple):
    """A socket of this machine that listens."""

    address: str
    port: int
    inode: str


def unpacked(words: str) -> str:
    """Return an address as the kernel prints it, in the form that people use."""
    family = socket.AF_INET if len(words) == 8 else socket.AF_INET6
    groups = [struct.pack("=I", int(words[start : start + 8], 16)) for start in range(0, len(words), 8)]
    return socket.inet_ntop(family, b"".join(groups))


def listeners(root: Path) -> Iterator[Listener]:
    """Yield what listens."""
    for name in ("tcp", "tcp6"):
        try:
            lines = (root / "proc/net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == LISTENS:
                address, _, port = words[1].partition(":")
                yield Listener(unpacked(address), int(port, 16), words[9])


def split(address: str) -> tuple[str, int]:
    """Return the two halves of `127.0.0.1:9090` or `[::1]:9090`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def clash(one: str, other: str) -> bool:
    """Tell whether two addresses cannot both be listened at with one port."""
    everything = {"0.0.0.0", "::", ""}  # noqa: S104  # looked for, not listened at
    return one == other or one in everything or other in everything


def owner(root: Path, inode: str) -> tuple[str, str]:
    """Return who holds a socket: the name of the process and its number, and its unit."""
    for process in sorted((root / "proc").glob("[0-9]*")):
        try:
            held = any(str(entry.readlink()) == f"socket:[{inode}]" for entry in (process / "fd").iterdir())
            if held:
                groups = (process / "cgroup").read_text()
                units = re.findall(r"([^/\n]+\.service)", groups)
                return f"{(process / 'comm').read_text().strip()} (process {process.name})", (units or [""])[
                    -1
                ]
        except OSError:
            continue
    return "systemd or the kernel", ""


def taken(root: Path, wanted: dict[str, str]) -> str:
    """Return what speaks against a port, or nothing."""
    host, port = split(wanted["address"])
    for found in listeners(root):
        if found.port == port and clash(found.address, host):
            who, unit = owner(root, found.inode)
            if unit == wanted["unit"]:
                continue
            aside = port + ASIDE if port + ASIDE < MOST else port - ASIDE
            return (
                f"{wanted['variable']} is {wanted['address']}, where {who} listens already: stop that, or "
                f"give a port that is free, for example {host}:{aside}."
            )
    return ""


def unknown(wanted: dict[str, str]) -> str:
    """Return what speaks against a name, or nothing."""
    try:
        socket.getaddrinfo(wanted["name"], None)
    except (OSError, UnicodeError):
        return (
            f"{wanted['variable']} names {wanted['name']}, which {socket.gethostname()} does not find: mend "
            "the name, enter it in DNS, or give the address instead, for example 10.0.0.11."
        )
    return ""


def readable(path: Path, user: str) -> bool:
    """Tell whether somebody may read a file; of a user that is not there yet it is not known."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return True
    found = path.stat()
    groups = os.getgrouplist(user, entry.pw_gid)
    if found.st_uid == entry.pw_uid:
        return bool(found.st_mode & 0o400)
    return bool(found.st_mode & (0o040 if found.st_gid in groups else 0o004))


def missing(wanted: dict[str, str]) -> str:
    """Return what speaks against a file, or nothing."""
    path = Path(wanted["path"])
    way = f"put it there, with mode 0640 and group {wanted['user']}, for example from Vault"
    if not path.is_file():
        return f"{wanted['variable']} names {path}, which is missing on {socket.gethostname()}: {way}."
    if not readable(path, wanted["user"]):
        return f"{wanted['variable']} names {path}, which {wanted['user']} may not read: {way}."
    return ""


def complaints(parameters: dict[str, Any], root: Path = Path("/")) -> list[str]:
    """Return everything that is wrong."""
    found = [taken(root, wanted) for wanted in parameters["listen"]]
    found += [unknown(wanted) for wanted in parameters["find"]]
    found += [missing(wanted) for wanted in parameters["read"]]
    return list(dict.fromkeys(filter(None, found)))


def main() -> None:
    """Run as Ansible's module."""
    rows = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={"listen": rows, "find": rows, "read": rows}, supports_check_mode=True
    )
    if wrong := complaints(module.params):
        module.fail_json(msg=" ".join(wrong))
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
