"""Where the lab keeps things."""

import hashlib
import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
SHARED = PROJECT / "molecule" / "shared"

# Gone when the host restarts: the lock of the slots, and sockets, whose paths must be short.
RUN = Path("/run/fastapi-metal")
HOST_LOCK = RUN / "slots.lock"


def cache() -> Path:
    """Base images and snapshots: worth keeping between runs."""
    return Path(os.environ.get("FASTAPI_METAL_CACHE", "/var/cache/fastapi-metal"))


def state() -> Path:
    """Labs: gone when they are taken down."""
    return Path(os.environ.get("FASTAPI_METAL_STATE", "/var/lib/fastapi-metal"))


def key(name: str, project: str = str(PROJECT)) -> str:
    """Return a lab's directory name: two checkouts may each have a lab `demo`."""
    return f"{name}.{hashlib.sha256(project.encode()).hexdigest()[:6]}"


def lab(key: str) -> Path:
    """Return the directory of one lab."""
    return state() / "labs" / key


def lock(key: str) -> Path:
    """Return the lock of one lab; it stays when the lab goes."""
    return state() / "locks" / key
