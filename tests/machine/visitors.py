"""Visitors of a site, in a process of their own: `visitors.py PLAN RECORDS`.

PLAN is a JSON file (see traffic.Plan); each finished request becomes one line of JSON in RECORDS. SIGTERM
lets no new request begin; those in flight are waited for. Nothing is tried twice: what fails, has failed.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import random
import signal
import ssl
import sys
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TextIO

# One clock for all machines of a lab, and none that is set while we look.
OFFSET = time.time() - time.monotonic()

PATIENCE = 30.0
LAG_TICK = 0.01
WEBSOCKET_EVERY = 0.2
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
KEPT, NEW = ["get", "get", "get", "post"], ["get", "post"]
ABNORMAL, LEFT = 1006, 1000


def now() -> float:
    """Return the time of day in seconds."""
    return time.monotonic() + OFFSET


class WrongAnswerError(Exception):
    """An answer that is none."""


class Reader(asyncio.StreamReader):
    """A reader for which a reset is an end: what had come before it can still be read."""

    def set_exception(self, exc: BaseException) -> None:
        """Take it for the end."""
        self.feed_eof()


class Wire:
    """One connection to one machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, domain: str) -> None:
        self.reader, self.writer, self.domain = reader, writer, domain
        self.ended = False

    async def request(
        self, method: str, path: str, body: bytes = b"", pieces: int = 1, pause: float = 0.0, extra: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request, its body in so many pieces, and read the answer."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.domain}\r\n{length}{extra}\r\n"
        self.writer.write(head.encode())
        size = max(1, -(-len(body) // pieces))
        for start in range(0, len(body), size):
            if start and pause:
                await asyncio.sleep(pause)
            self.writer.write(body[start : start + size])
            await self.writer.drain()
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(status_line.split(" ", 2)[1])
        if status == 101:
            return status, headers, b""
        body = await self.reader.readexactly(int(headers["content-length"]))
        self.ended = headers.get("connection", "").lower() == "close"
        return status, headers, body

    async def send_frame(self, opcode: int, payload: bytes) -> None:
        """Send one short websocket frame, masked as a client must."""
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        self.writer.write(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)
        await self.writer.drain()

    async def frame(self) -> tuple[int, bytes]:
        """Read one short websocket frame."""
        first, second = await self.reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(await self.reader.readexactly(2), "big")
        return first & 0x0F, await self.reader.readexactly(length)

    def close(self) -> None:
        """Let go of it."""
        self.writer.close()


def drained(frames: asyncio.Queue[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return everything that waits in a queue."""
    return [frames.get_nowait() for _ in range(frames.qsize())]


class Visitors:
    """All visitors of one machine, or of several."""

    def __init__(self, plan: dict[str, Any], out: TextIO) -> None:
        self.plan, self.out = plan, out
        self.domain = str(plan["domain"])
        self.tls = ssl.create_default_context(cafile=plan["authority"])
        self.stop = asyncio.Event()
        self.upload = random.Random(1).randbytes(int(plan["upload_bytes"]))  # noqa: S311 - only has to be many
        self.upload_digest = hashlib.sha256(self.upload).hexdigest()

    async def open(self, address: str) -> Wire:
        """Open a connection."""
        loop = asyncio.get_running_loop()
        reader = Reader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.create_connection(
            lambda: protocol, address, 443, ssl=self.tls, server_hostname=self.domain
        )
        return Wire(reader, asyncio.StreamWriter(transport, protocol, reader, loop), self.domain)

    def note(
        self, machine: str, kind: str, begun: float, status: int, release: str = "", error: str = ""
    ) -> None:
        """Write down one request."""
        ended = now()
        self.out.write(json.dumps([machine, kind, begun, ended, status, release, error]) + "\n")

    async def ask(self, wire: Wire, kind: str, turn: int) -> tuple[int, str]:
        """Send one request and return its status and the release that answered; the answer must be right."""
        what = kind.rpartition("-")[2]
        if what == "slow":
            status, headers, _ = await wire.request("GET", f"/slow?seconds={self.plan['slow_seconds']}")
        elif what == "upload":
            status, headers, body = await wire.request("POST", "/upload", self.upload, pieces=20, pause=0.1)
            if status == 200 and json.loads(body)["sha256"] != self.upload_digest:
                raise WrongAnswerError("another digest than that of what was sent")
        elif what == "post":
            sent = f"{kind} {turn}".encode()
            status, headers, body = await wire.request("POST", "/echo", sent)
            if status == 200 and body != sent:
                raise WrongAnswerError("the echo is not what was sent")
        else:
            status, headers, _ = await wire.request("GET", "/version")
        return status, headers.get("x-release", "")

    async def visitor(self, machine: str, address: str, name: str, kinds: list[str], pace: float) -> None:
        """Ask again and again: `kept` on one connection, all others on a new one each time."""
        wire: Wire | None = None
        begin = now() + random.random() * pace  # noqa: S311 - visitors do not come in step
        turn = 0
        while not self.stop.is_set():
            due = begin + turn * pace
            if due > now():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stop.wait(), due - now())
                continue
            kind = kinds[turn % len(kinds)]
            # Who is late does not hurry after.
            turn = max(turn + 1, int((now() - begin) / pace)) if pace else turn + 1
            begun = now()
            try:
                async with asyncio.timeout(PATIENCE):
                    wire = wire or await self.open(address)
                    status, release = await self.ask(wire, f"{name}-{kind}", turn)
                self.note(machine, f"{name}-{kind}", begun, status, release)
            except (OSError, EOFError, TimeoutError, WrongAnswerError, ValueError, KeyError) as problem:
                self.note(machine, f"{name}-{kind}", begun, 0, error=repr(problem))
                if wire:
                    wire.ended = True
            if wire and (wire.ended or name != "kept"):
                wire.close()
                wire = None
        if wire:
            wire.close()

    async def websocket(self, machine: str, address: str) -> None:
        """Hold a websocket and speak on it; when it ends, note the code and open another one at once."""
        while not self.stop.is_set():
            begun = now()
            key = b64encode(os.urandom(16)).decode()
            upgrade = (
                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            )
            try:
                async with asyncio.timeout(PATIENCE):
                    wire = await self.open(address)
                    status, headers, _ = await wire.request("GET", "/socket", extra=upgrade)
            except (OSError, EOFError, TimeoutError, ValueError, KeyError) as problem:
                self.note(machine, "websocket-open", begun, 0, error=repr(problem))
                await asyncio.sleep(0.5)
                continue
            release = headers.get("x-release", "")
            self.note(machine, "websocket-open", begun, status, release)
            if status == 101:
                begun, code = now(), await self.talk(wire, machine, release)
                self.note(machine, "websocket-close", begun, code, release)
            wire.close()

    async def talk(self, wire: Wire, machine: str, release: str) -> int:
        """Say something every now and then until it is closed; return the code."""
        frames: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        reader = asyncio.create_task(self.listen(wire, frames))
        turn = 0
        try:
            while not self.stop.is_set():
                turn, begun, text = turn + 1, now(), f"word {turn}"
                await wire.send_frame(TEXT, text.encode())
                opcode, payload = await asyncio.wait_for(frames.get(), PATIENCE)
                if opcode == CLOSE:
                    return await self.farewell(wire, payload)
                right = payload.decode() == f"{release} {text}"
                error = "" if right else f"heard {payload!r}"
                self.note(machine, "websocket-echo", begun, 200 if right else 0, release, error)
                # A close that comes in between is seen at once, not with the next word.
                with contextlib.suppress(TimeoutError):
                    opcode, payload = await asyncio.wait_for(frames.get(), WEBSOCKET_EVERY)
                    return await self.farewell(wire, payload)
            await wire.send_frame(CLOSE, (1000).to_bytes(2, "big"))
        except TimeoutError:
            return ABNORMAL
        except OSError:
            # Closed while we spoke: what it said before that counts.
            await reader
            said = [payload for opcode, payload in drained(frames) if opcode == CLOSE]
            return int.from_bytes(said[0], "big")
        finally:
            reader.cancel()
        return LEFT

    async def farewell(self, wire: Wire, payload: bytes) -> int:
        """Answer a close as one should, though the other side may not wait for it; return its code."""
        with contextlib.suppress(OSError):
            await wire.send_frame(CLOSE, payload)
        return int.from_bytes(payload, "big")

    async def listen(self, wire: Wire, frames: asyncio.Queue[tuple[int, bytes]]) -> None:
        """Read frames; the end of the connection is a close with the code that stands for none."""
        try:
            while True:
                opcode, payload = await wire.frame()
                if opcode == PING:
                    await wire.send_frame(PONG, payload)
                else:
                    await frames.put((opcode, payload[:2] if opcode == CLOSE else payload))
                if opcode == CLOSE:
                    return
        except (OSError, EOFError):
            await frames.put((CLOSE, ABNORMAL.to_bytes(2, "big")))

    async def lag(self) -> None:
        """Note when this process itself did not run: a pause of the observer is none of the site."""
        last = now()
        while not self.stop.is_set():
            await asyncio.sleep(LAG_TICK)
            if now() - last > 5 * LAG_TICK:
                self.note("", "lag", last, 0)
            last = now()

    async def run(self) -> None:
        """Let all of them come, until the signal or the end of the planned time."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop.set)
        loop.call_later(float(self.plan["seconds"]), self.stop.set)
        jobs: list[Awaitable[None]] = [self.lag()]
        each: Callable[..., Awaitable[None]] = self.visitor
        for machine, address in self.plan["machines"].items():
            here = (machine, address)
            pace = float(self.plan["pace"])
            jobs += [each(*here, "kept", KEPT, pace) for _ in range(self.plan["kept"])]
            jobs += [each(*here, "new", NEW, 2 * pace) for _ in range(self.plan["new"])]
            jobs += [each(*here, "long", ["slow"], self.plan["slow_every"]) for _ in range(self.plan["slow"])]
            jobs += [each(*here, "long", ["upload"], 3.0) for _ in range(self.plan["uploads"])]
            jobs += [self.websocket(*here) for _ in range(self.plan["websockets"])]
        await asyncio.gather(*jobs)


def go_first() -> None:
    """Never wait for a processor: else the pauses would be those of who measures."""
    with contextlib.suppress(OSError):
        os.nice(-20)
        # Between sessions the kernel shares by what the sessions weigh, and not by nice.
        os.setsid()
        Path("/proc/self/autogroup").write_text("-20")


def main() -> None:
    """Read the plan and go."""
    go_first()
    plan = json.loads(Path(sys.argv[1]).read_text())
    with Path(sys.argv[2]).open("w", buffering=1) as out:
        visitors = Visitors(plan, out)
        asyncio.run(visitors.run())


if __name__ == "__main__":
    main()
