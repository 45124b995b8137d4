#!/usr/bin/python
"""Land the configuration and the users of Valkey or Redis, once such a server has started with them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import re
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from fastapi_metal.machine.files import replace
else:
    from ansible.module_utils.fastapi_metal.machine.files import replace

DOCUMENTATION = r"""
module: valkey_config
short_description: Land the configuration and the users of Valkey or Redis
description:
  - Neither server can be asked about a configuration without being started. So one is started beside the one
    that runs, with the new files, no port and a socket of its own. What it refuses changes nothing.
  - Changed users are loaded by the running server, which keeps what it holds. Any other change restarts it.
  - A user whose password changes keeps the one before too, until I(forget), since a release that still runs
    has it.
author: fastapi-metal
options:
  name:
    description: Which of the two it is. Program, service, Linux user and directory are called after it.
    type: str
    choices: [valkey, redis]
    required: true
  config:
    description: Content of the configuration. It must not name the file of the users.
    type: str
    required: true
  unit:
    description: Content of the drop-in of the service.
    type: str
    required: true
  users:
    description: Who may log in, apart from the administrator and the monitor, who are made here.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The user's name.
        type: str
        required: true
      hash:
        description: SHA-256 of the password.
        type: str
        required: true
      rules:
        description: What the user may do, in the words of ACL SETUSER.
        type: str
        required: true
  socket:
    description: The running server's socket.
    type: path
    required: true
  forget:
    description: Users who lose the passwords of before.
    type: list
    elements: str
    default: []
  directory:
    description: Directory of the configuration.
    type: path
  unit_directory:
    description: Directory of the drop-in.
    type: path
  marker:
    description: File that says that a changed configuration was not loaded yet; survives an interrupted run.
    type: path
    default: /run/fastapi-metal-valkey-pending
"""

EXAMPLES = r"""
- name: config | Land settings and users
  valkey_config:
    name: valkey
    config: "{{ lookup('ansible.builtin.template', 'valkey.conf.j2') }}"
    unit: "{{ lookup('ansible.builtin.template', 'valkey.service.conf.j2') }}"
    users: [{name: shop, hash: "{{ password | hash('sha256') }}", rules: "~shop:* +@read"}]
    socket: /run/valkey/valkey.sock
"""

RETURN = r"""
loaded:
  description: What was done with the running server, C(nothing), C(users) or C(restart).
  returned: always
  type: str
"""

ADMINISTRATOR = "admin"
MONITOR = "monitor"
# Figures of the server, and nothing of anybody's keys.
FIGURES = (
    "resetkeys resetchannels -@all +ping +info +config|get +client|setname +slowlog|len +latency|latest "
    "+latency|histogram"
)
HASH = re.compile(r"[0-9a-f]{64}")
# Long enough for a slow machine; a server with nothing to read starts in some milliseconds.
PATIENCE = 15.0


class RefusedError(Exception):
    """A sentence for the user."""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command with a plain environment."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def ask(path: Path, *commands: tuple[str, ...]) -> list[str]:
    """Send commands over a socket and return the first line of each answer."""
    answers = []
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(path))
        with connection.makefile("rb") as answered:
            for command in commands:
                words = [word.encode() for word in command]
                sent = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
                connection.sendall(sent)
                answers.append(answered.readline().decode(errors="replace").strip())
    return answers


def read(path: Path) -> str | None:
    """Return a file's text, None when there is none."""
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None


def digest(password: str) -> str:
    """Return what the server keeps of a password."""
    return hashlib.sha256(password.encode()).hexdigest()


def kept_password(path: Path, pattern: str) -> str:
    """Return the password that a file of ours holds, or a new one."""
    found = re.search(pattern, read(path) or "")
    return found[1] if found and len(found[1]) >= 32 else secrets.token_hex(24)


class File:
    """One file as it is wanted, against the one that is there."""

    def __init__(self, path: Path, text: str, owner: str, mode: int) -> None:
        self.path, self.text, self.mode = path, text.rstrip("\n") + "\n", mode
        self.owner = pwd.getpwnam(owner).pw_uid if os.geteuid() == 0 else os.geteuid()
        self.before = read(path)

    def spoilt(self) -> str:
        """Tell in a line which mode and owner the file has, if they are not ours; else nothing."""
        try:
            found = self.path.stat()
        except OSError:
            return ""
        if (stat.S_IMODE(found.st_mode), found.st_uid) == (self.mode, self.owner):
            return ""
        return f"# mode {stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid}\n"

    def is_changed(self) -> bool:
        """Tell whether there is something to land."""
        return self.before != self.text or bool(self.spoilt())

    def diff(self) -> dict[str, str]:
        """Return the change as `--diff` prints it."""
        header = str(self.path)
        before = "" if self.before is None else self.spoilt() + shown(self.before)
        return {"before_header": header, "after_header": header, "before": before, "after": shown(self.text)}

    def land(self, text: str | None = None) -> None:
        """Put the file in place in one step; who reads it meanwhile sees the old or the new one."""
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace(self.path, (self.text if text is None else text).encode(), self.mode)
        os.chown(self.path, self.owner, -1)

    def revert(self) -> None:
        """Put back what was there."""
        if self.before is None:
            self.path.unlink(missing_ok=True)
        else:
            self.land(self.before)


def shown(text: str) -> str:
    """Return a text in which a password's hash is seen to change, and nothing else of it is seen."""
    return HASH.sub(lambda found: f"<{hashlib.sha256(found[0].encode()).hexdigest()[:6]}>", text)


def hashes_of(users: str) -> dict[str, list[str]]:
    """Return the hashes of each user in a file of users."""
    found = {}
    for line in users.splitlines():
        words = line.split()
        if words[:1] == ["user"]:
            found[words[1]] = [word[1:] for word in words[2:] if HASH.fullmatch(word[1:]) and word[0] == "#"]
    return found


class Server:
    """The running server."""

    def __init__(self, name: str, path: Path, password: str) -> None:
        self.unit, self.socket, self._password = f"{name}-server.service", path, password

    def is_active(self) -> bool:
        """Tell whether it runs, or tries to."""
        return run("systemctl", "is-active", "--quiet", self.unit).returncode == 0

    def load_users(self) -> bool:
        """Let it read the users anew; tell whether it has."""
        try:
            answers = ask(self.socket, ("AUTH", ADMINISTRATOR, self._password), ("ACL", "LOAD"))
        except OSError:
            return False
        return answers == ["+OK", "+OK"]

    def restart(self) -> None:
        """Let it begin anew."""
        run("systemctl", "daemon-reload")
        run("systemctl", "reset-failed", self.unit)
        done = run("systemctl", "restart", self.unit)
        if done.returncode:
            said = run("journalctl", "-u", self.unit, "-n", "5", "-o", "cat", "--no-pager").stdout.strip()
            raise RefusedError(
                f"{self.unit} does not start with the new configuration, so the one before is back: "
                f"{' / '.join(said.splitlines())}"
            )


class Configuration:
    """The wanted files, against those that are there."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.name: str = params["name"]
        self.home = Path(params["directory"] or f"/etc/{self.name}")
        units = Path(params["unit_directory"] or f"/etc/systemd/system/{self.name}-server.service.d")
        self.marker = Path(params["marker"])
        self.password = kept_password(self.home / "admin_password", r"(\S+)")
        self.monitor = kept_password(self.home / "monitor.json", r': "([^"]+)"')
        users_path = self.home / "fastapi-metal.acl"
        config = f"{params['config'].rstrip()}\naclfile {users_path}"
        # Nobody but root opens the file with the password; the server's user reads the rest, and writes none.
        self.secret = File(self.home / "admin_password", self.password, "root", 0o600)
        # As prometheus-redis-exporter reads it: by the address that it was told, and its user's name in it.
        addresses = [f"unix://{who}{params['socket']}" for who in ("", f"{MONITOR}@")]
        figures = json.dumps(dict.fromkeys(addresses, self.monitor), indent=2)
        self.figures = File(self.home / "monitor.json", figures, "root", 0o600)
        self.users = File(
            users_path, self._users(params["users"], users_path, params["forget"]), self.name, 0o400
        )
        self.config = File(self.home / "fastapi-metal.conf", config, self.name, 0o400)
        self.unit = File(units / "fastapi-metal.conf", params["unit"], "root", 0o644)

    def _users(self, users: list[dict[str, Any]], path: Path, forget: list[str]) -> str:
        found = hashes_of(read(path) or "")
        before = {name: hashes for name, hashes in found.items() if name not in forget}
        administrator, monitor = (digest(each) for each in (self.password, self.monitor))
        lines = [
            "user default off",
            f"user {ADMINISTRATOR} on #{administrator} ~* &* +@all",
            f"user {MONITOR} on #{monitor} {FIGURES}",
        ]
        for user in users:
            older = [each for each in before.get(user["name"], []) if each != user["hash"]]
            words = " ".join(f"#{each}" for each in [user["hash"], *older[:1]])
            lines.append(f"user {user['name']} on {words} {user['rules']}")
        return "\n".join(lines)

    def changed(self) -> list[File]:
        """Return the files that are not as wanted."""
        files = [self.secret, self.figures, self.users, self.config, self.unit]
        return [file for file in files if file.is_changed()]

    def test(self) -> None:
        """Start a server with the new files, beside the one that runs, and end it again."""
        program = shutil.which(f"{self.name}-server", path="/usr/sbin:/usr/bin")
        if program is None:
            return
        with tempfile.TemporaryDirectory(prefix="valkey-") as name:
            place = Path(name)
            for file in (self.config, self.users):
                draft = place / file.path.name
                draft.write_text(file.text)
                os.chown(draft, file.owner, -1)
            os.chown(place, self.config.owner, -1)
            options = {
                "aclfile": str(place / self.users.path.name),
                "unixsocket": str(place / "s"),
                "port": "0",
                "bind": "127.0.0.1",
                # Certificate and key are read only where something listens.
                "tls-port": str(free_port()) if re.search(r"^tls-port", self.config.text, re.M) else "0",
                "dir": name,
                "logfile": str(place / "log"),
                "daemonize": "no",
                "supervised": "no",
            }
            words = [word for option, value in options.items() for word in (f"--{option}", value)]
            self._start([program, str(place / self.config.path.name), *words], place)

    def _start(self, command: list[str], place: Path) -> None:
        """Start it and wait until it answers, or has ended."""
        who: dict[str, Any] = {"user": self.name, "group": self.name, "extra_groups": []}
        with (place / "words").open("w") as words:
            started = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=words,
                cwd=place,
                env={"PATH": "/usr/bin"},
                **(who if os.geteuid() == 0 else {}),
            )
        end = time.monotonic() + PATIENCE
        try:
            while started.poll() is None and time.monotonic() < end:
                with contextlib.suppress(OSError):
                    if ask(place / "s", ("PING",)) != [""]:
                        return
                time.sleep(0.02)
        finally:
            started.kill()
            started.wait()
        said = reason("\n".join(read(place / name) or "" for name in ("words", "log")))
        raise RefusedError(
            f"{self.name}-server refused the new configuration: {said.replace(str(place), str(self.home))} "
            "Nothing was changed, and what ran before runs on: correct valkey_settings or valkey_users, and "
            "run again."
        )


def free_port() -> int:
    """Return a port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def reason(words: str) -> str:
    """Return what a server says of why it does not start, without times and greetings."""
    found = []
    for line in words.splitlines():
        text = re.sub(r"^\d+:\w \d+ \w+ \d+ [\d:.]+ [.\-*#] ", "", line).strip()
        if text and not re.match(
            r"oO0|(Valkey|Redis) version|Configuration loaded|\*\*\*|monotonic clock", text
        ):
            found.append(text.rstrip("."))
    return shown("; ".join(found[-4:]) or "it gave no reason") + "."


def apply(configuration: Configuration, server: Server, check: bool) -> dict[str, Any]:
    """Bring the machine to the wanted state; return what Ansible is told."""
    changed = configuration.changed()
    pending = configuration.marker.exists()
    if changed:
        configuration.test()
    loaded = "nothing"
    if (changed or pending) and not check:
        loaded = land(configuration, server, changed, pending)
    return {
        "changed": bool(changed or pending),
        # Passwords stay out of what is shown.
        "diff": [
            file.diff() for file in changed if file not in (configuration.secret, configuration.figures)
        ],
        "loaded": loaded,
    }


def land(configuration: Configuration, server: Server, changed: list[File], pending: bool) -> str:
    """Put the tested files in place and have them loaded; take them back if the server will not start."""
    configuration.marker.touch()
    for file in changed:
        file.land()
    # One that does not run, or is Debian's own still, is started with all of it.
    only_users = changed == [configuration.users] and not pending
    loaded = "users" if only_users and server.is_active() and server.load_users() else "restart"
    if loaded == "restart":
        try:
            server.restart()
        except RefusedError:
            for file in changed:
                file.revert()
            run("systemctl", "daemon-reload")
            run("systemctl", "restart", server.unit)
            configuration.marker.unlink()
            raise
    configuration.marker.unlink()
    return loaded


def main() -> None:
    """Speak to Ansible."""
    user_options = {
        "name": {"type": "str", "required": True},
        "hash": {"type": "str", "required": True, "no_log": True},
        "rules": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "choices": ["valkey", "redis"], "required": True},
            "config": {"type": "str", "required": True},
            "unit": {"type": "str", "required": True},
            "users": {"type": "list", "elements": "dict", "required": True, "options": user_options},
            "socket": {"type": "path", "required": True},
            "forget": {"type": "list", "elements": "str", "default": []},
            "directory": {"type": "path"},
            "unit_directory": {"type": "path"},
            "marker": {"type": "path", "default": "/run/fastapi-metal-valkey-pending"},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    try:
        pwd.getpwnam(module.params["name"])
    except KeyError:
        # With --check the package is only announced, and nothing can be tried.
        module.exit_json(changed=True, loaded="nothing")
    try:
        configuration = Configuration(module.params)
        server = Server(configuration.name, Path(module.params["socket"]), configuration.password)
        result = apply(configuration, server, module.check_mode)
    except RefusedError as sentence:
        module.fail_json(msg=str(sentence))
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
