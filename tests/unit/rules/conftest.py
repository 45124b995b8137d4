"""Let Ansible find the project's filters, which rules are rendered with."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from ansible.plugins.loader import filter_loader, init_plugin_loader


@pytest.fixture(scope="session", autouse=True)
def _plugins() -> None:
    # Another folder's tests may have done it in this process.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        init_plugin_loader()
    filter_loader.add_directory(str(Path(__file__).resolve().parents[3] / "plugins/filter"))
