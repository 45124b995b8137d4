"""The end of a process, announced: from SIGTERM on it is not ready, and what would go on for ever ends."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Drain:
    """Whether this process has been told to stop.

    The server itself tells an application only when its last request is answered. That is too late for a
    balancer, which should look elsewhere, and never for a feed, which ends only when it is told to.
    """

    def __init__(self, delay: float) -> None:
        self.begun = asyncio.Event()
        self._delay = delay

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Hear of SIGTERM and SIGINT before the server does."""
        # Only the main thread may; elsewhere, as in tests, nobody is told by a signal.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        servers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def told(number: int, frame: FrameType | None) -> None:
            server = servers[signal.Signals(number)]
            loop.call_soon_threadsafe(
                self._begin, lambda: server(number, frame) if callable(server) else None
            )

        for number, server in servers.items():
            # Where nobody would be told after us, a signal keeps its effect.
            if callable(server) and server is not signal.default_int_handler:
                signal.signal(number, told)
        try:
            yield
        finally:
            for number, server in servers.items():
                if signal.getsignal(number) is told:
                    signal.signal(number, server)

    def _begin(self, stop: Callable[[], object]) -> None:
        again = self.begun.is_set()
        self.begun.set()
        # Who asks twice does not want to wait.
        if again or not self._delay:
            stop()
        else:
            asyncio.get_running_loop().call_later(self._delay, stop)
