# ruff: noqa: D102 - what each method does is said once, in the seam that it stands behind
"""A machine that is a plain directory and a few sets: what the engine meets in unit tests."""

import io
import itertools
import os
import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fastapi_metal.apps.specs import complete
from fastapi_metal.engine.effects import Moment, Observer, nobody
from fastapi_metal.engine.engine import Engine
from fastapi_metal.fleet import decision, decision_back
from fastapi_metal.fleet.asking import NOTHING_TO_UNDO, patiently
from fastapi_metal.machine.interface import Answer, DatabaseError, OneOff, Output, Probe, Resources, UnitState
from fastapi_metal.release.layout import Layout
from fastapi_metal.release.settings import Settings, from_request
from fastapi_metal.steps import dispatch
from fastapi_metal.steps.lease import Claim

ENTRY = {"domain": "shop.example.org", "source": {"path": "."}, "module": "shop.main:app"}


class Killed(BaseException):
    """The engine was killed here; nothing may catch it."""


@dataclass
class Behaviour:
    """What a release does once it runs. The healthy one is the default."""

    starts: bool = True
    status: int = 200
    dies_after: float | None = None
    loses_worker_after: float | None = None
    workers: int = 2
    respawns: bool = False


@dataclass
class FakeSession:
    """A session with a database: it answers the questions of a turn, and remembers them."""

    machine: "FakeMachine"
    name: str
    asked: list[str] = field(default_factory=list)
    closed: bool = False

    def rows(self, query: str) -> list[list[str]]:
        self.asked.append(query)
        if "pg_try_advisory_lock" in query:
            return [["f" if self.machine.turn_holder else "t"]]
        if "application_name" in query:
            return [self.machine.turn_holder] if self.machine.turn_holder else []
        return self.machine.in_the_way

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeMachine:
    """Keeps what systemd would, and moves its clock by itself."""

    root: Path
    running: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    enabled_units: set[str] = field(default_factory=set)
    behaviour: dict[str, Behaviour] = field(default_factory=dict)
    in_flight: dict[str, int] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    failing_commands: set[str] = field(default_factory=set)
    hanging_commands: set[str] = field(default_factory=set)
    one_off_calls: list[OneOff] = field(default_factory=list)
    captured: list[OneOff] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    sessions: list["FakeSession"] = field(default_factory=list)
    # Passwords that the database does not take, with the code of its error.
    refused: dict[str, str] = field(default_factory=dict)
    turn_holder: list[str] = field(default_factory=list)
    in_the_way: list[list[str]] = field(default_factory=list)
    printed: dict[str, str] = field(default_factory=dict)
    # What other commands print once this one has run.
    changes: dict[str, dict[str, str]] = field(default_factory=dict)
    dying_jobs: set[str] = field(default_factory=set)
    users: dict[str, str] = field(default_factory=dict)
    groups: set[str] = field(default_factory=lambda: {"www-data"})
    words: dict[str, str] = field(default_factory=dict)
    encrypts: bool = True
    free: int = 10_000
    # MiB that are available while nothing runs, and that one release uses.
    memory: int = 4000
    uses: int = 100
    most: int = 0
    version: str = "3.13"
    time: float = 0.0
    ticks: Any = field(default_factory=itertools.count)
    uv_status: int = 0

    def of(self, unit: str) -> Behaviour:
        """What the release of a unit does, by the word in its environment."""
        release = unit.partition("@")[2].rpartition(".")[0]
        if release not in self.words:
            lines = (self.root / "srv/shop/releases" / release / "env").read_text().splitlines()
            self.words[release] = next(line.split('"')[1] for line in lines if line.startswith("WORD="))
        return self.behaviour.get(self.words[release], Behaviour())

    def resources(self, python: str) -> Resources:
        return Resources(cores=2, memory=4096, architecture="x86_64", python=self.version)

    def reload(self) -> None:
        pass

    def start(self, units: list[str], wait: bool) -> None:
        for unit in units:
            release = unit.partition("@")[2].rpartition(".")[0]
            assert (self.root / "srv/shop/releases" / release / "release.json").is_file(), "AssertPathExists="
            if unit.startswith("shop."):
                assert (self.root / "etc/systemd/system" / unit).is_file(), f"{unit} is no unit"
                if unit.endswith(".service") and not self.live(release):
                    continue
            held = (self.root / "srv/shop/releases" / release / "hold").exists()
            assert not (unit == f"shop@{release}.service" and held), "it would wait for ever"
            self.running.setdefault(unit, self.time)
        self.most = max(self.most, self.services())

    def stop(self, units: list[str]) -> None:
        for unit in units:
            self.running.pop(unit, None)

    def reset_failed(self, units: list[str]) -> None:
        self.failed -= set(units)

    def enable(self, unit: str) -> None:
        self.enabled_units.add(unit)

    def disable(self, unit: str) -> None:
        self.enabled_units.discard(unit)

    def is_enabled(self, unit: str) -> bool:
        return unit in self.enabled_units

    def state(self, unit: str) -> UnitState:
        if unit not in self.running:
            return UnitState()
        if unit.startswith("shop."):
            dies = unit.partition("@")[0] in self.dying_jobs
            return UnitState("active", 300, restarts=int(self.time > self.running[unit]) * dies)
        if not unit.endswith(".service"):
            return UnitState(active="active")
        behaviour, age = self.of(unit), self.time - self.running[unit]
        dead = not behaviour.starts or (behaviour.dies_after is not None and age >= behaviour.dies_after)
        return UnitState("active", 100, restarts=int(dead), result="exit-code", exit_status=3)

    def enabled(self, app: str) -> set[str]:
        return {
            unit.partition("@")[2].rpartition(".")[0]
            for unit in self.enabled_units
            if unit.startswith(f"{app}@")
        }

    def loaded(self, app: str) -> set[str]:
        return {
            unit.partition("@")[2].rpartition(".")[0] for unit in self.running if unit.startswith(f"{app}@")
        }

    def journal(self, unit: str, lines: int, identifier: str | None = None) -> list[str]:
        return [f"last words of {unit}"]

    def jobs_alive(self, app: str) -> set[str]:
        return {unit for unit in self.running if unit.startswith(f"{app}.")}

    def jobs_enabled(self, app: str) -> set[str]:
        return {unit for unit in self.enabled_units if unit.startswith(f"{app}.")}

    def wrong_schedule(self, text: str) -> str | None:
        return "Failed to parse calendar specification" if text == "sometimes" else None

    def encrypt(self, name: str, value: bytes) -> bytes | None:
        return f"encrypted {name} {value[::-1].decode()}".encode() if self.encrypts else None

    def stamp(self, path: Path, age: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, ns=(age, age))

    def live(self, release: str) -> bool:
        """Tell what ExecCondition= of a job does."""
        current = self.root / "srv/shop/current"
        return current.is_symlink() and current.readlink().name == release

    def one_offs(self, app: str) -> set[str]:
        left, self.orphans = self.orphans[:1], self.orphans[1:]
        return {f"{app}-before-start-{name}.service" for name in left}

    def decrypt(self, name: str, value: bytes) -> bytes | None:
        start = f"encrypted {name} ".encode()
        return value.removeprefix(start)[::-1] if value.startswith(start) else None

    def session(self, url: str, user: str, password: str, name: str) -> FakeSession:
        if password in self.refused:
            raise DatabaseError(f"not let in at {url}", self.refused[password])
        self.sessions.append(FakeSession(self, name))
        return self.sessions[-1]

    def run_once(self, command: OneOff, look: Callable[[], None] | None = None) -> Output:
        text = command.script.read_text().strip()
        if command.capture:
            self.captured.append(command)
            return Output(0, self.printed.get(text, ""))
        self.commands.append(text)
        self.one_off_calls.append(command)
        self.printed.update(self.changes.get(text, {}))
        if look:
            look()
        if text in self.hanging_commands:
            self.time += command.timeout
            return Output(1, "")
        return Output(1 if text in self.failing_commands else 0, "")

    def run(self, argv: list[str], directory: Path, env: dict[str, str]) -> Output:
        if argv[1] == "venv":
            server = Path(argv[-1]) / "bin/gunicorn"
            server.parent.mkdir(parents=True)
            server.touch()
            (Path(argv[-1]) / "pyvenv.cfg").touch()
        elif "pip" in argv and self.uv_status:
            return Output(self.uv_status, "error: Hash mismatch for `fastapi`")
        return Output(0, "")

    def sync(self) -> None:
        pass

    def give(self, path: Path, user: str, group: str) -> bool:
        assert path.exists()
        return False

    def probe(self, probe: Probe) -> Answer:
        release = probe.socket.parent.name
        unit = f"shop@{release}.service"
        if unit not in self.running or self.state(unit).restarts:
            return Answer(None, "no answer (connection refused)")
        return Answer(self.of(unit).status)

    def children(self, pid: int) -> frozenset[int]:
        servers = [unit for unit in self.running if unit.startswith("shop@") and unit.endswith(".service")]
        # One release is under observation at a time: the one that started last.
        unit = max(servers, key=lambda unit: self.running[unit])
        behaviour, age = self.of(unit), self.time - self.running[unit]
        lost = behaviour.loses_worker_after is not None and age >= behaviour.loses_worker_after
        first = 200 + lost + (int(age * 10) if behaviour.respawns else 0)
        return frozenset(range(first, first + behaviour.workers))

    def connections(self, socket: Path) -> int:
        left = self.in_flight.get(socket.parent.name, 0)
        self.in_flight[socket.parent.name] = max(0, left - 1)
        return left

    def remove_user(self, name: str) -> bool:
        return self.users.pop(name, None) is not None

    def services(self) -> int:
        """Return how many releases take memory."""
        return sum(unit.startswith("shop@") and unit.endswith(".service") for unit in self.running)

    def available_memory(self) -> int:
        return self.memory - self.uses * self.services()

    def used_memory(self, unit: str) -> int | None:
        return self.uses

    def make_user(self, name: str, home: str) -> bool:
        self.users[name] = home
        return True

    def has_group(self, name: str) -> bool:
        return name in self.groups

    def home(self, user: str) -> str | None:
        return self.users.get(user)

    def free_disk(self, path: Path) -> int:
        return self.free

    def clock(self) -> float:
        return self.time

    def wall(self) -> float:
        return 1e9 + self.time

    def now(self) -> str:
        return f"20261121T22{next(self.ticks) % 10_000:04d}"

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def log(self, message: str) -> None:
        pass

    def power_cut(self) -> None:
        """Lose what runs and start what is enabled, as a boot does."""
        self.running = {}
        for unit in sorted(self.enabled_units):
            release = unit.partition("@")[2].rpartition(".")[0]
            if (
                unit.startswith("shop@")
                and (self.root / "srv/shop/releases" / release / "release.json").is_file()
            ):
                self.running[unit] = self.running[unit.replace(".service", ".socket")] = self.time
            if unit.startswith("shop.") and (unit.endswith(".timer") or self.live(release)):
                assert (self.root / "etc/systemd/system" / unit).is_file(), f"{unit} is enabled and gone"
                self.running[unit] = self.time


def tarball() -> bytes:
    """Return a source as the controller sends it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in {
            "shop/main.py": "app = None\n",
            "requirements.txt": "fastapi --hash=sha256:0\n",
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


@dataclass
class Host:
    """One machine and the controller that deploys to it, one application, several words."""

    machine: FakeMachine
    observer: Observer = nobody
    first: bool = True
    allow: bool = False

    @property
    def layout(self) -> Layout:
        """Where everything lies."""
        return Layout("shop", self.machine.root)

    def request(self, word: str, **entry: Any) -> dict[str, Any]:
        """Return what the controller sends; the word is what differs between two releases."""
        env = {"WORD": word, **entry.pop("env", {})}
        return {
            "entry": complete({**ENTRY, "env": env, **entry}),
            "source": {"digest": "s", "lock": "l", "origin": "path ."},
            "database_url": "postgresql:///shop?host=/run/postgresql",
            "database_wait": "unix:/run/postgresql/.s.PGSQL.5432",
            "python": "/usr/bin/python3",
            "socket_group": "www-data",
            "minimum_free_disk": 512,
            "deployed_by": "somebody@controller",
            "first": self.first,
            "allow_incompatible_schema": self.allow,
            "reason": "",
            "files": [],
            "enable": ["release-mend@shop.service"],
            "release": None,
            "back_to": None,
        }

    def settings(self, request: dict[str, Any]) -> Settings:
        """Return the settings in this machine's directory."""
        return replace(from_request("shop", request), layout=self.layout)

    def engine(self, request: dict[str, Any]) -> Engine:
        """Return the engine that the module would make."""
        return Engine(self.settings(request), self.machine, self.observer)

    def step(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Run one step as the module does."""
        return dispatch.run(self.engine(request), name, request, check_mode=False)

    def deploy(self, word: str, **entry: Any) -> dict[str, Any]:
        """Release on this host alone; return the problem and what changed."""
        done = Fleet({"web1": self}, dead=ENDED).deploy(word, **entry)
        effects = [name for each in done.results for name in each.get("effects", [])]
        journal = next((each["journal"] for each in reversed(done.results) if each.get("journal")), None)
        return {
            "problem": next(iter(done.problems.values()), None),
            "effects": effects,
            "journal": journal,
            "release": done.release,
            "report": done.report,
        }

    def live_word(self) -> str | None:
        """Return the word of the release that gets the traffic, if that is one and runs."""
        if not self.layout.current.is_symlink():
            return None
        release = self.layout.current.readlink().name
        assert self.layout.current.exists(), "current dangles"
        assert self.layout.record(release).is_file(), "current names half a release"
        if f"shop@{release}.service" not in self.machine.running:
            return None
        lines = (self.layout.release(release) / "env").read_text().splitlines()
        return next(line.split('"')[1] for line in lines if line.startswith("WORD="))


@dataclass
class Run:
    """How a run went: what each host's step returned, and what the operator is told."""

    rows: dict[str, dict[str, dict[str, Any]]]
    results: list[dict[str, Any]] = field(default_factory=list)
    plans: dict[str, decision.Plan] = field(default_factory=dict)
    reason: str | None = None
    problems: dict[str, str] = field(default_factory=dict)
    report: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def release(self) -> str | None:
        """The release that was to be live."""
        return next((plan.release for plan in self.plans.values()), None)

    @property
    def table(self) -> list[str]:
        """The table at the end."""
        return decision.table("shop", self.plans, self.rows)

    @property
    def states(self) -> dict[str, str]:
        """The table's last column."""
        return {line.split()[0]: line.split("  ")[-1] for line in self.table[2:]}


class LostError(Exception):
    """A host cannot be reached."""


def reached(host: str, step: str) -> None:
    """Reach every host."""


# Runs that are over, as their controller knows; each has a name of its own.
ENDED: set[str] = set()
NUMBERS = itertools.count(1)


@dataclass
class Fleet:
    """Several machines and their controller, which decides with the functions that the plugins call.

    The order of the steps is that of the role's tasks; a test compares the two.
    """

    hosts: dict[str, Host]
    # Called before and after each step of each host; raises LostError or Killed.
    before: Callable[[str, str], None] = reached
    after: Callable[[str, str], None] = reached
    dead: set[str] = field(default_factory=set)
    wait: float = 0.0
    force: bool = False

    def deploy(self, word: str, **entry: Any) -> Run:
        """Go through the steps as the role's tasks do."""
        claim = Claim(f"run-{next(NUMBERS)}", "somebody@controller", "", 1, 3600.0, force=self.force)
        run = Run({name: {} for name in self.hosts})
        request = next(iter(self.hosts.values())).request(word, **entry)
        request["lease"] = asdict(claim)
        try:
            self._steps(run, request)
        finally:
            self.dead.add(claim.run)
        return run

    def roll_back(self, wanted: str = decision_back.PREVIOUS) -> Run:
        """Go through the steps of a rollback as the role's tasks do; the controller knows no settings."""
        run = Run({name: {} for name in self.hosts})
        request = {**next(iter(self.hosts.values())).request("unknown"), "rollback": True}
        claim = Claim(f"run-{next(NUMBERS)}", "somebody@controller", "", 1, 3600.0, force=self.force)
        request["lease"] = asdict(claim)
        try:
            self._back(run, request, wanted)
        finally:
            self.dead.add(claim.run)
        return run

    def _back(self, run: Run, request: dict[str, Any], wanted: str) -> None:
        if not self._phase(run, request, "check", list(self.hosts)):
            return
        checked = {name: steps["check"] for name, steps in run.rows.items()}
        try:
            run.plans = decision_back.plans_back("shop", checked, wanted)
        except decision_back.NoWayBackError as error:
            run.reason = str(error)
            self._undo(run, request, "check")
            return
        run.report = [line for plan in run.plans.values() for line in plan.report]
        going = [name for name, plan in run.plans.items() if plan.deploy]
        asked = [name for name, plan in run.plans.items() if plan.schema_on == name]
        phases = [
            ("schema", asked),
            ("start", going),
            *(("switch", batch) for batch in self._batches(run)),
            ("jobs", going),
        ]
        for step, names in phases:
            if not self._phase(run, request, step, names):
                return
        self._phase(run, request, "drain", list(self.hosts))

    def _batches(self, run: Run) -> list[list[str]]:
        """Return the hosts that switch at a time."""
        turns = sorted({plan.batch for plan in run.plans.values() if plan.batch is not None})
        return [[name for name, plan in run.plans.items() if plan.batch == turn] for turn in turns]

    def _undo(self, run: Run, request: dict[str, Any], step: str) -> None:
        for name in self.hosts:
            self._step(run, {**request, "after": step, "reason": run.reason}, "put_back", name)

    def _is_over(self, held: dict[str, Any]) -> bool:
        """Tell whether a run has ended, as its controller knows."""
        return held["run"] in self.dead

    def _steps(self, run: Run, request: dict[str, Any]) -> None:
        if not self._phase(run, request, "check", list(self.hosts)):
            return
        checked = {name: steps["check"] for name, steps in run.rows.items()}
        entry = request["entry"]
        before, after = bool(entry["before_start"]), bool(entry["after_start"])
        schema = bool(entry["schema"]["current"])
        run.plans = decision.plans("shop", checked, before, after, entry["release_batch"], schema)
        run.report = [line for plan in run.plans.values() for line in plan.report]
        if not any(plan.work for plan in run.plans.values()):
            self._phase(run, request, "ensure", list(self.hosts))
            return
        going = [name for name, plan in run.plans.items() if plan.deploy]
        first = [name for name, plan in run.plans.items() if plan.prepare_on == name]
        asked = [name for name, plan in run.plans.items() if plan.schema_on == name]
        phases = [("stage", list(self.hosts)), ("schema", asked), ("prepare", first), ("start", going)]
        phases += [("switch", batch) for batch in self._batches(run)]
        phases.append(
            ("after_start", [name for name, plan in run.plans.items() if plan.after_start_on == name])
        )
        phases.append(("jobs", [name for name in going if run.plans[name].jobs]))
        for step, names in phases:
            if not self._phase(run, request, step, names):
                return
        self._phase(run, request, "drain", list(self.hosts))

    def _phase(self, run: Run, request: dict[str, Any], step: str, names: list[str]) -> bool:
        """Run a step on some hosts and decide over them; undo on all where the decision is against it."""
        for name in names:
            self._step(run, request, step, name)
        results = {name: run.rows[name][step] for name in names}
        run.problems = decision.problems(results)
        if not run.problems:
            return True
        run.reason = decision.reason_text("shop", step, results)
        if step not in {"ensure", "drain"}:
            self._undo(run, request, step)
        return False

    def _step(self, run: Run, request: dict[str, Any], step: str, name: str) -> None:
        plan, host = run.plans.get(name), self.hosts[name]
        first = host.first and name == next(iter(self.hosts))
        asked = {**request, "first": first, "lease": {**request["lease"]}}
        if plan:
            asked.update(release=plan.release, back_to=plan.back_to, deploy=plan.deploy)
            asked.update(recorded=plan.recorded, mode=plan.mode)
            asked["serving"] = plan.serving
            asked["schema"] = next(
                (steps["schema"].get("found") for steps in run.rows.values() if "schema" in steps), None
            )
        asked["undo"] = bool(plan and plan.deploy) and asked.get("after") not in NOTHING_TO_UNDO
        if step == "stage" and plan and plan.send:
            asked["archive"] = str(host.machine.root / "source.tar.gz")
            Path(asked["archive"]).write_bytes(tarball())

        def ask() -> dict[str, Any]:
            return host.step(step, asked)

        try:
            self.before(name, step)
            if step == "check":
                result = patiently(ask, asked, self.wait, run.said.append, self._is_over)
            else:
                result = ask()
            self.after(name, step)
        except LostError as error:
            result = {"unreachable": True, "msg": str(error)}
        run.rows[name][step] = result
        run.results.append(result)


@dataclass
class KillAt:
    """Kills the engine at one of its own effects."""

    number: int
    seen: list[tuple[Moment, str]] = field(default_factory=list)

    def __call__(self, moment: Moment, name: str) -> None:
        """Count, and kill when it is time."""
        self.seen.append((moment, name))
        if len(self.seen) - 1 == self.number:
            raise Killed(f"{moment} {name}")
