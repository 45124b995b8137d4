#!/usr/bin/python
"""Say what runs on this machine now."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: machine_status
short_description: Say what runs on this machine now
description:
  - Of each application, which release is live, in what state its unit is, since when it has the traffic, how
    much memory it takes and when its certificate ends; of the machine, memory, disks, load and failed units.
  - Needs no monitoring. Changes nothing.
author: fastapi-metal
options:
  apps:
    description: Names of the applications that this machine runs.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: See what runs
  machine_status:
    apps: [shop]
"""

RETURN = r"""
apps:
  description: What is known of each application, by name.
  returned: always
  type: dict
machine:
  description: What is known of the machine.
  returned: always
  type: dict
"""

# Disks that are none.
NO_DISKS = {
    "tmpfs",
    "devtmpfs",
    "proc",
    "sysfs",
    "cgroup2",
    "cgroup",
    "devpts",
    "mqueue",
    "ramfs",
    "overlayfs",
}


def said(*argv: str) -> str:
    """Return what a command prints; nothing where it fails or is missing."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def number(text: str | None) -> int | None:
    """Return a property of systemd's as a number; it says `[not set]` or `infinity` where there is none."""
    return int(text) if text and text.isdecimal() else None


def unit(name: str) -> dict[str, str]:
    """Return what systemd says of a unit."""
    shown = said("systemctl", "show", "--property=ActiveState,SubState,MemoryCurrent,NRestarts", name)
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def certificate_end(file: Path) -> float | None:
    """Return when a certificate ends, in seconds since 1970."""
    shown = said("openssl", "x509", "-noout", "-enddate", "-in", str(file)).strip()
    with contextlib.suppress(ValueError):
        end = datetime.strptime(shown.removeprefix("notAfter="), "%b %d %H:%M:%S %Y GMT")
        return end.replace(tzinfo=UTC).timestamp()
    return None


def app_status(name: str, root: Path = Path("/")) -> dict[str, Any]:
    """Return what is known of an application."""
    home = root / "srv" / name
    link = home / "current"
    certificate = certificate_end(root / "etc/nginx/tls" / name / "fullchain.pem")
    if not link.is_symlink():
        return {"state": "never released", "release": None, "since": None, "certificate": certificate}
    release = link.readlink().name
    origin = None
    with contextlib.suppress(OSError, ValueError, KeyError):
        origin = str(json.loads((link / "release.json").read_text())["origin"])
    found = unit(f"{name}@{release}.service")
    return {
        "release": release,
        "origin": origin,
        "state": found.get("ActiveState") or "unknown",
        "since": link.lstat().st_mtime,
        "memory": number(found.get("MemoryCurrent")),
        "restarts": number(found.get("NRestarts")),
        "certificate": certificate,
    }


def memory() -> dict[str, int]:
    """Return the machine's memory in bytes."""
    found = dict(re.findall(r"(\w+):\s+(\d+) kB", Path("/proc/meminfo").read_text()))
    total, free = int(found["MemTotal"]) * 1024, int(found["MemAvailable"]) * 1024
    return {"memory_total": total, "memory_used": total - free}


def fullest_disk() -> tuple[float, str]:
    """Return which share of the fullest file system everybody but root finds used, and where it is."""
    fullest = (0.0, "/")
    seen = set()
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, where, kind, options = line.split()[:4]
        # A container finds single files of its host mounted.
        if kind in NO_DISKS or options.split(",")[0] == "ro" or device in seen or not Path(where).is_dir():
            continue
        seen.add(device)
        with contextlib.suppress(OSError, ZeroDivisionError):
            usage = shutil.disk_usage(where)
            fullest = max(fullest, (usage.used / (usage.used + usage.free), where))
    return fullest


def machine_status() -> dict[str, Any]:
    """Return what is known of the machine."""
    disk, where = fullest_disk()
    failed = said("systemctl", "list-units", "--state=failed", "--plain", "--no-legend").splitlines()
    return {
        **memory(),
        "disk": disk,
        "disk_where": where,
        "load": os.getloadavg()[0],
        "cores": os.cpu_count(),
        "uptime": float(Path("/proc/uptime").read_text().split()[0]),
        "failed": [line.split()[0] for line in failed if line.strip()],
        "reboot": Path("/run/reboot-required").exists(),
        "now": time.time(),
    }


def main() -> None:
    """Answer."""
    module = AnsibleModule(
        argument_spec={"apps": {"type": "list", "elements": "str", "default": []}}, supports_check_mode=True
    )
    module.exit_json(
        changed=False,
        apps={name: app_status(name) for name in module.params["apps"]},
        machine=machine_status(),
    )


if __name__ == "__main__":
    main()
