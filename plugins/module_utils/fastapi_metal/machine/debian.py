"""A real Debian machine behind the seam."""

import grp
import os
import pwd
import re
import shutil
import subprocess
import syslog
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .cgroup import memory_of
from .files import sync_directory
from .interface import Answer, OneOff, Output, Probe, Resources, Session, UnitState

# Where systemd keeps what it starts at boot: links in directories named after who wants them.
UNITS = Path("/etc/systemd/system")
UNIX_LISTENS = 0x10000
RUNNING = "--state=active,reloading,activating,deactivating"
NICE = 10
# Seconds between two looks at what goes on while a command runs.
LOOK = 0.25


class CommandError(Exception):
    """A command of the system did what it never should: fail."""


def command(*argv: str, check: bool = True) -> str:
    """Run a command of the system and return what it printed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise CommandError(f"{' '.join(argv)} ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def credential(value: bytes, *how: str) -> bytes | None:
    """Return what systemd makes of a secret, which is in no argument."""
    argv = ["systemd-creds", *how, "-", "-"]
    try:
        done = subprocess.run(argv, input=value, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 and done.stdout else None


def ended(process: subprocess.Popen[bytes]) -> bool:
    """Wait a moment for a process to end."""
    try:
        process.wait(LOOK)
    except subprocess.TimeoutExpired:
        return False
    return True


def instance(unit: str) -> str:
    """Return the instance's name in a unit's name."""
    return unit.partition("@")[2].rpartition(".")[0]


class Debian:
    """The machine on which this runs."""

    def resources(self, python: str) -> Resources:
        """Read what the machine has."""
        match = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        assert match, "/proc/meminfo holds MemTotal"
        version = re.search(r"python(3\.\d+)$", os.path.realpath(python))
        return Resources(
            cores=len(os.sched_getaffinity(0)),
            memory=int(match[1]) // 1024,
            architecture=os.uname().machine,
            python=version[1] if version else "",
        )

    def reload(self) -> None:
        """Let systemd read its units again."""
        command("systemctl", "daemon-reload")

    def start(self, units: list[str], wait: bool) -> None:
        """Start units; what becomes of them is asked of their state, not of this call."""
        command("systemctl", "start", *([] if wait else ["--no-block"]), *units, check=False)

    def stop(self, units: list[str]) -> None:
        """Stop units in one call: a stray connection to a socket would start its service again."""
        command("systemctl", "stop", *units, check=False)

    def reset_failed(self, units: list[str]) -> None:
        """Let systemd forget failures; a unit that it does not know is none."""
        command("systemctl", "reset-failed", *units, check=False)

    def enable(self, unit: str) -> None:
        """Let a unit start at boot, durably."""
        command("systemctl", "enable", "--quiet", unit)
        # Not all of the disk: the switch waits for this, and others may be writing a lot. A service enables
        # its socket with it (Also=), which another target wants; each of these directories may be new.
        for directory in (UNITS, *UNITS.glob("*.wants")):
            sync_directory(directory)

    def disable(self, unit: str) -> None:
        """Let a unit not start at boot."""
        command("systemctl", "disable", "--quiet", unit, check=False)

    def is_enabled(self, unit: str) -> bool:
        """Ask systemd whether a unit starts at boot."""
        return command("systemctl", "is-enabled", unit, check=False).strip() == "enabled"

    def state(self, unit: str) -> UnitState:
        """Ask systemd for a unit's state."""
        names = "ActiveState,MainPID,NRestarts,Result,ExecMainStatus,Job"
        lines = command("systemctl", "show", "--property", names, unit).splitlines()
        found = dict(line.split("=", 1) for line in lines if "=" in line)
        active = found.get("ActiveState", "inactive")
        # Between being asked to start a unit and doing so, systemd has it down as a job alone.
        waits = active in {"inactive", "failed"} and found.get("Job")
        return UnitState(
            active="activating" if waits else active,
            main_pid=int(found.get("MainPID") or 0),
            restarts=int(found.get("NRestarts") or 0),
            result=found.get("Result", ""),
            exit_status=int(found.get("ExecMainStatus") or 0),
        )

    def enabled(self, app: str) -> set[str]:
        """Read the links that systemd follows at boot."""
        wants = ("multi-user.target.wants", "sockets.target.wants")
        return {instance(link.name) for want in wants for link in (UNITS / want).glob(f"{app}@*")}

    def loaded(self, app: str) -> set[str]:
        """Ask systemd for every instance that it holds in memory."""
        listing = command(
            *("systemctl", "list-units", "--all", "--plain", "--no-legend", "--full"),
            *(f"{app}@*.service", f"{app}@*.socket", f"release-retry@{app}@*.timer"),
        )
        units = [
            line.split()[0].removeprefix("release-retry@") for line in listing.splitlines() if line.strip()
        ]
        return {instance(unit) for unit in units if instance(unit)}

    def journal(self, unit: str, lines: int, identifier: str | None = None) -> list[str]:
        """Ask the journal."""
        argv = [
            "journalctl",
            "--unit",
            unit,
            "--lines",
            str(lines),
            "--output",
            "cat",
            "--no-pager",
            "--quiet",
        ]
        found = command(*argv, *(("--identifier", identifier) if identifier else ()), check=False)
        return found.splitlines()

    def run_once(self, command_: OneOff, look: Callable[[], None] | None = None) -> Output:
        """Run a command as a unit of its own, so that it has the release's user, sandbox and credentials."""
        argv = [
            "systemd-run",
            "--quiet",
            "--wait",
            "--collect",
            "--service-type=exec",
            f"--unit={command_.unit}",
        ]
        argv += [f"--property={line}" for line in command_.properties]
        argv += [f"--setenv={name}={value}" for name, value in command_.env.items()]
        argv += ["--pipe"] if command_.capture else []
        argv += [f"--property=RuntimeMaxSec={command_.timeout}", "/bin/sh", "-e", str(command_.script)]
        # A file and no pipe: whatever is printed, nobody has to read it while the command runs.
        with tempfile.TemporaryFile("w+", errors="replace") as said:
            running = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
            try:
                while not ended(running):
                    if look:
                        look()
            except BaseException:
                command("systemctl", "stop", f"{command_.unit}.service", check=False)
                raise
            # What the command printed arrives in the journal a moment after it ended.
            command("journalctl", "--sync", check=False)
            said.seek(0)
            return Output(running.returncode, said.read().strip())

    def jobs_alive(self, app: str) -> set[str]:
        """Ask systemd for the units with a dot in the name before the release."""
        listing = command(
            *("systemctl", "list-units", "--plain", "--no-legend", "--full"),
            *(RUNNING, f"{app}.*@*.service", f"{app}.*@*.timer"),
        )
        return {line.split()[0] for line in listing.splitlines() if line.strip()}

    def jobs_enabled(self, app: str) -> set[str]:
        """Read the links that systemd follows at boot."""
        wants = ("multi-user.target.wants", "timers.target.wants")
        return {link.name for want in wants for link in (UNITS / want).glob(f"{app}.*@*")}

    def wrong_schedule(self, text: str) -> str | None:
        """Ask systemd to read it."""
        argv = ["systemd-analyze", "calendar", "--", text]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["refused"])[0]

    def encrypt(self, name: str, value: bytes) -> bytes | None:
        """Let systemd do it with the host's key, which it makes when there is none."""
        return credential(value, "encrypt", "--with-key=host", f"--name={name}")

    def decrypt(self, name: str, value: bytes) -> bytes | None:
        """Let systemd do it, as it does for the release."""
        return credential(value, "decrypt", f"--name={name}")

    def stamp(self, path: Path, age: int) -> None:
        """Leave a file of this age."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, ns=(age, age))

    def one_offs(self, app: str) -> set[str]:
        """Ask systemd for the units of commands, in whatever release."""
        listing = command(
            *("systemctl", "list-units", "--plain", "--no-legend", "--full"),
            RUNNING,
            *(f"{app}-{kind}-*.service" for kind in ("before-start", "after-start", "schema")),
        )
        # With an @ it is a release of an application with a similar name.
        return {
            name for line in listing.splitlines() if line.strip() and "@" not in (name := line.split()[0])
        }

    def session(self, url: str, user: str, password: str, name: str) -> Session:
        """Connect to a PostgreSQL."""
        from . import postgresql

        return postgresql.Session(postgresql.address(url, user, password), user, name)

    def run(self, argv: list[str], directory: Path, env: dict[str, str]) -> Output:
        """Run a command as root and return both its outputs, in the order in which they came.

        It installs or compiles beside a release that serves, so it takes what processor that one leaves.
        """
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
        }
        done = subprocess.run(
            argv,
            preexec_fn=partial(os.nice, NICE),
            cwd=directory,
            env={**environment, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        return Output(done.returncode, done.stdout)

    def sync(self) -> None:
        """Write everything to disk."""
        os.sync()

    def give(self, path: Path, user: str, group: str) -> bool:
        """Set a path's owner."""
        uid, gid = pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid
        now = path.stat()
        if (now.st_uid, now.st_gid) == (uid, gid):
            return False
        os.chown(path, uid, gid)
        return True

    def probe(self, probe: Probe) -> Answer:
        """Ask as Nginx would: through the socket, with the headers that it sets."""
        from .unix_http import ask

        return ask(probe)

    def children(self, pid: int) -> frozenset[int]:
        """Read who a process's children are."""
        try:
            return frozenset(
                int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            )
        except OSError:
            return frozenset()

    def connections(self, socket: Path) -> int:
        """Count connected ends of a socket; those not yet accepted are among them."""
        count = 0
        # A server that makes its own socket is reached through a link.
        name = os.path.realpath(socket)
        for line in Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]:
            # Num RefCount Protocol Flags Type St Inode Path
            fields = line.split(None, 7)
            if len(fields) == 8 and fields[7] == name:
                count += not int(fields[3], 16) & UNIX_LISTENS
        return count

    def home(self, user: str) -> str | None:
        """Ask for a user's home."""
        try:
            return pwd.getpwnam(user).pw_dir
        except KeyError:
            return None

    def has_group(self, name: str) -> bool:
        """Ask for a group."""
        try:
            grp.getgrnam(name)
        except KeyError:
            return False
        return True

    def make_user(self, name: str, home: str) -> bool:
        """Make a system user without a shell; its home is made by the engine."""
        group = ["--gid", name] if self.has_group(name) else ["--user-group"]
        options = ["--system", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        command("useradd", *options, *group, "--home-dir", home, "--comment", f"Application {name}", name)
        return True

    def remove_user(self, name: str) -> bool:
        """Remove a system user, and with it the group of its name."""
        if self.home(name) is None:
            return False
        command("userdel", name)
        return True

    def available_memory(self) -> int:
        """Read what the kernel estimates."""
        match = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        assert match, "/proc/meminfo holds MemAvailable"
        return int(match[1]) // 1024

    def used_memory(self, unit: str) -> int | None:
        """Read a unit's control group; files in the page cache are not counted, they can go."""
        group = command("systemctl", "show", "--property=ControlGroup", "--value", unit, check=False).strip()
        return memory_of(group) if group else None

    def free_disk(self, path: Path) -> int:
        """Ask the file system of the nearest directory that exists."""
        while not path.exists():
            path = path.parent
        return shutil.disk_usage(path).free // (1024 * 1024)

    def clock(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()

    def wall(self) -> float:
        """Return the time of day."""
        return time.time()

    def now(self) -> str:
        """Return the time of day, UTC."""
        return time.strftime("%Y%m%dT%H%M%S", time.gmtime())

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def log(self, message: str) -> None:
        """Write to the journal; `journalctl -t fastapi-metal` shows what the engine did."""
        syslog.openlog("fastapi-metal", 0, syslog.LOG_USER)
        syslog.syslog(syslog.LOG_INFO, message)
