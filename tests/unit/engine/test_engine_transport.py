"""A step is one round trip, leaves nothing behind in check mode, and never ends in a traceback."""

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from engine_fake import Host
from fastapi_metal.transport import controller, kept
from fastapi_metal.transport.controller import Output, run_step
from fastapi_metal.transport.host import attachments, explain
from fastapi_metal.transport.wire import ATTACHED, Call, TornError, frame, read

CHECK: Call = {"step": "check", "name": "shop", "check_mode": False, "environment": {}}
# What the engine says of an interpreter that is none: its own sentence, so it has run.
RAN = "is no CPython of Debian"


@dataclass
class Wire:
    """This machine in place of a host: the command runs in a shell, as it would behind SSH."""

    sent: list[int] = field(default_factory=list)
    before: str = ""

    def __call__(self, command: str, data: bytes) -> Output:
        """Run it and count what was sent."""
        self.sent.append(len(data))
        done = subprocess.run(
            ["/bin/sh", "-c", self.before + command], input=data, capture_output=True, check=False
        )
        return Output(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where this machine keeps its engines."""
    monkeypatch.setattr(controller, "KEPT_IN", str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def request_(host: Host) -> dict[str, Any]:
    """Return a request that the engine refuses by its own rules, without a look at anything of root's."""
    return {**host.request("one"), "python": "/nowhere/python3"}


def ask(wire: Wire, request: dict[str, Any], check_mode: bool = False) -> dict[str, Any]:
    """Run the check."""
    return run_step(wire, sys.executable, {**CHECK, "check_mode": check_mode}, request, {})


def test_the_engine_is_sent_once(place: Path, request_: dict[str, Any]) -> None:
    """The first step brings the engine; each later one is one round trip and a few kilobytes."""
    wire = Wire()
    assert RAN in ask(wire, request_)["problem"]
    assert len(wire.sent) == 2
    assert RAN in ask(wire, request_)["problem"]
    assert len(wire.sent) == 3
    assert wire.sent[2] == wire.sent[0] < wire.sent[1] / 10
    assert len(list(place.iterdir())) == 1


def test_check_mode_leaves_nothing(place: Path, request_: dict[str, Any]) -> None:
    """In check mode the engine runs from memory."""
    assert RAN in ask(Wire(), request_, check_mode=True)["problem"]
    assert not place.exists()


@pytest.mark.parametrize("damage", [b"", b"torn", None])
def test_a_damaged_engine_is_replaced(place: Path, request_: dict[str, Any], damage: bytes | None) -> None:
    """An engine that a power cut or a disk has spoilt is noticed, and sent again."""
    wire = Wire()
    ask(wire, request_)
    (engine,) = place.iterdir()
    sound = engine.read_bytes()
    middle = len(sound) // 2
    flipped = sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :]
    engine.write_bytes(flipped if damage is None else damage)
    assert RAN in ask(wire, request_)["problem"]
    assert len(wire.sent) == 4
    assert engine.read_bytes() == sound


def test_an_engine_that_cannot_be_kept_still_runs(place: Path, request_: dict[str, Any]) -> None:
    """A full disk or a file in the way costs time, and is said."""
    place.write_text("in the way")
    result = ask(Wire(), request_)
    assert RAN in result["problem"]
    assert "is not kept" in result["note"]


def test_old_engines_are_removed(tmp_path: Path) -> None:
    """The newest few stay, whatever their names; other files are not touched."""
    (tmp_path / "mend").touch()
    for age in range(5):
        path = tmp_path / f"engine-{age}.pyz"
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    assert kept.keep(tmp_path / "engine-new.pyz", kept.pack({"a.py": b""})) == ""
    assert {path.name for path in tmp_path.iterdir()} == {
        "mend",
        "engine-new.pyz",
        "engine-0.pyz",
        "engine-1.pyz",
    }


def test_the_kept_engine_holds_bytecode_and_source() -> None:
    """It starts without compiling, and an administrator reads in it what runs."""
    archive = kept.compiled(kept.pack({"shop/a.py": b"X = 1\n"}), Path("/kept"))
    names = zipfile.ZipFile(io.BytesIO(archive)).namelist()
    assert names == ["shop/a.py", "shop/a.pyc"]
    line, seal, rest = kept.sealed(archive).split(b"\n", 2)
    assert line.startswith(b"#!")
    assert seal[1:].decode() == hashlib.sha256(rest).hexdigest()


def test_same_sources_are_the_same_engine() -> None:
    """The digest does not depend on times or on the order of files."""
    assert kept.pack({"a": b"1", "b": b"2"}) == kept.pack({"b": b"2", "a": b"1"})
    assert controller.engine() == controller.engine()


def test_the_engine_needs_nothing_of_the_controller(tmp_path: Path) -> None:
    """What is sent is complete and needs no package: it runs where neither Ansible nor PyYAML is."""
    names = zipfile.ZipFile(io.BytesIO(controller.engine())).namelist()
    package = {name.removeprefix("fastapi_metal/") for name in names}
    assert {"__init__.py", "transport/host.py", "transport/bootstrap.py", "steps/dispatch.py"} <= package
    assert "transport/controller.py" not in package
    assert not {"apps", "fleet"} & {name.partition("/")[0] for name in package}
    path = tmp_path / "engine.pyz"
    path.write_bytes(controller.engine())
    code = "import sys; sys.path.insert(0, sys.argv[1]); [__import__(name) for name in sys.argv[2:]]"
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names]
    command = [sys.executable, "-I", "-S", "-c", code, str(path), *modules]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_surrounds_an_answer_does_not_matter(place: Path, request_: dict[str, Any]) -> None:
    """A login shell that greets does not hide the answer."""
    assert RAN in ask(Wire(before="echo welcome; echo '{}'; "), request_)["problem"]


def test_the_command_tells_nothing(place: Path, request_: dict[str, Any]) -> None:
    """Whoever lists processes sees the same command for every step: no name, no value, no secret."""
    commands: set[str] = set()

    def send(command: str, data: bytes) -> Output:
        commands.add(command)
        return Output(0, "", "")

    for name in ("one", "two"):
        run_step(
            send, "/usr/bin/python3", {**CHECK, "name": name}, {"entry": {"secrets": {"key": "hidden"}}}, {}
        )
    assert len(commands) == 1
    assert "hidden" not in commands.pop()


def test_the_environment_of_the_play_reaches_the_engine(place: Path, request_: dict[str, Any]) -> None:
    """`environment:` of a play or task, for example a proxy, is the engine's, and not on its command line."""
    seen = read_head(frame({**CHECK, "environment": {"https_proxy": "http://proxy"}}, "", b"", b"{}", {}))
    assert seen["environment"] == {"https_proxy": "http://proxy"}


def read_head(data: bytes) -> dict[str, Any]:
    """Return the first line of what is sent."""
    head: dict[str, Any] = json.loads(data.partition(b"\n")[0])
    return head


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (Output(127, "", "/bin/sh: 1: /usr/bin/python3: not found"), "apt-get install python3"),
        (Output(1, "", "sudo: /usr/bin/python3: command not found"), "apt-get install python3"),
        (Output(137, "", ""), "killed"),
        (
            Output(1, "", "Traceback (most recent call last):\n  File\nOSError: no memory\n"),
            "OSError: no memory",
        ),
        (Output(0, "fastapi-metal {torn", ""), "gave no answer"),
        (Output(0, "", ""), "gave no answer (status 0)"),
    ],
)
def test_a_missing_answer_has_a_reason(output: Output, says: str, request_: dict[str, Any]) -> None:
    """Whatever ends the engine, the user reads one sentence."""
    problem = run_step(lambda command, data: output, "/usr/bin/python3", CHECK, request_, {})["problem"]
    assert says in problem
    assert "Traceback" not in problem
    assert "\n" not in problem


def test_an_old_python_is_refused_with_a_sentence(place: Path, request_: dict[str, Any]) -> None:
    """The host's Python is looked at before anything is imported by it."""

    def send(command: str, data: bytes) -> Output:
        return Wire()(command.replace("OLDEST = (3, 11)", "OLDEST = (9, 9)"), data)

    problem = run_step(send, sys.executable, CHECK, request_, {})["problem"]
    assert "needs 9.9 or later" in problem
    assert "ansible_python_interpreter" in problem


def test_a_torn_request_is_not_run() -> None:
    """A connection that ends in the middle of a request runs nothing."""
    data = frame(CHECK, "", b"", b'{"a": 1}', {"source.tar.gz": b"12345"})
    line, _, body = data.partition(b"\n")
    head = json.loads(line)
    assert read(head, io.BytesIO(body)) == ({"a": 1}, {"source.tar.gz": b"12345"})
    for length in range(len(body)):
        with pytest.raises(TornError):
            read(head, io.BytesIO(body[:length]))


def test_a_failure_inside_is_one_sentence(place: Path, request_: dict[str, Any]) -> None:
    """What no step expects is named; the details are for -vvv."""
    del request_["entry"]
    result = ask(Wire(), request_)
    assert result["problem"] == "KeyError: 'entry'"
    assert "Traceback" in result["traceback"]


def test_a_file_comes_along_with_its_request(place: Path, request_: dict[str, Any]) -> None:
    """The source needs no round trip of its own; its path stands in the request while the step runs."""
    request = {"archive": f"{ATTACHED}source.tar.gz", "release": "r"}
    with ExitStack() as stack:
        attachments(stack, request, {"source.tar.gz": b"12345"})
        assert Path(request["archive"]).read_bytes() == b"12345"
    assert not Path(request["archive"]).exists()
    assert request["release"] == "r"


def test_a_full_disk_is_said_in_words() -> None:
    """No errno, no traceback."""
    assert explain(OSError(28, "No space left on device", "/srv/shop/x")) == (
        "no space is left on the disk below /srv/shop; free some (`df -h` shows where) and run again"
    )
