# ruff: noqa: D102 - what each method does is said once, in the seam that it stands behind
"""A machine that is a plain directory and a few sets: what the engine meets in unit tests."""

import io
import itertools
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fastapi_metal import steps
from fastapi_metal.decision import plan
from fastapi_metal.effects import Moment, Observer, nobody
from fastapi_metal.engine import Engine
from fastapi_metal.layout import Layout
from fastapi_metal.machine import Answer, OneOff, Output, Probe, Resources, UnitState
from fastapi_metal.settings import Settings, from_request
from fastapi_metal.specs import complete

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
    orphans: list[str] = field(default_factory=list)
    sessions: list["FakeSession"] = field(default_factory=list)
    turn_holder: list[str] = field(default_factory=list)
    in_the_way: list[list[str]] = field(default_factory=list)
    users: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    free: int = 10_000
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
            self.running.setdefault(unit, self.time)

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
        if unit.endswith(".socket"):
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
        return {unit.partition("@")[2].rpartition(".")[0] for unit in self.running}

    def journal(self, unit: str, lines: int, identifier: str | None = None) -> list[str]:
        return [f"last words of {unit}"]

    def one_offs(self, app: str) -> set[str]:
        left, self.orphans = self.orphans[:1], self.orphans[1:]
        return {f"{app}-before-start-{name}.service" for name in left}

    def session(self, url: str, user: str, password: str, name: str) -> FakeSession:
        self.sessions.append(FakeSession(self, name))
        return self.sessions[-1]

    def run_once(self, command: OneOff, look: Callable[[], None] | None = None) -> Output:
        text = command.script.read_text().strip()
        self.commands.append(text)
        self.one_off_calls.append(command)
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
        # One release is under observation at a time: the one that started last.
        unit = max(
            (unit for unit in self.running if unit.endswith(".service")), key=lambda unit: self.running[unit]
        )
        behaviour, age = self.of(unit), self.time - self.running[unit]
        lost = behaviour.loses_worker_after is not None and age >= behaviour.loses_worker_after
        first = 200 + lost + (int(age * 10) if behaviour.respawns else 0)
        return frozenset(range(first, first + behaviour.workers))

    def connections(self, socket: Path) -> int:
        left = self.in_flight.get(socket.parent.name, 0)
        self.in_flight[socket.parent.name] = max(0, left - 1)
        return left

    def home(self, user: str) -> str | None:
        return self.users.get(user)

    def free_disk(self, path: Path) -> int:
        return self.free

    def clock(self) -> float:
        return self.time

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
            "reason": "",
            "files": [],
            "enable": ["release-mend@shop.service"],
        }

    def settings(self, request: dict[str, Any]) -> Settings:
        """Return the settings in this machine's directory."""
        return replace(from_request("shop", request), layout=self.layout)

    def engine(self, request: dict[str, Any]) -> Engine:
        """Return the engine that the module would make."""
        return Engine(self.settings(request), self.machine, self.observer)

    def step(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Run one step as the module does."""
        return steps.run(self.engine(request), name, request, check_mode=False)

    def deploy(self, word: str, **entry: Any) -> dict[str, Any]:
        """Go through the seven steps as the role's tasks do; return the problem and what changed."""
        request = self.request(word, **entry)
        checked = self.step("check", request)
        if checked["problem"]:
            return {"problem": checked["problem"], "effects": []}
        decided = plan(
            "shop",
            "web1",
            {"web1": checked},
            bool(request["entry"]["before_start"]),
            bool(request["entry"]["after_start"]),
        )
        archive = self.machine.root / "source.tar.gz"
        archive.write_bytes(tarball())
        request.update(release=decided.release, back_to=decided.back_to, archive=str(archive))
        effects = list(self.step("ensure", request)["effects"])
        if decided.deploy:
            for name in ("stage", "prepare", "start", "switch", "watch", "after_start", "drain"):
                if (name == "prepare" and decided.prepare_on is None) or (
                    name == "after_start" and decided.after_start_on is None
                ):
                    continue
                result = self.step(name, request)
                effects += result["effects"]
                if result["problem"]:
                    if name in {"start", "switch", "watch", "after_start"}:
                        effects += self.step("put_back", {**request, "reason": result["problem"]})["effects"]
                    return {
                        "problem": result["problem"],
                        "effects": effects,
                        "journal": result.get("journal"),
                    }
        if decided.prune:
            effects += self.step("prune", request)["effects"]
        return {"problem": None, "effects": effects, "release": decided.release, "report": decided.report}

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
class KillAt:
    """Kills the engine at one of its own effects."""

    number: int
    seen: list[tuple[Moment, str]] = field(default_factory=list)

    def __call__(self, moment: Moment, name: str) -> None:
        """Count, and kill when it is time."""
        self.seen.append((moment, name))
        if len(self.seen) - 1 == self.number:
            raise Killed(f"{moment} {name}")
