"""What all dashboards have in common: variables, the links between them, and releases as marks."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    DashboardCursorSync,
    DashboardLinkType,
    Panel,
    RowPanel,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.dashboard import Dashboard as Built

from .panels import SOURCE

TAG = "fastapi-metal"


class Part(NamedTuple):
    """A row of a dashboard: panels below a heading."""

    title: str
    panels: tuple[Builder[Panel], ...]


class Mark(AnnotationQuery):
    """A vertical line at a time that a metric holds; the SDK's model lacks what the Prometheus source adds."""

    def to_json(self) -> dict[str, object]:
        """Return it as Grafana reads it."""
        return {
            **super().to_json(),
            "titleFormat": "{{app}} {{release}}",
            "textFormat": "got the traffic on {{host}}",
            "useValueForTime": "on",
            "step": "60s",
        }


class Marks(Builder[AnnotationQuery]):
    """Releases, at the second in which they got the traffic."""

    def __init__(self, expr: str) -> None:
        self._mark = Mark(
            name="Releases", datasource=SOURCE, icon_color="purple", expr=f"{expr} * 1000", hide=False
        )

    def build(self) -> AnnotationQuery:
        """Return it."""
        return self._mark


def uid(name: str) -> str:
    """Return the address of one of our dashboards, by the name of its module."""
    return f"fastapi-metal-{name}"


def choice(
    name: str, label: str, metric: str, *, several: bool = True, matching: str = ""
) -> Builder[VariableModel]:
    """Return a variable that offers the values of a label, by default all of them.

    `matching` is what the metric's other labels must be.
    """
    variable = (
        QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(f"label_values({metric}{{{matching}}}, {name})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(several)
        .include_all(several)
    )
    if several:
        # One word instead of every name, which would be long at a hundred hosts.
        everything = VariableOption(selected=True, text=["All"], value=["$__all"])
        variable.all_value(".*").current(everything)
    return variable


def environments() -> Builder[VariableModel]:
    """Return the variable that all dashboards have."""
    return choice("environment", "Environment", "up")


def apps(*, several: bool) -> Builder[VariableModel]:
    """Return the choice of applications in the chosen environments."""
    return choice("app", "Application", "unit_active", several=several, matching=IN_ENVIRONMENT + ', app!=""')


def hosts(metric: str = 'up{job="node"}', *, several: bool) -> Builder[VariableModel]:
    """Return the choice of machines in the chosen environments, those alone that have a metric."""
    name, _, rest = metric.partition("{")
    matching = ", ".join(filter(None, [IN_ENVIRONMENT, rest.rstrip("}")]))
    return choice("host", "Machine", name, several=several, matching=matching)


IN_ENVIRONMENT = 'environment=~"$environment"'


def dashboard(
    name: str,
    title: str,
    description: str,
    variables: Iterable[Builder[VariableModel]],
    parts: Iterable[Part],
    *,
    marks: str = "",
    since: str = "now-3h",
) -> Built:
    """Return a dashboard with all panels in their places."""
    links = DashboardLink("Dashboards").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    frame = (
        Dashboard(title)
        .uid(uid(name))
        .description(description)
        .tags([TAG])
        .timezone("browser")
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time(since, "now")
        .link(links.include_vars(True).keep_time(True))
        .with_variable(
            DatasourceVariable("datasource")
            .label("Prometheus")
            .type("prometheus")
            .current(VariableOption(selected=True, text="Prometheus", value="prometheus"))
        )
    )
    for variable in variables:
        frame.with_variable(variable)
    if marks:
        frame.annotation(Marks(marks))
    for part in parts:
        frame.with_row(Row(part.title))
        for panel in part.panels:
            frame.with_panel(panel)
    return _numbered(frame.build())


def _numbered(built: Built) -> Built:
    """Give every panel an id of its own."""
    for number, panel in enumerate(built.panels or [], start=1):
        panel.id_val = number
        if isinstance(panel, RowPanel):
            panel.collapsed = False
    return built


Module = Callable[[], Built]
