"""Add up what a run of `bin/test` did: its steps and the cases of every JUnit report it left."""

import sys
from pathlib import Path
from xml.etree import ElementTree  # reports that pytest has just written


def steps(results: Path) -> tuple[int, int]:
    """Return how many steps passed and failed, from lines of `state<TAB>name`."""
    states = [line.split("\t")[0] for line in results.read_text().splitlines()]
    return states.count("passed"), len(states) - states.count("passed")


def cases(report: Path) -> tuple[int, int, int]:
    """Return how many test cases of one JUnit report passed, failed and were skipped."""
    passed = failed = skipped = 0
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):  # noqa: S314
        total, errors, failures, skips = (
            int(suite.get(key, "0")) for key in ("tests", "errors", "failures", "skipped")
        )
        failed += errors + failures
        skipped += skips
        passed += max(0, total - errors - failures - skips)
    return passed, failed, skipped


def main(directory: Path) -> int:
    """Print the line of counts; return 1 when anything failed or nothing ran."""
    passed, failed = steps(directory / "results.tsv")
    skipped = 0
    for report in sorted(directory.glob("*.xml")):
        more_passed, more_failed, more_skipped = cases(report)
        passed, failed, skipped = passed + more_passed, failed + more_failed, skipped + more_skipped
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
