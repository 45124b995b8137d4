"""Settings and users land only where a real server has started with them, and keep apps apart."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
PASSWORD, OTHER = "correct-horse-battery-staple", "another-horse-battery-staple"
RULES = (
    "~{0}:* resetchannels &{0}:* +@all -@admin -@dangerous -scan -randomkey -dbsize -pubsub -function "
    "-script|flush -script|kill"
)


def digest(password: str) -> str:
    """Return what a server keeps of a password."""
    return hashlib.sha256(password.encode()).hexdigest()


@pytest.fixture(scope="module")
def valkey() -> ModuleType:
    """Load the module as Ansible would find it."""
    spec = importlib.util.spec_from_file_location("valkey_config", ROOT / "plugins/modules/valkey_config.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["valkey_config"] = module
    spec.loader.exec_module(module)
    return module


class FakeServer:
    """A running server of which only what is asked of it is of interest."""

    unit = "redis-server.service"

    def __init__(self, module: ModuleType, starts: bool = True) -> None:
        self.module, self.starts, self.done = module, starts, list[str]()

    def is_active(self) -> bool:
        """Run."""
        return True

    def load_users(self) -> bool:
        """Load."""
        self.done.append("users")
        return True

    def restart(self) -> None:
        """Begin anew, or fail to."""
        self.done.append("restart")
        if not self.starts:
            raise self.module.RefusedError("does not start")


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a directory that the server's user reaches, with a name that is short enough for a socket."""
    path = Path(f"/tmp/valkey-test-{os.getpid()}")  # noqa: S108  # pytest's own is closed to others
    path.mkdir(mode=0o755)
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def wanted(module: ModuleType, place: Path, password: str = PASSWORD, **changes: Any) -> Any:
    """Return the configuration with two users."""
    users = [
        {"name": "shop", "hash": digest(password), "rules": RULES.format("shop")},
        {"name": "office", "hash": digest(OTHER), "rules": RULES.format("office")},
    ]
    params = {
        "name": "redis",
        "config": f'unixsocket {place}/socket\nunixsocketperm 770\nport 0\nsave ""\nmaxmemory 32mb',
        "unit": "[Service]\nRestart=always",
        "users": users,
        "socket": str(place / "socket"),
        "forget": [],
        "directory": str(place / "etc"),
        "unit_directory": str(place / "units"),
        "marker": str(place / "marker"),
    }
    return module.Configuration({**params, **changes})


def apply(module: ModuleType, configuration: Any, server: Any, check: bool = False) -> tuple[bool, str]:
    """Bring it to the wanted state; return whether something changed, and what was loaded."""
    result = module.apply(configuration, server, check)
    return result["changed"], result["loaded"]


def test_it_lands_once(valkey: ModuleType, place: Path) -> None:
    """Everything is made, closed to others, and a second run finds nothing to do."""
    server = FakeServer(valkey)
    assert apply(valkey, wanted(valkey, place), server, check=True) == (True, "nothing")
    assert not (place / "etc").exists()
    assert apply(valkey, wanted(valkey, place), server) == (True, "restart")
    assert apply(valkey, wanted(valkey, place), server) == (False, "nothing")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (place / "etc").iterdir()}
    assert modes == {
        **{"admin_password": 0o600, "monitor.json": 0o600},
        **{"fastapi-metal.acl": 0o400, "fastapi-metal.conf": 0o400},
    }
    (place / "etc/fastapi-metal.acl").chmod(0o644)
    assert apply(valkey, wanted(valkey, place), server) == (True, "users")


def test_a_changed_password_leaves_the_one_before_until_it_is_forgotten(
    valkey: ModuleType, place: Path
) -> None:
    """The release that still runs goes on; no restart is needed, and in the end one password counts."""
    server = FakeServer(valkey)
    apply(valkey, wanted(valkey, place), server)
    assert apply(valkey, wanted(valkey, place, "new" + PASSWORD), server) == (True, "users")
    assert hashes(valkey, place)["shop"] == [digest("new" + PASSWORD), digest(PASSWORD)]
    assert apply(valkey, wanted(valkey, place, "new" + PASSWORD), server) == (False, "nothing")
    assert apply(valkey, wanted(valkey, place, "new" + PASSWORD, forget=["blog"]), server) == (
        False,
        "nothing",
    )
    forgotten = wanted(valkey, place, "new" + PASSWORD, forget=["shop"])
    assert apply(valkey, forgotten, server) == (True, "users")
    assert hashes(valkey, place)["shop"] == [digest("new" + PASSWORD)]
    assert apply(valkey, wanted(valkey, place, "new" + PASSWORD), server) == (False, "nothing")


def hashes(module: ModuleType, place: Path) -> dict[str, list[str]]:
    """Return the hashes of each user that are on disk."""
    found: dict[str, list[str]] = module.hashes_of((place / "etc/fastapi-metal.acl").read_text())
    return found


def test_no_hash_and_no_password_is_shown(valkey: ModuleType, place: Path) -> None:
    """A difference shows that a password has changed, and nothing by which it could be found."""
    server = FakeServer(valkey)
    apply(valkey, wanted(valkey, place), server)
    result = valkey.apply(wanted(valkey, place, "new" + PASSWORD), server, True)
    (diff,) = result["diff"]
    assert diff["before"] != diff["after"]
    secret = [digest(PASSWORD), digest("new" + PASSWORD), (place / "etc/admin_password").read_text().strip()]
    assert not [each for each in secret if each in str(result)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"config": "port 0\nmaxmemry 3mb"}, "Bad directive or wrong number of arguments"),
        ({"config": "port 0\nmaxmemory-policy all"}, "argument"),
        (
            {"users": [{"name": "shop", "hash": digest(PASSWORD), "rules": "~shop:* +gett"}]},
            "Unknown command or category name in ACL",
        ),
        (
            {"config": "tls-port 1\ntls-cert-file /no.crt\ntls-key-file /no.key\ntls-auth-clients no"},
            "Failed to load certificate",
        ),
    ],
)
def test_what_a_server_refuses_changes_nothing(
    valkey: ModuleType, place: Path, changes: dict[str, Any], said: str
) -> None:
    """The reason is the server's own, and what ran before runs on."""
    server = FakeServer(valkey)
    apply(valkey, wanted(valkey, place), server)
    kept = {path: path.read_text() for path in (place / "etc").iterdir()}
    for check in (True, False):
        with pytest.raises(valkey.RefusedError, match=said) as refused:
            apply(valkey, wanted(valkey, place, **changes), server, check)
    assert digest(PASSWORD) not in str(refused.value)
    assert {path: path.read_text() for path in (place / "etc").iterdir()} == kept
    assert server.done == ["restart"]


def test_what_does_not_start_is_taken_back(valkey: ModuleType, place: Path) -> None:
    """A port in use shows only at the start: the files of before are there again."""
    apply(valkey, wanted(valkey, place), FakeServer(valkey))
    kept = {path: path.read_text() for path in (place / "etc").iterdir()}
    worse = wanted(valkey, place, config=f"unixsocket {place}/socket\nport 0")
    with pytest.raises(valkey.RefusedError, match="does not start"):
        apply(valkey, worse, FakeServer(valkey, starts=False))
    assert {path: path.read_text() for path in (place / "etc").iterdir()} == kept


def test_an_interrupted_run_is_made_good(valkey: ModuleType, place: Path) -> None:
    """What had landed and was not loaded is loaded by the next run."""
    apply(valkey, wanted(valkey, place), FakeServer(valkey))
    (place / "marker").touch()
    server = FakeServer(valkey)
    assert apply(valkey, wanted(valkey, place), server) == (True, "restart")
    assert not (place / "marker").exists()


@contextmanager
def running(place: Path) -> Iterator[Path]:
    """Run a server with what has landed, and yield its socket."""
    command = ["/usr/bin/redis-server", str(place / "etc/fastapi-metal.conf"), "--dir", str(place)]
    # As root here, so that it reads what has landed whoever runs the tests.
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=place)
    try:
        end = time.monotonic() + 10
        while not (place / "socket").exists() and time.monotonic() < end:
            time.sleep(0.02)
        yield place / "socket"
    finally:
        started.kill()
        started.wait()


def test_apps_are_kept_apart(valkey: ModuleType, place: Path) -> None:
    """A user works with its own keys and channels, and neither reads, names, nor spoils what is another's."""
    apply(valkey, wanted(valkey, place), FakeServer(valkey))
    shop, office = ("AUTH", "shop", PASSWORD), ("AUTH", "office", OTHER)
    with running(place) as path:
        own = [
            ("SET", "shop:a", "1"),
            ("GET", "shop:a"),
            ("PUBLISH", "shop:c", "x"),
            ("EVAL", "return 1", "0"),
        ]
        assert valkey.ask(path, shop, *own)[:2] == ["+OK", "+OK"]
        assert not [each for each in valkey.ask(path, shop, *own) if each.startswith("-")]
        forbidden = [
            *(("GET", "shop:a"), ("DEL", "shop:a"), ("PUBLISH", "shop:c", "x"), ("SUBSCRIBE", "shop:c")),
            *(("KEYS", "*"), ("SCAN", "0"), ("RANDOMKEY",), ("DBSIZE",), ("PUBSUB", "CHANNELS")),
            *(
                ("FLUSHALL",),
                ("FLUSHDB",),
                ("CONFIG", "GET", "*"),
                ("ACL", "LIST"),
                ("MONITOR",),
                ("SHUTDOWN",),
            ),
            *(("FUNCTION", "FLUSH"), ("SCRIPT", "FLUSH"), ("CLIENT", "LIST")),
            *(("SWAPDB", "0", "1"), ("REPLICAOF", "NO", "ONE"), ("CLIENT", "KILL", "ID", "1"), ("SAVE",)),
            ("EVAL", "return redis.call('get', KEYS[1])", "1", "shop:a"),
            ("EVAL", "return redis.call('get', 'shop:a')", "0"),
        ]
        for command in forbidden:
            answer = valkey.ask(path, office, command)[1]
            assert answer.startswith("-NOPERM") or "executing the script can't access" in answer, (
                command,
                answer,
            )
        assert valkey.ask(path, ("GET", "shop:a"))[0].startswith("-NOAUTH")
        assert valkey.ask(path, ("AUTH", "default", ""), ("GET", "x"))[0].startswith("-WRONGPASS")
        assert valkey.ask(path, ("AUTH", "shop", OTHER))[0].startswith("-WRONGPASS")
        admin = (place / "etc/admin_password").read_text().strip()
        assert valkey.Server("redis", path, admin).load_users()
        assert not valkey.Server("redis", path, "wrong").load_users()
        figures = json.loads((place / "etc/monitor.json").read_text())
        assert set(figures) == {f"unix://{place}/socket", f"unix://monitor@{place}/socket"}
        monitor = ("AUTH", "monitor", figures[f"unix://{place}/socket"])
        assert valkey.ask(path, monitor, ("INFO",))[1].startswith("$")
        for command in (
            ("GET", "shop:a"),
            ("SCAN", "0"),
            ("CONFIG", "SET", "maxmemory", "1"),
            ("ACL", "LIST"),
        ):
            assert valkey.ask(path, monitor, command)[1].startswith("-NOPERM"), command
