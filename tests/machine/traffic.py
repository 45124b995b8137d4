"""What visitors of a site meet while something happens to it: requests, releases, failures, pauses."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

from visitors import now

VISITORS = Path(__file__).with_name("visitors.py")
# A release is synced to disk; whoever writes there just then would wait, and take it for a pause of the site.
MEMORY = Path("/dev/shm")  # noqa: S108 - a file of the process's own

# What a server says to a websocket when it goes away (1001) or starts anew (1012).
GOOD_BYE = {1001, 1012}
LEFT = 1000


@dataclass(frozen=True)
class Plan:
    """Who comes, for each machine. `pace` is the time between two requests of one visitor, in seconds."""

    domain: str
    authority: str
    machines: Mapping[str, str]
    kept: int = 5
    new: int = 2
    pace: float = 0.04
    slow: int = 2
    slow_seconds: float = 8
    slow_every: float = 8.5
    uploads: int = 1
    upload_bytes: int = 2_000_000
    websockets: int = 1
    seconds: float = 900


@dataclass(frozen=True)
class Request:
    """One finished request. Times are seconds of the day's clock; status 0 is no answer at all."""

    machine: str
    kind: str
    begun: float
    ended: float
    status: int
    release: str
    error: str

    @property
    def good(self) -> bool:
        """Tell whether a visitor would call it an answer."""
        return self.status in {200, 101}


@dataclass
class Traffic:
    """All of it."""

    begun: float = 0.0
    ended: float = 0.0
    requests: list[Request] = field(default_factory=list)
    closes: list[Request] = field(default_factory=list)
    lags: list[Request] = field(default_factory=list)

    def read(self, records: Path) -> None:
        """Read what the visitors wrote down."""
        self.requests, self.closes, self.lags = [], [], []
        for line in records.read_text().splitlines():
            request = Request(*json.loads(line))
            special = {"websocket-close": self.closes, "lag": self.lags}
            special.get(request.kind, self.requests).append(request)

    def failed(self) -> list[Request]:
        """Return the requests that got no good answer."""
        return [request for request in self.requests if not request.good]

    def of(self, machine: str) -> "Traffic":
        """Return what went to one machine."""
        found = [request for request in self.requests if request.machine == machine]
        closes = [request for request in self.closes if request.machine == machine]
        return Traffic(self.begun, self.ended, found, closes, self.lags)

    def between(self, begin: float, end: float) -> "Traffic":
        """Return what began in a span of time."""
        found = [request for request in self.requests if begin <= request.begun <= end]
        closes = [request for request in self.closes if begin <= request.ended <= end]
        return Traffic(begin, end, found, closes, self.lags)

    def near(self, instant: float, seconds: float = 1.0) -> int:
        """Return how many requests began within so many seconds of an instant, before or after."""
        return sum(abs(request.begun - instant) <= seconds for request in self.requests)

    def across(self, instant: float, release: str) -> int:
        """Return how many requests began before an instant, on that release, and were answered after it."""
        return sum(
            request.begun < instant < request.ended and request.good and request.release == release
            for request in self.requests
            if request.kind != "websocket-echo"
        )

    def late(self, instant: float, release: str, grace: float = 0.1) -> list[Request]:
        """Return requests that began after an instant and were still answered by that release.

        A websocket stays with the release that it was opened on.
        """
        return [
            request
            for request in self.requests
            if request.begun > instant + grace
            and request.release == release
            and request.kind != "websocket-echo"
        ]

    def releases(self) -> Counter[str]:
        """Return how many answers came from each release."""
        return Counter(request.release for request in self.requests if request.release)

    def kinds(self) -> Counter[str]:
        """Return how many requests there were of each kind."""
        return Counter(request.kind for request in self.requests)

    def longest_pause(self) -> tuple[float, float]:
        """Return the longest time without a good answer, and when it began; each machine for itself.

        Time in which the observer itself did not run is left out: it says nothing of the machine.
        """
        longest = (0.0, 0.0)
        for machine in {request.machine for request in self.requests}:
            ends = sorted(
                request.ended
                for request in self.requests
                if request.machine == machine and request.good and request.ended <= self.ended
            )
            pauses = [
                (later - earlier - self.unseen(earlier, later), earlier) for earlier, later in pairwise(ends)
            ]
            longest = max(longest, *pauses) if pauses else longest
        return longest

    def unseen(self, begin: float, end: float) -> float:
        """Return for how long the observer itself did not run between two instants."""
        return sum(max(0.0, min(end, lag.ended) - max(begin, lag.begun)) for lag in self.lags)

    def observer_lag(self) -> float:
        """Return the longest time in which the observer itself did not run."""
        return max((lag.ended - lag.begun for lag in self.lags), default=0.0)

    def bad_closes(self) -> list[Request]:
        """Return the websockets that ended otherwise than with a good-bye, or by the visitor."""
        return [close for close in self.closes if close.status not in GOOD_BYE | {LEFT}]

    def good_byes(self) -> list[int]:
        """Return the codes with which the server closed websockets."""
        return sorted(close.status for close in self.closes if close.status != LEFT)

    def summary(self) -> str:
        """Return the figures in a line."""
        pause, _ = self.longest_pause()
        return (
            f"{len(self.requests)} requests, {len(self.failed())} failed, longest pause {pause:.3f} s "
            f"(the observer's own: {self.observer_lag():.3f} s), websockets closed with {self.good_byes()}"
        )


@contextmanager
def traffic(plan: Plan, directory: Path) -> Iterator[Traffic]:
    """Let visitors come while the block runs; what they met is there after it."""
    found = Traffic()
    wanted, records = directory / "plan.json", MEMORY / f"visitors-{os.getpid()}.jsonl"
    records.unlink(missing_ok=True)
    wanted.write_text(json.dumps(asdict(plan)))
    visitors = subprocess.Popen([sys.executable, str(VISITORS), str(wanted), str(records)])
    try:
        wait_for_first_answers(visitors, records, plan)
        found.begun = now()
        yield found
        found.ended = now()
    finally:
        visitors.send_signal(signal.SIGTERM)
        status = visitors.wait(60)
    assert status == 0, f"the visitors ended with status {status}"
    found.read(records)
    records.unlink()


def wait_for_first_answers(visitors: "subprocess.Popen[bytes]", records: Path, plan: Plan) -> None:
    """Wait until each machine has answered, so that what follows happens under load."""
    waiting, deadline = set(plan.machines), now() + 20
    while waiting:
        assert visitors.poll() is None, "the visitors are gone"
        assert now() < deadline, f"no answer from {', '.join(sorted(waiting))} in 20 s"
        time.sleep(0.1)
        if records.exists():
            lines = [json.loads(line) for line in records.read_text().splitlines() if line.endswith("]")]
            waiting -= {line[0] for line in lines if line[4] == 200}
