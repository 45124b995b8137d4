"""The figures of bench/deploy are what was measured, and one way that fails does not hide the others."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy_bench import __main__ as command
from deploy_bench.lab import BenchError, Lab
from deploy_bench.measure import Bench, Measured
from deploy_bench.report import Row, table
from deploy_bench.ways import Way

WAYS = {"fastapi-metal": "ours", "shell": "a script"}


def row(way: str, action: str, *answers: float | None) -> Row:
    """Return measurements that took a second longer than until the answer."""
    return Row(way, action, 1, [Measured((answer or 0) + 1, answer, 0.1) for answer in answers])


def cells(line: str) -> list[str]:
    """Return the figures of a line."""
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_ratios_are_taken_without_the_window() -> None:
    """Both ways wait through the same window, so it must not make them look alike."""
    rows = [row("fastapi-metal", "deploy", 3.0, 4.0, 9.0), row("shell", "deploy", 2.0)]
    lines = table(rows, WAYS, 1, window=1)
    assert cells(lines[-3]) == ["4.0", "3.0", "3.0", "5.0", "-", "-"]
    assert cells(lines[-2]) == ["2.0", "1.0", "1.0", "3.0", "-", "-"]


def test_a_way_that_was_not_measured_has_no_figure() -> None:
    """Without the script there is no ratio, and none is made up."""
    lines = table([row("fastapi-metal", "deploy", 3.0)], {"fastapi-metal": "ours"}, 1, window=1)
    assert cells(lines[-2]) == ["3.0", "2.0", "-", "4.0", "-", "-"]


@dataclass
class FakeWay:
    """Has a name."""

    name: str


@dataclass
class FakeBench:
    """Measures nothing."""

    way: FakeWay
    broken: bool = False

    def measure(self, action: str, hosts: int) -> Measured:
        """Fail, or answer at once."""
        if self.broken:
            raise BenchError("it broke\nwith details")
        return Measured(1.0, None if action == "unchanged" else 1.5, 0.0)


class FakeLab:
    """Has no machines."""

    def inventory(self, hosts: int) -> Path:
        """Return nothing of use."""
        return Path()


def measure(end: float, *benches: Any) -> tuple[list[Row], list[str]]:
    """Measure on one host and on four."""
    lab: Any = FakeLab()
    return command.measure(lab, list(benches), [1, 4], 2, end)


def test_a_broken_way_is_named_and_the_others_are_measured() -> None:
    """What failed stands in the notes."""
    benches = FakeBench(FakeWay("pyinfra"), broken=True), FakeBench(FakeWay("shell"))
    rows, notes = measure(time.monotonic() + 60, *benches)
    assert {found.way for found in rows} == {"shell"}
    assert [len(found.runs) for found in rows if found.action == "deploy"] == [2, 1]
    assert notes == ["pyinfra on 1 failed: it broke", "pyinfra on 4 failed: it broke"]


def test_what_time_did_not_allow_is_named() -> None:
    """A bench that ran out of time does not look complete."""
    rows, notes = measure(time.monotonic() - 1, FakeBench(FakeWay("shell")))
    assert rows == []
    assert notes == ["not measured for want of time: shell on 1", "not measured for want of time: shell on 4"]


def test_a_change_is_one_of_the_code_alone(tmp_path: Path) -> None:
    """Two marks make two sources that differ in one file, and the lock stays."""
    bench = Bench(Lab(tmp_path, 1, 1), Way("shell", "", lambda action, hosts: []))
    bench.begin()
    place = tmp_path / "shell/source"

    def files() -> dict[str, bytes]:
        return {
            str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()
        }

    bench.change("one")
    before = files()
    bench.change("two")
    after = files()
    assert [name for name in after if after[name] != before[name]] == ["probe/main.py"]
    assert "requirements.txt" in after
