"""Load, made by wrk, and what it says about it."""

import os
import re
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers import Gunicorn

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def say(text: str) -> None:
    """Tell what happens, at once."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


@dataclass(frozen=True)
class Load:
    """What one run of wrk has seen."""

    requests: float
    median_ms: float
    p99_ms: float
    # Of the workers, for a request. What else the machine does is hardly in it.
    processor_ms: float


def _time(text: str) -> float:
    found = re.fullmatch(r"([0-9.]+)(us|ms|s|m)", text)
    assert found, text
    return float(found[1]) * _SECONDS[found[2]] * 1000


def _processor_seconds(app: Gunicorn) -> float:
    """Return what the workers have had of the processors."""
    ticks = 0
    for pid in app.workers():
        # What is in parentheses may hold anything; after it come the state and the numbers.
        numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(numbers[11]) + int(numbers[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def wrk(app: Gunicorn, path: str, seconds: int, connections: int = 16) -> Load:
    """Ask for one path as often as there is an answer, over connections that are kept."""
    before = _processor_seconds(app)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s"]
    done = subprocess.run([*command, f"{app.url}{path}"], capture_output=True, text=True, check=True)
    said = done.stdout
    # One that was refused or broken off is no request.
    assert "Non-2xx" not in said, said
    assert "Socket errors" not in said, said
    (count,) = re.findall(r"^ +([0-9]+) requests in ", said, re.M)
    processor = (_processor_seconds(app) - before) / int(count)
    (rate,) = re.findall(r"Requests/sec:\s+([0-9.]+)", said)
    (median,) = re.findall(r"^ +50%\s+(\S+)", said, re.M)
    (p99,) = re.findall(r"^ +99%\s+(\S+)", said, re.M)
    return Load(float(rate), _time(median), _time(p99), processor * 1000)


def side_by_side(apps: dict[str, tuple[Gunicorn, str]], rounds: int, seconds: int) -> dict[str, list[Load]]:
    """Load each in turn, again and again, so that what else the machine does hits all of them alike."""
    for app, path in apps.values():
        wrk(app, path, 1)
    loads: dict[str, list[Load]] = {name: [] for name in apps}
    for number in range(rounds):
        for name, (app, path) in apps.items():
            loads[name].append(wrk(app, path, seconds))
        rates = ", ".join(f"{name} {runs[-1].requests:.0f}/s" for name, runs in loads.items())
        say(f"round {number + 1} of {rounds}: {rates}")
    return loads


def ratio(loads: dict[str, list[Load]], name: str, to: str) -> float:
    """Return the middle of the ratios of each round."""
    pairs: Sequence[tuple[Load, Load]] = list(zip(loads[name], loads[to], strict=True))
    return statistics.median(one.requests / other.requests for one, other in pairs)


def middle(loads: Sequence[Load]) -> float:
    """Return the middle rate."""
    return statistics.median(load.requests for load in loads)
