"""A change that could lock everybody out: it stays only if a new connection says so.

`land` keeps what is there, starts a timer that puts it back, and only then changes anything. `confirm` stops
the timer, over another connection than the one that landed. If nobody confirms, because the controller has
died, the machine cannot be reached or was started again, what was there before comes back by itself.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from . import units
from .connection import Connection
from .files import File, RefusedError, accepted


class Way(NamedTuple):
    """A port by which the controller may come, and from where."""

    ports: list[int]
    sources: list[str]

    def admits(self, connection: Connection) -> bool:
        """Tell whether the connection could be opened again."""
        address = ipaddress.ip_address(connection.client)
        mapped = getattr(address, "ipv4_mapped", None)
        networks = [ipaddress.ip_network(source, strict=False) for source in self.sources]
        near = not networks or any((mapped or address) in network for network in networks)
        return connection.server_port in self.ports and near


class Change(NamedTuple):
    """What is wanted: files that land, files that go, and the unit that reads them."""

    name: str
    files: list[File]
    absent: list[Path]
    unit: str
    # The unit must run; otherwise it only reads its files anew if it does.
    start: bool
    check: str
    seconds: int
    ways: list[Way]
    variable: str


class Machine:
    """What is done on the machine. A test lays its own over it."""

    state = Path(units.DIRECTORY)
    root = Path("/")

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def active(self, unit: str) -> bool:
        """Tell whether a unit runs."""
        return bool(unit) and self.run("systemctl", "is-active", "--quiet", unit).returncode == 0


def land(machine: Machine, change: Change, connection: Connection | None, check_mode: bool) -> dict[str, Any]:
    """Change what differs, with the way back prepared."""
    if not check_mode:
        # An earlier run has died before it could confirm: its change does not count.
        put_back(machine, change.name)
    changes = accepted(change.files, check_mode)
    gone = [path for path in change.absent if path.is_symlink() or path.exists()]
    running = machine.active(change.unit)
    diffs = [diff for _file, diff in changes] + [_removed(path) for path in gone]
    changed = bool(diffs) or (change.start and not running)
    if changed:
        _refuse_a_locked_door(change, connection)
    if not changed or check_mode:
        return {"changed": changed, "diff": diffs, "pending": False}
    touched = [file.path for file, _diff in changes] + gone
    token = _arm(machine, change, touched, running, connection)
    try:
        for file, _diff in changes:
            file.land()
        for path in gone:
            path.unlink()
        _apply(machine, change)
    except (RefusedError, OSError, LookupError):
        put_back(machine, change.name)
        raise
    return {"changed": True, "diff": diffs, "pending": True, "token": token}


def confirm(machine: Machine, name: str, token: str, connection: Connection | None) -> dict[str, Any]:
    """Keep the change, if whoever landed it says so over another connection than the one that landed it.

    Only they know that it was opened after the change: a run that was left over might come in just before.
    """
    state = machine.state / name
    try:
        began = json.loads((state / "began").read_text())
    except FileNotFoundError:
        return {"confirmed": False, "pending": False}
    if began["token"] != token or (connection is not None and began["connection"] == connection.words()):
        return {"confirmed": False, "pending": True}
    kept = state.with_name(f"{name}.kept")
    shutil.rmtree(kept, ignore_errors=True)
    try:
        # What puts it back renames the same directory: one of the two is first.
        state.rename(kept)
    except FileNotFoundError:
        return {"confirmed": False, "pending": False}
    machine.run("systemctl", "stop", f"undo-change@{name}.timer")
    shutil.rmtree(kept)
    return {"confirmed": True, "pending": False}


def pending(machine: Machine, name: str) -> dict[str, Any]:
    """Tell whether the change still waits, or is being put back."""
    places = [machine.state / name, machine.state / f"{name}.undone"]
    return {"confirmed": False, "pending": any(place.exists() for place in places)}


def put_back(machine: Machine, name: str) -> None:
    """Put an unconfirmed change back at once."""
    if pending(machine, name)["pending"]:
        machine.run("systemctl", "stop", f"undo-change@{name}.timer")
        machine.run(str(machine.root / units.SCRIPT.lstrip("/")), name)


def _refuse_a_locked_door(change: Change, connection: Connection | None) -> None:
    if connection is None or not change.ways or any(way.admits(connection) for way in change.ways):
        return
    ports = sorted({port for way in change.ways for port in way.ports})
    raise RefusedError(
        f"This would shut out the controller, which comes from {connection.client} to port "
        f"{connection.server_port}, and nothing was changed: {change.variable} lets in "
        f"{', '.join(source for way in change.ways for source in way.sources) or 'everybody'} at port "
        f"{', '.join(map(str, ports))}; add {connection.client} to it, or come by another way."
    )


def _removed(path: Path) -> dict[str, str]:
    text = path.read_text(errors="replace") if path.is_file() else ""
    return {"before_header": str(path), "after_header": str(path), "before": text, "after": ""}


def _arm(
    machine: Machine, change: Change, touched: list[Path], running: bool, connection: Connection | None
) -> str:
    """Prepare the way back, so that from here on it is gone by itself; return the word that confirms it."""
    _install(machine)
    state = machine.state / change.name
    draft = state.with_name(f"{change.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True, mode=0o700)
    lines = ["cd $(dirname $0)"]
    for number, path in enumerate(touched):
        if path.is_symlink() or path.exists():
            # Also when it is killed in between, the file is the one or the other.
            machine.run("cp", "-a", str(path), str(draft / str(number)))
            new = shlex.quote(f"{path}.undo")
            lines.append(f"cp -a {number} {new} && mv -T {new} {shlex.quote(str(path))}")
        else:
            lines.append(f"rm -f {shlex.quote(str(path))}")
    if change.unit:
        verb = "reload-or-restart" if running or not change.start else "stop"
        # What puts it back stands before the unit in the order of the boot: it would wait for itself.
        now = f"systemctl --job-mode=ignore-dependencies {verb} {change.unit}"
        lines.append(f"if systemctl is-active --quiet {change.unit}; then {now}; fi")
    (draft / "undo").write_text("".join(f"{line}\n" for line in lines))
    words = connection.words() if connection else ""
    token = secrets.token_hex(16)
    (draft / "began").write_text(json.dumps({"connection": words, "token": token}))
    machine.run("sync", "-f", str(draft))
    draft.rename(state)
    machine.run("sync", "-f", str(state.parent))
    machine.run("systemctl", "stop", f"undo-change@{change.name}.timer")
    clock = ["--on-active", str(change.seconds), "--timer-property=AccuracySec=1s", "--quiet"]
    done = machine.run("systemd-run", *clock, f"--unit=undo-change@{change.name}.service")
    if done.returncode != 0:
        shutil.rmtree(state)
        raise RefusedError(f"The way back could not be prepared, and nothing was changed: {done.stderr}")
    return token


def _install(machine: Machine) -> None:
    """Have the units that put a change back, also at boot."""
    for path, (text, mode) in units.FILES.items():
        wanted = {"path": machine.root / path.lstrip("/"), "content": text, "mode": mode}
        file = File({"owner": "root", "group": "root", "keep": False, "validate": None, **wanted})
        if file.before() != file.after():
            file.land()
            machine.run("systemctl", "daemon-reload")


def _apply(machine: Machine, change: Change) -> None:
    """Let the service read its files, once all of them together are accepted."""
    machine.run("systemctl", "enable", "--quiet", f"undo-change@{change.name}.service")
    if change.check:
        done = machine.run("sh", "-c", change.check)
        if done.returncode != 0:
            raise RefusedError(f"What was there before is back: {(done.stderr + done.stdout).strip()}")
    if change.unit:
        # The unit itself may be new.
        machine.run("systemctl", "daemon-reload")
        verb = "reload-or-restart" if change.start else "try-reload-or-restart"
        done = machine.run("systemctl", verb, change.unit)
        if done.returncode != 0:
            raise RefusedError(
                f"{change.unit} refused what is new, and what was there before is back: "
                f"{done.stderr.strip()}; `journalctl -u {change.unit}` says more."
            )
