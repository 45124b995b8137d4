"""How many worker processes a machine carries."""

from dataclasses import dataclass

MIB = 1024 * 1024

# Kept for the system, the database's cache, Nginx and monitoring.
RESERVE_SHARE = 4
RESERVE_LEAST = 512


@dataclass(frozen=True)
class Sizing:
    """A number of workers and why it is that one."""

    workers: int
    reason: str


def memory_limit(text: str) -> int | None:
    """Return systemd's notation of memory in MiB; nothing for no limit."""
    if not text:
        return None
    factor = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024}.get(text[-1])
    return int(int(text[:-1]) * factor) if factor else int(text) // MIB


def size(wanted: str, cores: int, memory: int, worker_memory: int, limit: int | None) -> Sizing:
    """Return the workers for a machine; sizes are in MiB.

    An asynchronous worker fills one core. Two are the least that the cores ask for: while one is
    replaced, the other answers. Memory must carry everything twice, as two releases overlap.
    """
    if wanted != "auto":
        return Sizing(int(wanted), f"{wanted} as configured in server.workers")
    by_cores = max(2, cores)
    reserve = max(RESERVE_LEAST, memory // RESERVE_SHARE)
    by_memory = max(1, (memory - reserve) // (2 * worker_memory))
    why = (
        f"{cores} {'core asks' if cores == 1 else 'cores ask'} for {by_cores}; {memory} MiB, less {reserve} "
        f"for the system, carry {by_memory} of {worker_memory} MiB in two releases side by side"
    )
    workers = min(by_cores, by_memory)
    if limit is not None:
        by_limit = max(1, limit // worker_memory)
        why += f"; limits.memory of {limit} MiB carries {by_limit}"
        workers = min(workers, by_limit)
    return Sizing(workers, f"auto: {why}")
