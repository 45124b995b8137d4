"""Where a task is told not to speak the truth, the reason stands beside it."""

import re
from pathlib import Path

from tree import ROOT, tracked

EXCEPTION = re.compile(
    r"^\s*((changed_when|failed_when|check_mode): false|ignore_(errors|unreachable):[^#]*"
    r"|(when:|-) [^#]*not ansible_check_mode[^#]*)(?P<beside>#.*)?$"
)


def exceptions(path: Path) -> list[tuple[int, str, bool]]:
    """Return number, text and whether a reason is given, for each exception in a file."""
    lines = path.read_text().splitlines()
    found = []
    for number, line in enumerate(lines):
        match = EXCEPTION.match(line)
        if match:
            above = lines[number - 1].strip().startswith("#") if number else False
            found.append((number + 1, line.strip(), bool(match["beside"]) or above))
    return found


def test_every_exception_has_its_reason() -> None:
    """`changed_when: false` and its kin carry a comment on their line or on the one above."""
    rows = [
        (path.relative_to(ROOT), *row)
        for path in tracked("roles/*.yml", "playbooks/*.yml", "molecule/*.yml")
        for row in exceptions(path)
    ]
    for row in rows:
        print(*row)
    assert rows, "nothing was looked at"
    assert not [row for row in rows if not row[3]]
