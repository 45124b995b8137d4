"""An application that has been taken over: a shell as its user, on the machine and in its unit."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guards import machine

if TYPE_CHECKING:
    from conftest import Lab
    from testinfra.host import Host

TAKEN, VICTIM = "taken", "catalog"
INTRUDER = Path(__file__).parent / "security/intruder.py"
PLACE = "/run/intruder"

Shell = Callable[..., Any]


def release(host: Host, app: str) -> str:
    """Return the id of the release that serves."""
    return str(host.check_output(f"basename $(readlink /srv/{app}/current)"))


def bring(lab: Lab) -> Host:
    """Lay what an intruder would bring along where everybody can read it."""
    host = machine(lab)
    host.check_output(
        f"install -d -m 755 {PLACE}; printf '%%s' %s > {PLACE}/intruder.py; chmod 644 {PLACE}/intruder.py",
        INTRUDER.read_text(),
    )
    return host


def outside(host: Host, user: str) -> Shell:
    """Return a shell as a user of the machine, with no sandbox around it."""

    def run(*argv: str) -> Any:
        printed = host.check_output(
            f"cd / && runuser -u {user} -- python3 -IB {PLACE}/intruder.py {shlex.join(argv)}"
        )
        return json.loads(printed)

    return run


def inside(host: Host) -> Shell:
    """Return a shell in the unit of the application that was taken over: its own process starts it."""

    def run(*argv: str) -> Any:
        script = f"/usr/bin/python3 -IB {PLACE}/intruder.py {shlex.join(argv)}"
        printed = host.check_output(
            "curl -sS --fail-with-body --max-time 120 --unix-socket /srv/taken/current/app.sock "
            "--data-binary %s http://taken.lab.test/run",
            script,
        )
        return json.loads(printed)

    return run
