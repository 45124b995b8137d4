"""Labs of their own for the faults."""

import os
from collections.abc import Iterator

import pytest
from machine import Machine


@pytest.fixture(scope="session")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Return a machine that site.yml has set up: a new one, or that of the lab that FAULTS_LAB names.

    With a lab that is there already (`FAULTS_LAB=demo`) single faults can be tried in seconds.
    """
    if given := os.environ.get("FAULTS_LAB"):
        yield Machine(given, request.param)
        return
    # When this process dies, the lab goes with it.
    os.environ.setdefault("LAB_OWNER_PID", str(os.getpid()))
    machine = Machine("faults", request.param)
    try:
        machine.boot()
        yield machine
    finally:
        machine.down()
