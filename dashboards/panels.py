"""The kinds of panel that the dashboards are made of.

A title is a question, and a look at the panel answers it. What the figures mean, and what to do, is the description.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import DashboardLink, ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphGradientMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Panel,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Kind = TypeVar(
    "Kind", timeseries.Panel, stat.Panel, bargauge.Panel, statetimeline.Panel, heatmap.Panel, table.Panel
)

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

GOOD, WATCH, BAD = "green", "orange", "red"
# What a share of something that can be full means: half is paid for and idle, nine tenths leave no room.
FULL = ((None, GOOD), (0.8, WATCH), (0.9, BAD))
IDLE_OR_FULL = ((None, "blue"), (0.5, GOOD), (0.9, BAD))
ANY_IS_BAD = ((None, GOOD), (1, BAD))
ANY_IS_WORTH_A_LOOK = ((None, GOOD), (1, WATCH))
LESS_IS_BAD = ((None, BAD), (1, GOOD))
DAYS_LEFT = ((None, BAD), (7, WATCH), (21, GOOD))

UP_OR_DOWN = {"0": ("down", BAD), "1": ("up", GOOD)}
DONE_OR_FAILED = {"0": ("failed", BAD), "1": ("done", GOOD)}
YES_OR_NO = {"0": ("no", GOOD), "1": ("yes", WATCH)}

Steps = Sequence[tuple[float | None, str]]
Words = Mapping[str, tuple[str, str]]


class Query(NamedTuple):
    """One query of a panel, and how its lines are named."""

    expr: str
    legend: str = ""


class Column(NamedTuple):
    """One column of a table: a query with one row for each subject, and how its values are shown."""

    title: str
    expr: str
    unit: str = "none"
    steps: Steps = ()
    words: Words | None = None
    decimals: int | None = None
    # Of a label's column the value says nothing.
    label: str = ""


def lines(
    title: str,
    unit: str,
    *queries: Query,
    why: str,
    width: int = 8,
    height: int = 8,
    top: float | None = None,
    steps: Steps = (),
    stacked: bool = False,
    below_zero: bool = False,
) -> Builder[Panel]:
    """Return lines over time; `top` is what the unit cannot exceed, `steps` are drawn as dashed lines."""
    panel = (
        _framed(timeseries.Panel(), title, unit, why, width, height)
        .line_width(2)
        .fill_opacity(40 if stacked else 8)
        .gradient_mode(GraphGradientMode.OPACITY)
        .show_points(VisibilityMode.NEVER)
        # A scrape or two may be missing; a longer gap is one.
        .span_nulls(60_000)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    if not below_zero:
        panel.min(0)
    if top is not None:
        panel.max(top)
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if steps:
        panel.thresholds(_steps(steps))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    return _asking(panel, queries)


def number(
    title: str,
    unit: str,
    *queries: Query,
    why: str,
    steps: Steps = ((None, GOOD),),
    words: Words | None = None,
    width: int = 4,
    height: int = 4,
    decimals: int | None = None,
    link: str | None = None,
) -> Builder[Panel]:
    """Return what is so now, as one number or word for each query."""
    panel = (
        _framed(stat.Panel(), title, unit, why, width, height)
        .color_mode(BigValueColorMode.BACKGROUND if len(steps) > 1 or words else BigValueColorMode.NONE)
        .graph_mode(BigValueGraphMode.NONE)
        .text_mode(BigValueTextMode.AUTO)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_steps(steps))
    )
    if words:
        panel.mappings([_mapping(words)])
    if decimals is not None:
        panel.decimals(decimals)
    if link:
        panel.data_links([DashboardLink(title).url(link)])
    return _asking(panel, queries, instant=True)


def bars(
    title: str, unit: str, *queries: Query, why: str, steps: Steps, width: int = 8, height: int = 8
) -> Builder[Panel]:
    """Return what is so now as bars between 0 and 1, where many subjects are compared."""
    panel = (
        _framed(bargauge.Panel(), title, unit, why, width, height)
        .min(0)
        .max(1)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .orientation(VizOrientation.HORIZONTAL)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_steps(steps))
    )
    return _asking(panel, queries, instant=True)


def states(
    title: str, *queries: Query, why: str, words: Words, width: int = 12, height: int = 6
) -> Builder[Panel]:
    """Return a band of colour for each subject: when was it what."""
    panel = (
        _framed(statetimeline.Panel(), title, "none", why, width, height)
        .show_value(VisibilityMode.NEVER)
        .line_width(0)
        .fill_opacity(80)
        .mappings([_mapping(words)])
    )
    return _asking(panel, queries)


def heat(title: str, unit: str, expr: str, *, why: str, width: int = 12, height: int = 9) -> Builder[Panel]:
    """Return how many requests took how long, over time; `expr` is a sum by `le`."""
    return (
        _framed(heatmap.Panel(), title, unit, why, width, height)
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .exponent(0.5)
            .steps(64)
        )
        .cell_gap(1)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .cell_values(heatmap.CellValues().unit("reqps"))
        .with_target(_target("A", Query(expr, "{{le}}")).format(PromQueryFormat.HEATMAP))
    )


def grid(
    title: str,
    subject: str,
    *columns: Column,
    why: str,
    width: int = 24,
    height: int = 8,
    links: Mapping[str, str] | None = None,
) -> Builder[Panel]:
    """Return a table with a row for each value of the label `subject`.

    Each column is a query of its own; `links` leads from a column to another dashboard.
    """
    panel = _framed(table.Panel(), title, "none", why, width, height)
    names = "ABCDEFGHIJKLMN"
    renamed, hidden, order = {}, {"Time": True}, {subject: 0}
    for place, (name, column) in enumerate(zip(names, columns, strict=False)):
        panel.with_target(_target(name, Query(column.expr), instant=True).format(PromQueryFormat.TABLE))
        # With one query Grafana names its column `Value`, with several `Value #A` and so on.
        value = f"Value #{name}" if len(columns) > 1 else "Value"
        hidden |= {f"Time {place + 1}": True}
        if column.label:
            hidden[value] = True
            renamed[column.label] = column.title
            order[column.label] = place + 1
        else:
            renamed[value] = column.title
            order[value] = place + 1
            panel.override_by_name(column.title, _shown(column))
    for name, url in (links or {}).items():
        link = {"title": f"Look at this {name}", "url": url}
        panel.override_by_name(name, [DynamicConfigValue(id_val="links", value=[link])])
    if len(columns) > 1:
        panel.with_transformation(
            DataTransformerConfig(id_val="joinByField", options={"byField": subject, "mode": "outer"})
        )
    panel.with_transformation(
        DataTransformerConfig(
            id_val="organize",
            options={"excludeByName": hidden, "indexByName": order, "renameByName": renamed},
        )
    )
    return panel


def alerts(title: str, expr: str, *, why: str, width: int = 24, height: int = 7) -> Builder[Panel]:
    """Return the alerts that fire, one row each, with their labels as columns."""
    hidden = dict.fromkeys(("Time", "Value", "__name__", "alertstate", "job", "instance"), True)
    order = {"severity": 0, "alertname": 1, "app": 2, "host": 3}
    return (
        _framed(table.Panel(), title, "none", why, width, height)
        .no_value("None")
        .with_target(_target("A", Query(expr), instant=True).format(PromQueryFormat.TABLE))
        .with_transformation(
            DataTransformerConfig(id_val="organize", options={"excludeByName": hidden, "indexByName": order})
        )
        .override_by_name(
            "severity",
            [
                DynamicConfigValue(
                    id_val="mappings",
                    value=[
                        _mapping(
                            {
                                "critical": ("critical", BAD),
                                "warning": ("warning", WATCH),
                                "notice": ("notice", "blue"),
                            }
                        )
                    ],
                ),
                DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-background"}),
            ],
        )
    )


def _framed(panel: Kind, title: str, unit: str, why: str, width: int, height: int) -> Kind:
    """Say what every panel says: its question, its source and unit, its place."""
    return panel.title(title).description(why).datasource(SOURCE).unit(unit).span(width).height(height)


def _asking(panel: Kind, queries: tuple[Query, ...], instant: bool = False) -> Kind:
    """Let a panel ask its queries, one letter for each."""
    for name, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(_target(name, query, instant))
    return panel


def _target(name: str, query: Query, instant: bool = False) -> prometheus.Dataquery:
    target = prometheus.Dataquery().ref_id(name).datasource(SOURCE).expr(query.expr)
    if query.legend:
        target.legend_format(query.legend)
    return target.instant() if instant else target.range()


def _steps(steps: Steps) -> ThresholdsConfig:
    found = [Threshold(value=value, color=color) for value, color in steps]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


def _mapping(words: Words) -> ValueMap:
    return ValueMap(
        options={
            value: ValueMappingResult(text=text, color=color, index=place)
            for place, (value, (text, color)) in enumerate(words.items())
        }
    )


def _shown(column: Column) -> list[DynamicConfigValue]:
    """Return how a column's values are shown."""
    found: list[tuple[str, Any]] = [("unit", column.unit)]
    if column.decimals is not None:
        found.append(("decimals", column.decimals))
    if column.steps:
        found.append(("thresholds", _steps(column.steps).build()))
    if column.words:
        found.append(("mappings", [_mapping(column.words)]))
    if column.steps or column.words:
        found.append(("custom.cellOptions", {"type": "color-text"}))
    return [DynamicConfigValue(id_val=name, value=value) for name, value in found]


def link_to(uid: str, **variables: str) -> str:
    """Return the address of another dashboard, with variables taken from a row's fields."""
    fields = "&".join(f"var-{name}=${{__data.fields.{field}}}" for name, field in variables.items())
    return f"/d/{uid}?{fields}&${{__url_time_range}}&${{environment:queryparam}}"


__all__ = [
    "ANY_IS_BAD",
    "ANY_IS_WORTH_A_LOOK",
    "DAYS_LEFT",
    "DONE_OR_FAILED",
    "FULL",
    "IDLE_OR_FULL",
    "LESS_IS_BAD",
    "SOURCE",
    "UP_OR_DOWN",
    "YES_OR_NO",
    "Column",
    "DashboardLinkType",
    "Query",
    "alerts",
    "bars",
    "grid",
    "heat",
    "lines",
    "link_to",
    "number",
    "states",
]
