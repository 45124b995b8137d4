"""The fixtures of the scenario `monitoring`."""

from collections.abc import Iterator

import pytest
from conftest import Lab
from sink import Sink, sink
from watch import PORT, Watch, watch


@pytest.fixture(scope="session")
def both(lab: Lab) -> Watch:
    """Return the machines that are watched and the one that watches."""
    return watch(lab)


@pytest.fixture(scope="session")
def told(lab: Lab) -> Iterator[Sink]:
    """Listen as a receiver."""
    with sink(lab.info["gateway"], PORT) as found:
        yield found
