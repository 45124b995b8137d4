"""Lets tests import the stand-in, and gives them a configuration that it accepts."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[2] / "molecule/shared")]

from standin_tree import PASSWORD, SOURCE, Tree, dashboard  # noqa: E402 - it is found by the line above


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Write a configuration that is right, on a port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        made = Tree(tmp_path, probe.getsockname()[1])
    made.sources(SOURCE)
    made.provider()
    made.write("dashboards/shop.json", dashboard())
    made.write("password", f"{PASSWORD}\n")
    (tmp_path / "data").mkdir()
    made.config.write_text(
        f"[server]\nhttp_addr = 127.0.0.1\nhttp_port = {made.port}\n"
        f"[security]\nadmin_password = $__file{{{tmp_path}/password}}\n"
        f"[users]\nallow_sign_up = false\n"
        f"[paths]\ndata = {tmp_path}/data\nprovisioning = {tmp_path}/provisioning\n"
    )
    return made
