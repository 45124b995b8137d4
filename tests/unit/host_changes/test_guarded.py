"""A change that nobody confirms goes away by itself, and what was there before is back, byte for byte."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import pytest
from host_changes import connection, guarded, units
from host_changes.connection import Connection, current
from host_changes.files import File, RefusedError

ME = pwd.getpwuid(os.geteuid()).pw_name
MINE = grp.getgrgid(os.getegid()).gr_name
FIRST = Connection("198.18.5.1", 50000, 22, "admin")
SECOND = Connection("198.18.5.1", 50001, 22, "admin")


class Fake(guarded.Machine):
    """A machine below a directory: systemd is a list of commands, everything else is real."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / units.DIRECTORY.lstrip("/")
        self.said: list[str] = []
        self.running: set[str] = set()
        self.refuses = ""

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run what is no part of systemd, and note what is."""
        if argv[0] in ("systemctl", "systemd-run"):
            words = " ".join(argv)
            self.said.append(words)
            bad = bool(self.refuses) and self.refuses in words
            if argv[1] == "is-active":
                bad = argv[-1] not in self.running
            return subprocess.CompletedProcess(argv, int(bad), "", "it does not like it" if bad else "")
        return super().run(*argv)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Return a machine whose files belong to whoever runs the tests."""
    text = units.SCRIPT_TEXT.replace(units.DIRECTORY, str(tmp_path / units.DIRECTORY.lstrip("/")))
    monkeypatch.setattr(units, "FILES", {units.SCRIPT: (text, "0755")})
    original = File.__init__

    def mine(self: File, wanted: dict[str, Any]) -> None:
        original(self, {**wanted, "owner": ME, "group": MINE})

    monkeypatch.setattr(File, "__init__", mine)
    # The script of a change asks systemd, which is not this machine's.
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "systemctl").write_text("#!/bin/sh\nexit 1\n")
    (fake / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    return Fake(tmp_path)


def change(machine: Fake, text: str, **rest: Any) -> guarded.Change:
    """Return a change of the file `rules`."""
    file = {"path": machine.root / "rules", "content": text, "mode": "0640", "keep": False, "validate": None}
    usual: dict[str, Any] = {
        "name": "firewall",
        "files": [File(file)],
        "absent": [],
        "unit": "host-firewall.service",
        "start": True,
        "check": "",
        "seconds": 60,
        "ways": [],
        "variable": "firewall_ssh_from",
    }
    return guarded.Change(**{**usual, **rest})


def again(machine: Fake, found: dict[str, Any], over: Connection = SECOND) -> dict[str, Any]:
    """Confirm what was landed, over a connection."""
    return guarded.confirm(machine, "firewall", found.get("token", ""), over)


def test_a_confirmed_change_stays(machine: Fake) -> None:
    """It lands, the timer runs, a new connection stops it, and nothing is left behind."""
    found = guarded.land(machine, change(machine, "new"), FIRST, False)
    assert (found["changed"], found["pending"]) == (True, True)
    assert "systemd-run --on-active 60" in " ".join(machine.said)
    assert again(machine, found) == {"confirmed": True, "pending": False}
    assert (machine.root / "rules").read_text() == "new\n"
    assert list(machine.state.iterdir()) == []
    guarded.put_back(machine, "firewall")
    assert (machine.root / "rules").read_text() == "new\n"


def test_the_connection_that_landed_it_confirms_nothing(machine: Fake) -> None:
    """It stood before, so it proves nothing about who can still come in."""
    found = guarded.land(machine, change(machine, "new"), FIRST, False)
    assert again(machine, found, FIRST) == {"confirmed": False, "pending": True}
    assert guarded.pending(machine, "firewall")["pending"]


def test_another_run_confirms_nothing(machine: Fake) -> None:
    """One that was left over may have come in just before the change cut everybody off."""
    first = guarded.land(machine, change(machine, "first"), FIRST, False)
    second = guarded.land(machine, change(machine, "second"), SECOND, False)
    third = FIRST._replace(client_port=50002)
    assert again(machine, first, third) == {"confirmed": False, "pending": True}
    assert again(machine, second, third)["confirmed"]


def test_an_unconfirmed_change_is_put_back(machine: Fake) -> None:
    """Text, mode and absence are those of before."""
    rules, more = machine.root / "rules", machine.root / "more"
    rules.write_text("old\n")
    rules.chmod(0o600)
    more.write_text("kept\n")
    found = guarded.land(machine, change(machine, "new", absent=[more]), FIRST, False)
    assert (rules.read_text(), more.exists()) == ("new\n", False)
    guarded.put_back(machine, "firewall")
    assert (rules.read_text(), rules.stat().st_mode & 0o777, more.read_text()) == ("old\n", 0o600, "kept\n")
    assert again(machine, found) == {"confirmed": False, "pending": False}


def test_a_new_file_is_put_back_to_nothing(machine: Fake) -> None:
    """Where there was none before, there is none after."""
    guarded.land(machine, change(machine, "new"), FIRST, False)
    guarded.put_back(machine, "firewall")
    assert not (machine.root / "rules").exists()


def test_what_was_half_put_back_is_put_back_at_boot(machine: Fake) -> None:
    """A power cut after the rename leaves a directory that the next start goes on with."""
    (machine.root / "rules").write_text("old\n")
    guarded.land(machine, change(machine, "new"), FIRST, False)
    (machine.state / "firewall").rename(machine.state / "firewall.undone")
    subprocess.run([machine.root / units.SCRIPT.lstrip("/"), "firewall"], check=True, capture_output=True)
    assert (machine.root / "rules").read_text() == "old\n"


def test_the_change_of_a_controller_that_died_does_not_count(machine: Fake) -> None:
    """The next run begins with what was confirmed last, and keeps that as the way back."""
    (machine.root / "rules").write_text("old\n")
    guarded.land(machine, change(machine, "first"), FIRST, False)
    guarded.land(machine, change(machine, "second"), SECOND, False)
    guarded.put_back(machine, "firewall")
    assert (machine.root / "rules").read_text() == "old\n"


@pytest.mark.parametrize(("refuses", "check"), [("reload-or-restart", ""), ("", "echo no port >&2; exit 1")])
def test_what_the_service_refuses_is_put_back_at_once(machine: Fake, refuses: str, check: str) -> None:
    """Nobody waits for the timer, and the service's own words are shown."""
    (machine.root / "rules").write_text("old\n")
    machine.refuses = refuses
    with pytest.raises(RefusedError, match=r"is back.*(it does not like it|no port)"):
        guarded.land(machine, change(machine, "new", check=check), FIRST, False)
    assert (machine.root / "rules").read_text() == "old\n"
    assert not guarded.pending(machine, "firewall")["pending"]


def test_without_a_way_back_nothing_changes(machine: Fake) -> None:
    """A timer that does not start is no timer."""
    machine.refuses = "systemd-run"
    with pytest.raises(RefusedError, match="nothing was changed"):
        guarded.land(machine, change(machine, "new"), FIRST, False)
    assert not (machine.root / "rules").exists()


def test_unchanged_is_unchanged(machine: Fake) -> None:
    """A second run starts no timer, unless the unit does not run."""
    again(machine, guarded.land(machine, change(machine, "new"), FIRST, False))
    machine.running = {"host-firewall.service"}
    machine.said.clear()
    assert guarded.land(machine, change(machine, "new"), SECOND, False)["changed"] is False
    assert "systemd-run" not in " ".join(machine.said)
    machine.running.clear()
    assert guarded.land(machine, change(machine, "new"), SECOND, False)["changed"] is True


def test_a_look_changes_nothing(machine: Fake) -> None:
    """With --check the difference is shown, and no unit is written."""
    found = guarded.land(machine, change(machine, "new"), FIRST, True)
    assert found["changed"]
    assert found["diff"][0]["after"].endswith("new\n")
    assert not (machine.root / "rules").exists()
    assert not machine.state.exists()


@pytest.mark.parametrize(
    ("ports", "sources", "client", "refused"),
    [
        ([22], [], "198.18.5.1", False),
        ([22], ["198.18.5.0/24"], "198.18.5.1", False),
        ([22], ["198.18.5.0/24"], "::ffff:198.18.5.1", False),
        ([22], ["198.18.5.0/24"], "198.18.6.1", True),
        ([22], ["198.18.5.0/24"], "2001:db8::1", True),
        ([22], ["2001:db8::/32"], "2001:db8::1", False),
        ([2222], [], "198.18.5.1", True),
    ],
)
def test_what_shuts_out_the_controller_is_refused(
    machine: Fake, ports: list[int], sources: list[str], client: str, refused: bool
) -> None:
    """By the address and the port at which it came, which only the machine knows."""
    wanted = change(machine, "new", ways=[guarded.Way(ports, sources)])
    connection = FIRST._replace(client=client)
    if refused:
        with pytest.raises(RefusedError, match=f"{client}.*firewall_ssh_from"):
            guarded.land(machine, wanted, connection, False)
        assert not (machine.root / "rules").exists()
    else:
        assert guarded.land(machine, wanted, connection, False)["pending"]


def test_the_connection_is_found_behind_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sudo takes the variable from its command; the processes above have it, and the first is the user's."""
    came = b"SSH_CONNECTION=198.18.5.1 50000 198.18.5.11 22\0"
    monkeypatch.setattr(
        connection, "_owner", lambda path: "root" if path.name in ("30", "20") else ME, raising=True
    )
    for number, parent, environ in ((30, 20, b"A=1\0"), (20, 10, came), (10, 5, came), (5, 1, b"")):
        process = tmp_path / str(number)
        process.mkdir()
        (process / "environ").write_bytes(environ)
        (process / "status").write_text(f"Name:\tx\nPPid:\t{parent}\n")
    found = current(tmp_path, 30)
    assert found is not None
    assert found == Connection("198.18.5.1", 50000, 22, ME)
    assert json.dumps(found.words()) == '"198.18.5.1 50000"'
    assert current(tmp_path, 1) is None
