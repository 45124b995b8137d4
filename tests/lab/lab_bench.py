"""Run bin/lab in a state directory of its own, and look for what it leaves on the host."""

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Bench:
    """Run bin/lab, and look for what it left on the host."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.environment = {**os.environ, "FASTAPI_METAL_STATE": str(state)}
        self.environment.pop("LAB_OWNER_PID", None)

    def lab(self, *argv: str | Path, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run one command of the lab to its end."""
        command = [str(part) for part in (ROOT / "bin/lab", *argv)]
        done = subprocess.run(
            command,
            env={**self.environment, **extra},
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def begin(self, *argv: str | Path) -> subprocess.Popen[str]:
        """Start one command of the lab."""
        # What a shell starts in the background ignores Ctrl-C, and so would everything below it.
        command = ["env", "--default-signal=INT", *(str(part) for part in (ROOT / "bin/lab", *argv))]
        # Both become what they start: the number of the process is the lab's.
        return subprocess.Popen(
            command,
            env={**self.environment, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def info(self, name: str) -> dict[str, Any]:
        """Return what the lab says about itself."""
        found: dict[str, Any] = json.loads(self.lab("info", name).stdout)
        return found

    def ask(self, name: str, machine: str, *command: str) -> str:
        """Return what a command on a machine prints."""
        return self.lab("ssh", name, machine, *command).stdout.strip()

    def machines(self, *entries: dict[str, Any]) -> Path:
        """Write a machines file (JSON is YAML)."""
        path = self.state / f"machines-{len(list(self.state.glob('machines-*')))}.yaml"
        path.write_text(json.dumps(entries))
        return path

    def slots(self) -> set[int]:
        """Return the slots that labs of this bench have now."""
        return {json.loads(path.read_text())["slot"] for path in self.state.glob("labs/*/lab.json")}

    def unclaimed(self) -> set[str]:
        """Return the bridges of this host that no lab accounts for: none of this bench, nor of its users."""
        users = Path(os.environ.get("FASTAPI_METAL_STATE", "/var/lib/fastapi-metal"))
        there = list(Path("/sys/class/net").glob("fmlab*"))
        claimed = set()
        for path in [*self.state.glob("labs/*/lab.json"), *users.glob("labs/*/lab.json")]:
            with suppress(FileNotFoundError):
                claimed.add(f"fmlab{json.loads(path.read_text())['slot']}")
        # One that is gone by now belonged to a lab that was taken down meanwhile.
        return {path.name for path in there if path.name not in claimed and path.exists()}

    def traces(self, slots: set[int]) -> list[str]:
        """Return everything on the host that belongs to these slots or to this bench."""
        found = [f"mount {line.split()[1]}" for line in lines("/proc/mounts") if str(self.state) in line]
        bridges = {f"fmlab{slot}" for slot in slots} | self.unclaimed()
        for name in (path.name for path in Path("/sys/class/net").iterdir()):
            machine_of = name.removeprefix("vb-fm").partition("-")[0] if name.startswith("vb-fm") else ""
            if name in bridges or (machine_of.isdigit() and int(machine_of) in slots):
                found.append(f"interface {name}")
        tables = subprocess.run(["nft", "list", "tables"], check=True, capture_output=True, text=True).stdout
        found += [f"nft {line}" for line in tables.splitlines() if line.split()[-1] in bridges]
        for path, directories, _ in os.walk("/sys/fs/cgroup"):
            found += [f"cgroup {path}/{name}" for name in directories if name in bridges]
        for process in Path("/proc").glob("[0-9]*"):
            command = b" ".join(lines(process / "cmdline", b"\0"))
            if str(self.state).encode() in command and int(process.name) != os.getpid():
                found.append(f"process {process.name} {command.decode(errors='replace')}")
        found += [
            f"socket {path}"
            for path in map(Path, (f"/run/fastapi-metal/{b}" for b in bridges))
            if path.exists()
        ]
        found += [f"directory {path}" for path in self.state.glob("labs/*")]
        return found


def lines(path: str | Path, separator: Any = "\n") -> list[Any]:
    """Return a file's lines; none if it is gone, as a process may be."""
    try:
        content = Path(path).read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return content.split(separator) if isinstance(separator, bytes) else content.decode().splitlines()
