"""What lynis says, Debian's own auditor, run on the machine as its administrator would."""

import re
from collections.abc import Iterator

import pytest
from conftest import ROOT, Lab, say
from guards import machine
from machinery import install, purge

ANSWERS = ROOT / "docs/lynis.md"
# It holds no secret, and Debian's own psql reads it: docs/lynis.md tells more.
READABLE = "DBS-1828|PostgreSQL configuration file /etc/postgresql/"
REPORT = "/var/log/lynis-report.dat"


@pytest.fixture(scope="module")
def report(lab: Lab) -> Iterator[list[str]]:
    """Return the lines of its report; it is taken away again."""
    host = machine(lab)
    install(host, "lynis")
    host.check_output("lynis audit system --quiet --no-colors --no-plugins")
    yield host.check_output(f"cat {REPORT}").splitlines()
    purge(host, "lynis")
    host.check_output("rm -f /var/log/lynis*")


def told(report: list[str], kind: str) -> list[str]:
    """Return what it told of a kind, each with the name of its check first."""
    return [line.partition("=")[2] for line in report if line.startswith(f"{kind}[]=")]


def test_lynis_warns_of_nothing(report: list[str]) -> None:
    """No warning but one that is answered: PostgreSQL's settings can be read, and hold no password.

    Red when it warns of anything else: a second root, a broken package, a door that is open.
    """
    (index,) = (line.partition("=")[2] for line in report if line.startswith("hardening_index="))
    (version,) = (line.partition("=")[2] for line in report if line.startswith("lynis_version="))
    (done,) = (line.partition("=")[2] for line in report if line.startswith("lynis_tests_done="))
    say(f"lynis {version}: index {index} of 100 after {done} checks, {len(told(report, 'warning'))} warnings")
    assert int(done) > 200
    assert [line for line in told(report, "warning") if not line.startswith(READABLE)] == []


def test_every_suggestion_is_answered(report: list[str]) -> None:
    """Each check that suggests something stands in docs/lynis.md with what answers it.

    Red when one is new.
    """
    rows = re.findall(r"^\| ([A-Z0-9, -]+):", ANSWERS.read_text(), re.MULTILINE)
    answered = {name for row in rows for name in row.split(", ")}
    suggested = {line.partition("|")[0]: line for line in told(report, "suggestion")}
    say(f"lynis: {len(suggested)} checks suggest something")
    assert len(suggested) > 5
    assert {name: line for name, line in suggested.items() if name not in answered} == {}
