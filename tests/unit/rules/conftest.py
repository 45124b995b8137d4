"""Let Ansible find the project's filters, which rules are rendered with."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.plugins.loader import filter_loader, init_plugin_loader


@pytest.fixture(scope="session", autouse=True)
def _plugins() -> None:
    init_plugin_loader()
    filter_loader.add_directory(str(Path(__file__).resolve().parents[3] / "plugins/filter"))
