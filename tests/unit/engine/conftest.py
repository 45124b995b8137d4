"""What the engine's tests share, and the count of the places where it was killed."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_fake import FakeMachine, Host


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for a disk proves nothing here: no test loses power for real."""
    monkeypatch.setattr("fastapi_metal.machine.files.os.fsync", lambda handle: None)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a fresh machine."""
    return Host(FakeMachine(tmp_path))


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Count cases under a name that the summary prints, since a test that loops hides them."""
    counted: Counter[str] = Counter()
    yield counted
    request.node.user_properties.extend(("engine", item) for item in counted.items())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many cases there were, also those that other processes ran."""
    counted: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            # Counted when the test is over, so its last report has it.
            properties = report.user_properties if getattr(report, "when", "") == "teardown" else []
            for _, (what, number) in (item for item in properties if item[0] == "engine"):
                counted[what] += number
    for name, number in sorted(counted.items()):
        terminalreporter.write_line(f"engine: {number} {name}")
