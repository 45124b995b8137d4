"""What a service of the watch could not do is said in one sentence each, before anything changes."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import sys
from ipaddress import IPv4Address
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ANYWHERE = str(IPv4Address(0))
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def preflight() -> ModuleType:
    """Load the module as Ansible would find it."""
    path = ROOT / "plugins/modules/watch_preflight.py"
    spec = importlib.util.spec_from_file_location("watch_preflight", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["watch_preflight"] = module
    spec.loader.exec_module(module)
    return module


def asked(module: ModuleType, **parameters: list[dict[str, str]]) -> str:
    """Return what is said against some parameters."""
    rest: dict[str, Any] = {"listen": [], "find": [], "read": []}
    return " ".join(module.complaints(rest | parameters))


@pytest.mark.parametrize(
    ("family", "own", "wanted"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "", "127.0.0.1"),
        (socket.AF_INET, "127.0.0.1", ANYWHERE),
        (socket.AF_INET6, "::1", "[::1]"),
    ],
)
def test_a_port_that_is_taken_is_named(
    preflight: ModuleType, family: socket.AddressFamily, own: str, wanted: str
) -> None:
    """With who has it, by process, and a port that works."""
    with socket.socket(family) as taken:
        taken.bind((own, 0))
        taken.listen()
        port = taken.getsockname()[1]
        row = {"address": f"{wanted}:{port}", "unit": "prometheus.service", "variable": "prometheus_listen"}
        said = asked(preflight, listen=[row])
    assert said.startswith(f"prometheus_listen is {wanted}:{port}, where ")
    assert f"(process {os.getpid()}) listens already" in said
    assert re.search(r", for example \S+:[0-9]+\.$", said)
    assert asked(preflight, listen=[row]) == "", "it is free again"


def test_the_service_itself_may_have_its_port(preflight: ModuleType, tmp_path: Path) -> None:
    """A second run is no clash; another address with the same port is none either."""
    process = tmp_path / "proc/77"
    (process / "fd").mkdir(parents=True)
    (process / "fd/3").symlink_to("socket:[4711]")
    (process / "comm").write_text("prometheus\n")
    (process / "cgroup").write_text("1:name=systemd:/machine/system.slice/prometheus.service\n")
    (tmp_path / "proc/net").mkdir()
    (tmp_path / "proc/net/tcp").write_text(
        "  sl  local_address rem_address   st tx_queue\n"
        "   0: 0100007F:2382 00000000:0000 0A 0:0 0:0 0 0 0 4711 1\n"
        "   1: 0100007F:2383 00000000:0000 01 0:0 0:0 0 0 0 4712 1\n"
    )
    row = {"address": "127.0.0.1:9090", "unit": "prometheus.service", "variable": "prometheus_listen"}
    assert preflight.taken(tmp_path, row) == ""
    assert "prometheus (process 77)" in preflight.taken(tmp_path, row | {"unit": "other.service"})
    assert preflight.taken(tmp_path, row | {"address": "10.0.0.11:9090", "unit": "other.service"}) == ""
    assert preflight.taken(tmp_path, row | {"address": "127.0.0.1:9091"}) == "", "it does not listen there"


def test_a_name_that_nobody_finds_is_named(preflight: ModuleType) -> None:
    """With the variable that holds it; addresses and names that are found pass."""
    rows = [
        {"name": name, "variable": "prometheus_targets"} for name in ("127.0.0.1", "localhost", "db1.invalid")
    ]
    said = asked(preflight, find=rows)
    assert said.startswith("prometheus_targets names db1.invalid, which ")
    assert said.count("which") == 1


def test_a_password_file_that_is_missing_or_closed_is_named(preflight: ModuleType, tmp_path: Path) -> None:
    """With its path, who reads it, and what would be right."""
    path = tmp_path / "password"
    row = {"path": str(path), "user": "nobody", "variable": "prometheus_remote_write"}
    assert f"prometheus_remote_write names {path}, which is missing on " in asked(preflight, read=[row])
    path.write_text("secret")
    path.chmod(0o600)
    assert f"{path}, which nobody may not read: put it there, with mode 0640" in asked(preflight, read=[row])
    path.chmod(0o644)
    assert asked(preflight, read=[row]) == ""
    path.chmod(0o600)
    assert asked(preflight, read=[row | {"user": "not-made-yet"}]) == ""
