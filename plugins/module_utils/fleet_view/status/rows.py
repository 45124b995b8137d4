"""What is known of each application on each machine, from the machine itself and from Prometheus."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .answers import Series, value

UNREACHED = "not reached"


@dataclass(frozen=True)
class Row:
    """One application on one machine, or a machine without one; None is what nobody knows."""

    host: str
    app: str = ""
    release: str = ""
    origin: str = ""
    state: str = ""
    since: float | None = None
    rate: float | None = None
    errors: float | None = None
    p95: float | None = None
    memory: float | None = None
    disk: float | None = None
    certificate: float | None = None
    alerts: int | None = None

    @property
    def well(self) -> bool:
        """Whether there is nothing to look at."""
        return self.state in ("active", "reached") and not self.alerts


@dataclass(frozen=True)
class Machine:
    """One machine; None is what nobody knows."""

    host: str
    reached: bool
    memory: float | None = None
    memory_total: float | None = None
    disk: float | None = None
    disk_where: str = ""
    cpu: float | None = None
    load: float | None = None
    cores: int | None = None
    uptime: float | None = None
    failed: tuple[str, ...] = ()
    reboot: bool = False


@dataclass(frozen=True)
class Alert:
    """One alert that fires."""

    severity: str
    name: str
    where: str


Found = Mapping[str, Any]
Figures = Mapping[str, Sequence[Series]]


def rows(
    found: Mapping[str, Found | None], wanted: Mapping[str, Sequence[str]], figures: Figures
) -> list[Row]:
    """Return a row for each application on each machine.

    `found` is what a machine has said of itself, None where it was not reached; `wanted` is which
    applications the inventory gives it; `figures` are Prometheus' answers, empty without one.
    """
    table = []
    for host in sorted(wanted):
        said = found.get(host)
        for app in wanted[host] or [""]:
            table.append(_row(host, app, said, figures))
    return table


def _row(host: str, app: str, said: Found | None, figures: Figures) -> Row:
    alerts = [line for line in figures.get("alerts", ()) if line.labels.get("host") == host]
    if app:
        alerts = [line for line in alerts if line.labels.get("app") == app]
        # An alert of all machines of an application names none of them.
        alerts += [
            line
            for line in figures.get("alerts", ())
            if line.labels.get("app") == app and not line.labels.get("host")
        ]
    else:
        alerts = [line for line in alerts if not line.labels.get("app")]
    known: dict[str, Any] = {"alerts": len(alerts) if "alerts" in figures else None}
    if app:
        known |= {
            name: value(figures.get(name, ()), host=host, app=app) for name in ("rate", "errors", "p95")
        }
    if said is None:
        return Row(host, app, state=UNREACHED, **known)
    machine, mine = said["machine"], said["apps"].get(app, {})
    return Row(
        host,
        app,
        release=mine.get("release") or "",
        origin=mine.get("origin") or "",
        state=mine.get("state", "reached") or "",
        since=mine.get("since"),
        memory=mine.get("memory") if app else machine["memory_used"],
        disk=machine["disk"],
        certificate=mine.get("certificate"),
        **known,
    )


def machines(found: Mapping[str, Found | None], figures: Figures) -> list[Machine]:
    """Return a row for each machine."""
    table = []
    for host in sorted(found):
        said = found[host]
        if said is None:
            table.append(Machine(host, reached=False))
            continue
        machine = said["machine"]
        table.append(
            Machine(
                host,
                reached=True,
                memory=machine["memory_used"],
                memory_total=machine["memory_total"],
                disk=machine["disk"],
                disk_where=machine["disk_where"],
                cpu=value(figures.get("cpu", ()), host=host),
                load=machine["load"],
                cores=machine["cores"],
                uptime=machine["uptime"],
                failed=tuple(machine["failed"]),
                reboot=machine["reboot"],
            )
        )
    return table


def alerts(figures: Figures) -> list[Alert]:
    """Return what fires, the worst first."""
    order = {"critical": 0, "warning": 1, "notice": 2}
    found = {
        Alert(
            line.labels.get("severity", ""),
            line.labels.get("alertname", ""),
            " ".join(filter(None, (line.labels.get(name, "") for name in ("app", "host", "site", "unit")))),
        )
        for line in figures.get("alerts", ())
    }
    return sorted(found, key=lambda alert: (order.get(alert.severity, 3), alert.name, alert.where))
