"""What the kernel knows of a unit's memory, under either version of control groups."""

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MIB = 1024 * 1024


def memory_of(group: str, root: Path = ROOT) -> int | None:
    """Return MiB that a group's processes hold, each page once and no page cache, or nothing if unknown."""
    for stat, parts in (
        (root / group.lstrip("/") / "memory.stat", ("anon", "shmem")),
        # Version 1, still found where a kernel is set up so, and in containers on it.
        (root / "memory" / group.lstrip("/") / "memory.stat", ("total_rss", "total_shmem")),
    ):
        try:
            found = {name: int(value) for name, value in map(str.split, stat.read_text().splitlines())}
        except OSError:
            continue
        if set(parts) <= set(found):
            return sum(found[part] for part in parts) // MIB
    return None
