"""Step 4's window: a release is well if it answers every time and all its workers stay the same.

That systemd calls a service started says nothing about its workers, so nothing here relies on it.
"""

from dataclasses import dataclass

from ..engine.engine import Engine
from ..machine.interface import Answer, Probe, UnitState

INTERVAL = 0.2
# Whoever deploys waits for the first healthy answer, so it is looked for more often.
INTERVAL_BEFORE = 0.05
# What is left of a window may be too little to move a clock of floating point.
SHORTEST = 0.01
# A healthy release may be slow under load; before, a probe waits in the backlog for a worker to come up.
PATIENCE = 5.0
PATIENCE_BEFORE = 2.0
# Gunicorn starts a worker again that exits by itself, for ever; nobody needs to see that until the timeout.
TOO_MANY = 4
# In the watch, one slow answer under load is no reason to go back.
WATCH_INTERVAL = 0.5
WATCH_TOLERATES = 2


@dataclass(frozen=True)
class Watched:
    """One release under observation."""

    engine: Engine
    release_id: str
    workers: int

    def state(self) -> UnitState:
        """What systemd says about it."""
        return self.engine.machine.state(self.engine.layout.service(self.release_id))

    def probe(self, timeout: float = PATIENCE) -> Answer:
        """What it answers."""
        entry = self.engine.settings.entry
        socket = self.engine.layout.socket(self.release_id)
        return self.engine.machine.probe(Probe(socket, entry["domain"], entry["health"]["path"], timeout))

    def healthy(self, answer: Answer) -> bool:
        """Whether an answer is the one that was asked for."""
        return answer.status == int(self.engine.settings.entry["health"]["status"])

    def pids(self, state: UnitState) -> frozenset[int]:
        """Its worker processes; none where only its server knows how many there should be."""
        counted = state.main_pid and self.workers
        return self.engine.machine.children(state.main_pid) if counted else frozenset()

    def ended(self, state: UnitState, restarts: int) -> str | None:
        """Return how it ended, or nothing if it runs."""
        if not state.alive:
            return f"its server ended (result {state.result}, exit status {state.exit_status})"
        if state.restarts > restarts:
            return "its server ended and had to be started again"
        return None


def gate(watched: Watched) -> str | None:
    """Wait for the first healthy answer, then watch the window; return why it is not well, or nothing."""
    health = watched.engine.settings.entry["health"]
    first = until_healthy(watched, float(health["timeout"]))
    if isinstance(first, str):
        return first
    return through_window(watched, first, float(health["stable"]))


def until_healthy(watched: Watched, timeout: float) -> UnitState | str:
    """Return the state in which it first answered with all its workers, or why it never did."""
    machine, health = watched.engine.machine, watched.engine.settings.entry["health"]
    deadline = machine.clock() + timeout
    answer, count, state = Answer(None, "no answer"), 0, watched.state()
    seen: set[int] = set()
    while machine.clock() < deadline:
        state = watched.state()
        ended = watched.ended(state, 0)
        if ended:
            return f"{ended}, before it was healthy"
        if state.active == "active":
            answer = watched.probe(PATIENCE_BEFORE)
            pids = watched.pids(state)
            count = len(pids)
            seen |= pids
            if watched.healthy(answer) and count == watched.workers:
                return state
            if len(seen) > TOO_MANY * watched.workers:
                return f"its workers die and are started again: {len(seen)} were seen before it was healthy"
        machine.sleep(INTERVAL_BEFORE)
    if watched.healthy(answer):
        return f"it has {count} worker processes instead of {watched.workers} after {timeout:.0f} s"
    waits = " (it is still starting: does it wait for its database?)" if state.active == "activating" else ""
    return (
        f"GET {health['path']} was not answered with {health['status']} within {timeout:.0f} s "
        f"(health.timeout); the last answer: {answer}{waits}"
    )


def through_window(watched: Watched, first: UnitState, stable: float) -> str | None:
    """Return why it did not stay as it was, or nothing."""
    machine, health = watched.engine.machine, watched.engine.settings.entry["health"]
    pids = watched.pids(first)
    begin = machine.clock()
    while True:
        passed = machine.clock() - begin
        state = watched.state()
        ended = watched.ended(state, 0)
        if ended:
            return f"{ended}, {passed:.1f} s after its first healthy answer"
        answer = watched.probe()
        if not watched.healthy(answer):
            return f"GET {health['path']} was healthy once and {passed:.1f} s later not: {answer}"
        if state.main_pid != first.main_pid or watched.pids(state) != pids:
            # All of them are gone where the server has ended since it was looked at.
            ended = watched.ended(watched.state(), 0)
            return f"{ended or 'one of its workers died'}, {passed:.1f} s after its first healthy answer"
        if passed >= stable:
            return None
        machine.sleep(max(SHORTEST, min(INTERVAL, stable - passed)))


def still_well(watched: Watched) -> str | None:
    """Look once more before traffic comes, as other hosts may have been first; return why it must not."""
    for _ in range(WATCH_TOLERATES + 1):
        ended = watched.ended(watched.state(), 0)
        if ended:
            return f"{ended}, after it had passed the gate and before it got traffic"
        answer = watched.probe()
        if watched.healthy(answer):
            return None
        watched.engine.machine.sleep(INTERVAL)
    return f"it passed the gate and became unhealthy before it got traffic: {answer}"


def watch(watched: Watched, seconds: float) -> str | None:
    """Watch a release that gets traffic; return why traffic must go back, or nothing."""
    machine = watched.engine.machine
    begin, first, misses = machine.clock(), watched.state(), 0
    while True:
        passed = machine.clock() - begin
        state = watched.state()
        ended = watched.ended(state, first.restarts)
        if ended or state.main_pid != first.main_pid:
            return f"{ended or 'its server was restarted'} {passed:.1f} s into the watch (release_watch)"
        answer = watched.probe()
        misses = 0 if watched.healthy(answer) else misses + 1
        if misses > WATCH_TOLERATES:
            return f"it became unhealthy {passed:.1f} s into the watch (release_watch): {answer}"
        if passed >= seconds:
            return None
        machine.sleep(WATCH_INTERVAL)
