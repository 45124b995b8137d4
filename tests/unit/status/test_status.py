"""The fleet at a glance: figures from recorded answers, a table, a page that needs nothing else."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fleet_view.status import answers, page, plots, questions, rows, text
from fleet_view.status.units import shown

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded.json").read_text())
NOW = float(RECORDED["end"])
FIGURES = {name: answers.series(RECORDED["answers"][name]) for name in questions.FIGURES}
WANTED = {"web1": ["catalog"], "other1": []}
FOUND = {"web1": RECORDED["machines"]["web1"], "other1": None}


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.00042, "percentunit", "< 0.1 %"),
        (0.0, "percentunit", "0 %"),
        (0.013, "percentunit", "1.3 %"),
        (0.91, "percentunit", "91 %"),
        (3.1e8, "bytes", "296 MB"),
        (0.0215, "s", "21.5 ms"),
        (86400 * 71.3, "s", "71 d"),
        (82.34, "reqps", "82.3/s"),
        (12345.0, "none", "12.3 k"),
        (float("inf"), "none", "∞"),
        (float("nan"), "s", "-"),
        (None, "bytes", "-"),
    ],
)
def test_figures_are_written_for_readers(value: float | None, unit: str, said: str) -> None:
    """Three digits at most, in the unit that fits."""
    assert shown(value, unit) == said


def test_a_series_is_named_by_the_panels_legend() -> None:
    """As Grafana names it; without a legend by its labels."""
    line = answers.Series({"__name__": "m", "app": "shop", "host": "web1"}, ())
    assert line.name("{{app}} on {{ host }} {{missing}}") == "shop on web1"
    assert line.name("") == "shop web1"


def test_a_row_has_what_machine_and_prometheus_say() -> None:
    """Recorded from a machine and its Prometheus."""
    row = next(row for row in rows.rows(FOUND, WANTED, FIGURES) if row.host == "web1")
    assert (row.app, row.state) == ("catalog", "active")
    assert re.fullmatch(r"\d{8}T\d{4}-[0-9a-f]{6}", row.release)
    assert row.rate is not None
    assert row.p95 is not None
    assert row.memory is not None
    assert row.certificate is not None
    assert row.certificate > NOW


def test_without_prometheus_the_state_is_there_all_the_same() -> None:
    """Figures are dashes, and alerts are not said to be none."""
    row = next(row for row in rows.rows(FOUND, WANTED, {}) if row.host == "web1")
    assert row.state == "active"
    assert row.release
    assert (row.rate, row.p95, row.alerts) == (None, None, None)
    assert text.table([row], NOW)[1].split()[-1] == "-"


def test_a_machine_that_is_away_is_a_row() -> None:
    """It is what the reader looks for."""
    row = next(row for row in rows.rows(FOUND, WANTED, FIGURES) if row.host == "other1")
    assert row.state == "not reached"
    assert not row.well
    assert any("other1" in line and "not reached" in line for line in text.table([row], NOW))


def test_alerts_are_counted_where_they_belong() -> None:
    """One of an application counts on each of its machines, one of a machine not with its applications."""

    def firing(**labels: str) -> answers.Series:
        return answers.Series({"alertname": "A", "severity": "warning", **labels}, ((NOW, 1.0),))

    figures = {"alerts": [firing(app="catalog"), firing(host="web1"), firing(app="catalog", host="web2")]}
    found = rows.rows({"web1": None, "db1": None}, {"web1": ["catalog"], "db1": []}, figures)
    assert {row.host: row.alerts for row in found} == {"web1": 1, "db1": 0}
    assert [alert.where for alert in rows.alerts(figures)] == ["catalog", "catalog web2", "web1"]


def test_columns_of_the_table_stand_below_each_other() -> None:
    """Words to the left, figures to the right."""
    head, *lines = text.table(rows.rows(FOUND, WANTED, FIGURES), NOW)
    assert head.split()[:4] == ["host", "app", "release", "state"]
    end = head.index("req/s") + len("req/s")
    assert all(line[end : end + 1] in ("", " ") for line in lines)


def test_every_picture_is_a_panel_of_a_dashboard() -> None:
    """None is drawn that Grafana does not show; variables have values."""
    found = questions.plots(["catalog", "shop"], 60)
    assert len(found) == sum(map(len, questions.DRAWN.values())) + 2 * len(questions.FOR_EACH_APP)
    assert not [plot.title for plot in found for expr, _ in plot.asks if "$" in expr]
    assert {plot.heading for plot in found} >= {"catalog", "shop", "Machines"}


def drawn() -> list[page.Picture]:
    """Return the pictures of the recorded answers."""
    pictures = []
    for number, plot in enumerate(questions.plots(["catalog"], int(RECORDED["step"]))):
        lines = [
            answers.series(RECORDED["answers"].get(f"{number}.{part}", [])) for part in range(len(plot.asks))
        ]
        pictures.append(page.Picture(plot, plots.draw(plot, lines, (NOW - RECORDED["span"], NOW))))
    return pictures


def fleet(pictures: list[page.Picture], figures: dict[str, Any]) -> page.Fleet:
    """Return what the page is made of."""
    return page.Fleet(
        NOW,
        rows.rows(FOUND, WANTED, figures),
        rows.machines(FOUND, figures),
        rows.alerts(figures) if figures else None,
        pictures,
        ["other1 was not reached"],
        float(RECORDED["span"]),
    )


class Elements(HTMLParser):
    """What a page has: elements with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep one."""
        self.found.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else() -> None:
    """No script, no file, no address: it can be sent by mail and looked at offline, in light and dark."""
    html = page.page(fleet(drawn(), FIGURES))
    elements = Elements(html).found
    assert sum(tag == "svg" for tag, _ in elements) >= 8
    assert not {tag for tag, _ in elements} & {"script", "link", "iframe", "object", "embed"}
    for tag, attributes in elements:
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/png;base64,")), (tag, value)
    assert "url(http" not in html
    assert "prefers-color-scheme: dark" in html
    assert not re.search(r"#0708[0-9a-f]{2}|#010203|#040506", html), "a mark was not replaced by a colour"


def test_a_page_without_prometheus_says_so() -> None:
    """The state is there, pictures are not, and no alert is not claimed."""
    html = page.page(fleet([], {}))
    assert "nobody to ask" in html
    assert "active" in html
    assert "<svg" not in html


def test_names_cannot_break_the_page() -> None:
    """A label's value is text and nothing else."""
    line = answers.Series({"app": "<script>x</script>"}, ((NOW - 60, 1.0), (NOW, 2.0)))
    plot = questions.plots([], 60)[0]
    picture = page.Picture(plot, plots.draw(plot, [[line]], (NOW - 60, NOW)))
    assert "<script" not in page.page(fleet([picture], FIGURES))


def test_a_picture_without_figures_is_none() -> None:
    """An empty frame would look like a line at zero."""
    plot = questions.plots([], 60)[0]
    assert plots.draw(plot, [[]], (NOW - 60, NOW)) is None
    nothing = answers.Series({}, ((NOW, float("nan")),))
    assert plots.draw(plot, [[nothing]], (NOW - 60, NOW)) is None
