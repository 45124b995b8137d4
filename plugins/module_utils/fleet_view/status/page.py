"""The fleet as one page of HTML that needs nothing else: no server, no script, no network."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import groupby
from pathlib import Path

from .plots import Drawn
from .questions import Plot
from .rows import UNREACHED, Alert, Machine, Row
from .units import NONE, shown

STYLE = Path(__file__).with_name("page.css").read_text()


LONGEST_ORIGIN = 34
APP_TITLES = (
    *(
        "Application",
        "Machine",
        "State",
        "Release",
        "Made from",
        "Since",
        "Requests",
        "Errors",
        "95 % within",
    ),
    *("Memory", "Certificate", "Alerts"),
)


@dataclass(frozen=True)
class Picture:
    """A panel and what was drawn of it, if there were figures."""

    plot: Plot
    drawn: Drawn | None


@dataclass(frozen=True)
class Fleet:
    """Everything that the page says."""

    now: float
    rows: Sequence[Row]
    machines: Sequence[Machine]
    # None where nobody could be asked.
    alerts: Sequence[Alert] | None
    pictures: Sequence[Picture]
    problems: Sequence[str]
    span: float


def page(fleet: Fleet) -> str:
    """Return the page."""
    when = datetime.fromtimestamp(fleet.now, UTC).strftime("%A, %d %B %Y, %H:%M UTC")
    problems = "".join(f'<p class="watch">{escape(problem)}</p>' for problem in fleet.problems)
    return f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The fleet at a glance</title>
<style>{STYLE}</style>
<header><h1>The fleet at a glance</h1><p>{when}</p></header>
{problems}<div class="tiles">{"".join(_tiles(fleet))}</div>
{_alerts(fleet.alerts)}
<h2>Applications</h2>
{_apps(fleet)}
<h2>Machines</h2>
{_machines(fleet)}
{_pictures(fleet)}
</html>
"""


def _tile(value: str, title: str, kind: str = "") -> str:
    return f'<div class="tile"><b class="{kind}">{escape(value)}</b><span>{escape(title)}</span></div>'


def _tiles(fleet: Fleet) -> Iterable[str]:
    reached = sum(machine.reached for machine in fleet.machines)
    yield _tile(
        f"{reached} of {len(fleet.machines)}", "machines answer", _kind(reached == len(fleet.machines))
    )
    apps = [row for row in fleet.rows if row.app]
    names = {row.app for row in apps}
    up = {name for name in names if all(row.state == "active" for row in apps if row.app == name)}
    yield _tile(f"{len(up)} of {len(names)}", "applications run everywhere", _kind(up == names))
    known = [row for row in apps if row.rate is not None]
    rate = sum(row.rate or 0 for row in known)
    yield _tile(shown(rate if known else None, "reqps"), "requests")
    failing = sum((row.rate or 0) * (row.errors or 0) for row in known)
    ratio = failing / rate if rate else None
    yield _tile(
        shown(ratio, "percentunit"), "of them fail", _kind(not ratio, "watch") if ratio is not None else ""
    )
    slowest = max((row.p95 for row in known if row.p95 is not None and row.p95 == row.p95), default=None)
    yield _tile(shown(slowest, "s"), "95 % of the slowest within")
    if fleet.alerts is None:
        yield _tile(NONE, "alerts: nobody to ask")
    else:
        worst = "bad" if any(alert.severity == "critical" for alert in fleet.alerts) else "watch"
        yield _tile(str(len(fleet.alerts)), "alerts fire", worst if fleet.alerts else "good")


def _kind(well: bool, otherwise: str = "bad") -> str:
    return "good" if well else otherwise


def _chip(text: str, kind: str) -> str:
    return f'<span class="chip {kind}">{escape(text)}</span>'


def _alerts(alerts: Sequence[Alert] | None) -> str:
    if not alerts:
        return ""
    kinds = {"critical": "bad", "warning": "watch"}
    lines = [
        (
            _chip(alert.severity or "alert", kinds.get(alert.severity, "")),
            escape(alert.name),
            escape(alert.where),
        )
        for alert in alerts
    ]
    return f"<h2>Alerts</h2>\n{_table(('Severity', 'Alert', 'Where'), lines, figures_from=3)}"


def _table(titles: Sequence[str], lines: Iterable[Sequence[str]], figures_from: int) -> str:
    """Return a table; its cells are HTML already."""

    def cells(tag: str, line: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=figure' if column >= figures_from else ''}>{cell}</{tag}>"
            for column, cell in enumerate(line)
        )

    body = "\n".join(f"<tr>{cells('td', line)}</tr>" for line in lines)
    return f'<div class="card wide"><table><tr>{cells("th", titles)}</tr>\n{body}</table></div>'


def _full(value: float | None) -> str:
    """Return how full something is, in the colour that says whether that is well."""
    kind = "" if value is None or value < 0.8 else "watch" if value < 0.9 else "bad"
    return f'<span class="{kind}">{shown(value, "percentunit")}</span>'


def _apps(fleet: Fleet) -> str:
    rows = sorted((row for row in fleet.rows if row.app), key=lambda row: (row.app, row.host))
    if not rows:
        return '<p class="none">The inventory names no application.</p>'
    return _table(APP_TITLES, [_app(row, fleet.now) for row in rows], figures_from=5)


def _app(row: Row, now: float) -> Sequence[str]:
    days = None if row.certificate is None else (row.certificate - now) / 86400
    certificate = "" if days is None or days >= 21 else "watch" if days >= 7 else "bad"
    errors = "" if not row.errors else "bad" if row.errors >= 0.01 else "watch"
    return (
        f"<b>{escape(row.app)}</b>",
        escape(row.host),
        _chip(row.state, "good" if row.state == "active" else "bad"),
        f"<code>{escape(row.release or NONE)}</code>",
        _origin(row.origin),
        shown(None if row.since is None else now - row.since, "s"),
        shown(row.rate, "reqps"),
        f'<span class="{errors}">{shown(row.errors, "percentunit")}</span>',
        shown(row.p95, "s"),
        shown(row.memory, "bytes"),
        f'<span class="{certificate}">{shown(days, "d")}</span>',
        NONE if row.alerts is None else f'<span class="{_kind(not row.alerts, "watch")}">{row.alerts}</span>',
    )


def _origin(origin: str) -> str:
    """Return where a release's code came from; the end of a long address says most."""
    short = origin if len(origin) <= LONGEST_ORIGIN else f"…{origin[1 - LONGEST_ORIGIN :]}"
    return f'<span title="{escape(origin)}">{escape(short or NONE)}</span>'


def _machines(fleet: Fleet) -> str:
    titles = (
        "Machine",
        "State",
        "Notes",
        "CPU",
        "Memory",
        "Installed",
        "Fullest disk",
        "Load",
        "Cores",
        "Up for",
    )
    return _table(titles, [_machine(machine) for machine in fleet.machines], figures_from=3)


def _machine(machine: Machine) -> Sequence[str]:
    if not machine.reached:
        return (escape(machine.host), _chip(UNREACHED, "bad"), "", *[NONE] * 7)
    notes = [f"{len(machine.failed)} failed: {', '.join(machine.failed)}"] if machine.failed else []
    notes += ["an update waits for a reboot"] if machine.reboot else []
    memory = machine.memory / machine.memory_total if machine.memory and machine.memory_total else None
    return (
        f"<b>{escape(machine.host)}</b>",
        _chip("answers", "good") if not machine.failed else _chip("has failed units", "watch"),
        escape("; ".join(notes)),
        _full(machine.cpu),
        _full(memory),
        shown(machine.memory_total, "bytes"),
        f"{_full(machine.disk)} {escape(machine.disk_where)}",
        shown(machine.load, "none"),
        NONE if machine.cores is None else str(machine.cores),
        shown(machine.uptime, "s"),
    )


def _pictures(fleet: Fleet) -> str:
    parts = []
    empty = [picture.plot for picture in fleet.pictures if picture.drawn is None]
    for heading, pictures in groupby(fleet.pictures, key=lambda picture: picture.plot.heading):
        cards = [_card(picture.plot, picture.drawn) for picture in pictures if picture.drawn]
        if cards:
            parts.append(f"<h2>{escape(heading)}, the last {shown(fleet.span, 's')}</h2>")
            parts.append(f'<div class="plots">{"".join(cards)}</div>')
    if empty and parts:
        names = "; ".join(f"{plot.heading}: {plot.title}" for plot in empty)
        parts.append(
            f"<details><summary>{len(empty)} without figures</summary><p>{escape(names)}</p></details>"
        )
    return "\n".join(parts)


def _card(plot: Plot, drawn: Drawn) -> str:
    legend = "".join(
        f"<li>{_dot(number)}{escape(name)}<b>{escape(last)}</b></li>" for name, number, last in drawn.legend
    )
    shown_legend = f'<ul class="legend">{legend}</ul>' if legend else ""
    return (
        f'<div class="card"><h3>{escape(plot.title)}</h3>{drawn.svg}{shown_legend}'
        f'<p class="why">{escape(plot.why)}</p></div>'
    )


def _dot(number: int | None) -> str:
    return "" if number is None else f'<i style="background: var(--line{number})"></i>'
