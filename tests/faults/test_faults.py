"""Every promise can turn red: a fault is caused, and the verify test that names it must see it."""

import re

import pytest
from faults import CAUSED_WITHIN, FAULTS, NOT_CAUSED, Fault
from faults_apps import FAULTS_APPS, NOT_CAUSED_APPS
from faults_fleet import FAULTS_FLEET, NOT_CAUSED_FLEET
from faults_monitoring import NOT_CAUSED_MONITORING
from faults_security import FAULTS_SECURITY, NOT_CAUSED_SECURITY
from faults_tls import FAULTS_TLS, NOT_CAUSED_TLS
from machine import TESTS, Machine

# Those of the table are caused on machines of `default`, `apps`, `security`, `tls`; others cause their own.
SCENARIOS = ("default", "releases", "apps", "monitoring", "security", "tls")
ALL = [*FAULTS, *FAULTS_APPS, *FAULTS_FLEET, *FAULTS_SECURITY, *FAULTS_TLS]


# One machine after the other: a session's fixture with another parameter is another machine.
@pytest.mark.parametrize(
    ("machine", "fault"),
    [pytest.param(fault.scenario, fault, id=fault.name) for fault in ALL],
    indirect=["machine"],
)
def test_a_fault_turns_its_test_red(machine: Machine, fault: Fault) -> None:
    """The test fails, for the expected reason, while the fault is there; it is green again afterwards.

    A test that cannot run (collection, fixtures, usage) is not a red one. Red when a verify test passes on
    a machine that breaks its promise.
    """
    try:
        machine.root(fault.cause, fault.on)
        red = machine.verify(fault.test)
    finally:
        machine.root(fault.undo, fault.on)
    green = machine.verify(fault.test)
    print(red.stdout[-6000:], red.stderr[-1000:])
    assert red.returncode == 1, f"exit code {red.returncode} instead of 1: {fault.test} did not see the fault"
    assert re.search(r"^1 failed in ", red.stdout, re.MULTILINE), "the test did not fail, it could not run"
    assert re.search(fault.reason, red.stdout), f"it failed for another reason than {fault.reason}"
    assert green.returncode == 0, f"not green again:\n{green.stdout[-6000:]}{green.stderr[-1000:]}"
    assert re.search(r"^1 passed in ", green.stdout, re.MULTILINE), green.stdout


def test_every_verify_test_has_a_fault() -> None:
    """A verify test is in the table of faults, or listed with the reason why it is not.

    Red when a test is added without a fault, or when one that is listed has gone.
    """
    there = {
        f"{path.name}::{name}"
        for folder in SCENARIOS
        for path in (TESTS / folder).glob("test_*.py")
        if path.name not in CAUSED_WITHIN
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    listed = {fault.test.rpartition("/")[2].partition("[")[0] for fault in ALL}
    elsewhere = {
        *NOT_CAUSED,
        *NOT_CAUSED_APPS,
        *NOT_CAUSED_FLEET,
        *NOT_CAUSED_MONITORING,
        *NOT_CAUSED_SECURITY,
        *NOT_CAUSED_TLS,
    }
    assert there == listed | elsewhere
