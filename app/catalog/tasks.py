"""Work that goes on when nobody waits for it any more."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

# An event loop keeps only weak references to its tasks.
_working: set[asyncio.Task[Any]] = set()


async def to_the_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Do the work; if whoever wants it goes away, it is done nevertheless.

    A stream is cancelled when its client goes away. In the middle of asking for a connection that would lose
    the connection, which nobody gives back then.
    """
    task = asyncio.create_task(work)
    _working.add(task)
    task.add_done_callback(_forget)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # Whoever is cancelled once waits; a stream is cancelled again and again.
        await asyncio.wait({task})
        raise


def _forget(task: asyncio.Task[Any]) -> None:
    _working.discard(task)
    if not task.cancelled():
        # Looked at, so that asyncio does not report it as never retrieved.
        task.exception()


async def settled(seconds: float) -> None:
    """Wait until all of it is done, but not for ever."""
    loop = asyncio.get_running_loop()
    if own := {task for task in _working if task.get_loop() is loop}:
        await asyncio.wait(own, timeout=seconds)
