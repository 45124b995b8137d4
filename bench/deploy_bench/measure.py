"""One measurement: run a command, and ask each host through Nginx until the new version answers."""

import http.client
import os
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from .lab import APP, PORTS, ROOT, BenchError, Lab
from .ways import Way

MARKED = '''

@app.get("/bench")
async def bench() -> dict[str, str]:
    """Say which version of the code this is."""
    return {{"mark": "{mark}"}}
'''
# How often each host is asked; on eight hosts the asking itself would cost.
INTERVAL = 0.01
PATIENCE = 300.0


@dataclass(frozen=True)
class Measured:
    """How long it took, and how busy this machine was before it began."""

    seconds: float
    answers: float | None
    load: float


@dataclass
class Watch:
    """Asks hosts until each answers with a mark."""

    addresses: list[str]
    port: int
    mark: str
    seen: dict[str, float] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self, address: str) -> bool:
        """Tell whether a host answers with the mark."""
        connection = http.client.HTTPConnection(address, self.port, timeout=5)
        try:
            connection.request("GET", "/bench")
            response = connection.getresponse()
            return response.status == 200 and self.mark.encode() in response.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def follow(self, address: str) -> None:
        """Ask one host again and again."""
        while not self.stop.is_set():
            if self.ask(address):
                self.seen[address] = time.monotonic()
                return
            self.stop.wait(INTERVAL * len(self.addresses))

    def start(self) -> list[threading.Thread]:
        """Ask all hosts in the background."""
        threads = [threading.Thread(target=self.follow, args=[address]) for address in self.addresses]
        for thread in threads:
            thread.start()
        return threads


@dataclass
class Bench:
    """Runs the commands of one way and knows which version should answer."""

    lab: Lab
    way: Way
    marks: list[str] = field(default_factory=list)

    def change(self, mark: str) -> None:
        """Change the code, and nothing else of it."""
        module = self.lab.source(self.way.name) / "probe/main.py"
        original = (ROOT / "tests/apps" / APP / "probe/main.py").read_text()
        module.write_text(original + MARKED.format(mark=mark))

    def begin(self) -> None:
        """Make a source of this way's own."""
        shutil.copytree(
            ROOT / "tests/apps" / APP,
            self.lab.source(self.way.name),
            ignore=shutil.ignore_patterns("__pycache__", ".*"),
        )

    def call(self, action: str, hosts: int) -> float:
        """Run one command to its end and return how long it took; no connection is there beforehand."""
        command = self.way.command("rollback" if action == "rollback" else "deploy", hosts)
        with tempfile.TemporaryDirectory(prefix="bench-") as sockets:
            # Ansible would find the connection of the run before.
            environment = {**os.environ, "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets}
            # Every tool keeps its bytecode, as on a user's machine.
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            begun = time.monotonic()
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
            )
            seconds = time.monotonic() - begun
            self.close(Path(sockets))
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
            raise BenchError(f"{self.way.name}, {action} on {hosts}: status {done.returncode}:\n{tail}")
        return seconds

    @staticmethod
    def close(sockets: Path) -> None:
        """End connections that wait for a next command."""
        for socket in sockets.glob("*"):
            subprocess.run(
                ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "x"], capture_output=True, check=False
            )

    def measure(self, action: str, hosts: int) -> Measured:
        """Do it once: `deploy` (the code has changed), `unchanged` or `rollback`."""
        load = os.getloadavg()[0]
        if action == "deploy":
            self.marks.append(uuid.uuid4().hex)
            self.change(self.marks[-1])
        elif action == "rollback":
            self.marks = [*self.marks[:-2], self.marks[-1], self.marks[-2]]
            self.change(self.marks[-1])
        addresses = list(self.lab.machines.values())[:hosts]
        watch = Watch(addresses, PORTS[self.way.name], self.marks[-1])
        if action == "unchanged":
            seconds = self.call(action, hosts)
            if not all(watch.ask(address) for address in addresses):
                raise BenchError(f"{self.way.name}: an unchanged deploy changed what answers")
            return Measured(seconds, None, load)
        threads = watch.start()
        begun = time.monotonic()
        try:
            seconds = self.call(action, hosts)
            for thread in threads:
                thread.join(5)
        finally:
            watch.stop.set()
        missing = [address for address in addresses if address not in watch.seen]
        if missing:
            raise BenchError(
                f"{self.way.name}, {action}: {', '.join(missing)} does not answer with the new version"
            )
        return Measured(seconds, max(watch.seen.values()) - begun, load)
