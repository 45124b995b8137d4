"""The fleet in the terminal."""

from collections.abc import Iterable, Sequence

from .rows import Alert, Machine, Row
from .units import NONE, shown

TITLES = (
    *(
        "host",
        "app",
        "release",
        "state",
        "since",
        "req/s",
        "errors",
        "95 %",
        "memory",
        "disk",
        "cert",
        "alerts",
    ),
)
# From here on figures, which stand below each other by their last digit.
LEFT = 4


def table(rows: Iterable[Row], now: float) -> list[str]:
    """Return the table, one line each."""
    cells = [TITLES] + [_cells(row, now) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(TITLES))]
    return [
        "  ".join(
            cell.ljust(width) if column < LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def _cells(row: Row, now: float) -> Sequence[str]:
    return (
        row.host,
        row.app or NONE,
        row.release or NONE,
        row.state,
        shown(None if row.since is None else now - row.since, "s"),
        NONE if row.rate is None else shown(row.rate, "none"),
        shown(row.errors, "percentunit"),
        shown(row.p95, "s"),
        shown(row.memory, "bytes"),
        shown(row.disk, "percentunit"),
        shown(None if row.certificate is None else (row.certificate - now) / 86400, "d"),
        NONE if row.alerts is None else str(row.alerts),
    )


def notes(machines: Iterable[Machine], alerts: Iterable[Alert], problems: Iterable[str]) -> list[str]:
    """Return what a reader must know beside the table: what fires, what has failed, what is not known."""
    lines = [f"{alert.severity}: {alert.name} {alert.where}".rstrip() for alert in alerts]
    for machine in machines:
        if machine.failed:
            lines.append(f"{machine.host}: failed units: {', '.join(machine.failed)}")
        if machine.reboot:
            lines.append(f"{machine.host}: an update waits for a reboot")
    return lines + list(problems)
