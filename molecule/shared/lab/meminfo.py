"""The /proc/meminfo that a machine with a memory limit shows."""

import os
from pathlib import Path


def text(limit: int, used: int, cached: int) -> str:
    """Return the file's text; it has the same length whatever the figures are."""
    total = limit >> 10
    free = max(total - (used >> 10) - (cached >> 10), 0)
    figures = {
        "MemTotal": total,
        "MemFree": free,
        "MemAvailable": min(free + (cached >> 10), total),
        "Buffers": 0,
        "Cached": cached >> 10,
        "SwapCached": 0,
        "Active": used >> 10,
        "Inactive": cached >> 10,
        "SwapTotal": 0,
        "SwapFree": 0,
        "Dirty": 0,
        "Shmem": 0,
        "Slab": 0,
        "SReclaimable": 0,
        "CommitLimit": total,
        "Committed_AS": used >> 10,
    }
    return "".join(f"{name + ':':<15} {value:>10} kB\n" for name, value in figures.items())


def write(path: Path, content: str) -> None:
    """Write over the file in place: it is bind-mounted, a new file would not be seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(handle, content.encode(), 0)
        os.ftruncate(handle, len(content))
    finally:
        os.close(handle)
