"""Work that goes on when nobody waits for it any more."""

import asyncio
import gc

import anyio
import pytest

from catalog.tasks import settled, to_the_end


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
async def test_what_was_begun_is_done_to_the_end(turns: int) -> None:
    """A stream whose client goes away is cancelled at each step; what it took is given back."""
    given_back = 0

    async def work() -> None:
        nonlocal given_back
        for _ in range(10):
            await asyncio.sleep(0)
        given_back += 1

    async with anyio.create_task_group() as stream:
        stream.start_soon(to_the_end, work())
        # It has begun: what never begins takes nothing.
        for _ in range(turns + 2):
            await asyncio.sleep(0)
        stream.cancel_scope.cancel()
    await settled(5)
    assert given_back == 1


async def test_an_error_that_nobody_waits_for_is_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    """It was of use to nobody; one that somebody waits for is theirs."""

    async def broken() -> None:
        await asyncio.sleep(0)
        raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        await to_the_end(broken())
    waiting = asyncio.create_task(to_the_end(broken()))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    await settled(5)
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_the_end_waits_for_it_but_not_for_ever() -> None:
    """What hangs does not hold up the end of the process."""
    release = asyncio.Event()
    task = asyncio.create_task(to_the_end(release.wait()))
    await asyncio.sleep(0)
    await settled(0.01)
    assert not task.done()
    release.set()
    assert await task
    await settled(5)
