"""Where the lab keeps things."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
SHARED = PROJECT / "molecule" / "shared"

# One per host, whatever the directories below are set to: slots are a property of the host.
HOST_LOCK = Path("/run/lock/fastapi-metal-lab.lock")


def cache() -> Path:
    """Base images and snapshots: worth keeping between runs."""
    return Path(os.environ.get("FASTAPI_METAL_CACHE", "/var/cache/fastapi-metal"))


def state() -> Path:
    """Running labs: gone when they are taken down."""
    return Path(os.environ.get("FASTAPI_METAL_STATE", "/var/lib/fastapi-metal"))


def lab(name: str) -> Path:
    """The directory of one lab."""
    return state() / "labs" / name
