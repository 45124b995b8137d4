"""Give the tests a machine in a directory."""

import pytest
from figures_machine import Machine


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Return a machine; its directory has a short name, as a socket's path has 107 bytes."""
    return Machine(tmp_path_factory.mktemp("m"))
