"""What a process was given: environment, credentials, user, directory, virtual environment."""

import getpass
import os
import sys
from pathlib import Path
from typing import Any

# What systemd tells each unit about itself.
OF_THE_UNIT = {
    *("INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "MANAGERPID", "OLDPWD", "SHLVL", "_"),
    *("MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE", "CREDENTIALS_DIRECTORY", "RUNTIME_DIRECTORY"),
    *("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDNAMES"),
    *("TRIGGER_UNIT", "TRIGGER_TIMER_REALTIME_USEC", "TRIGGER_TIMER_MONOTONIC_USEC"),
    # Gunicorn's own, and what is said to the driver of one-off commands alone.
    *("SERVER_SOFTWARE", "PROMETHEUS_MULTIPROC_DIR", "PGOPTIONS", "PGAPPNAME", "PWD"),
}


def surroundings() -> dict[str, Any]:
    """Return what a process was given."""
    place = os.environ.get("CREDENTIALS_DIRECTORY")
    status = Path("/proc/self/status").read_text()
    return {
        "env": {name: value for name, value in os.environ.items() if name not in OF_THE_UNIT},
        "credentials": {path.name: path.read_text() for path in Path(place).iterdir()} if place else {},
        "user": getpass.getuser(),
        "directory": str(Path.cwd()),
        "prefix": sys.prefix,
        "no_new_privileges": "NoNewPrivs:\t1" in status,
        "may_write_etc": os.access("/etc", os.W_OK),
    }
