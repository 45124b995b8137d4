"""The packages that run an application, added where its own lock does not have them."""

import re
from pathlib import Path
from typing import Any

# Worker classes by the package that brings them, first match wins.
WORKERS = (
    ("uvicorn_worker.", ("uvicorn", "uvicorn-worker")),
    ("uvicorn.", ("uvicorn",)),
)

# Gunicorn before 25 has no `asgi` worker and no unix control socket to disable.
GUNICORN = "gunicorn>=25"


def normalized(name: str) -> str:
    """Return a package's name as every index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(venv: Path) -> dict[str, str]:
    """Return the packages of a virtual environment and their versions."""
    found = {}
    for path in venv.glob("lib/python*/site-packages/*.dist-info"):
        name, _, version = path.name.removesuffix(".dist-info").partition("-")
        found[normalized(name)] = version
    return found


def wanted(server: dict[str, Any]) -> list[str]:
    """Return the packages that the server's settings need."""
    if server.get("command"):
        # Whoever brings a server of their own brings its package.
        return []
    worker = str(server["worker_class"])
    brought = next((packages for start, packages in WORKERS if worker.startswith(start)), ())
    return [GUNICORN, *brought]


def missing(server: dict[str, Any], have: dict[str, str]) -> list[str]:
    """Return those that are not there; a version that the application has pinned is right."""
    return [need for need in wanted(server) if normalized(re.split(r"[<>=!~]", need)[0]) not in have]
