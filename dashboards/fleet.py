"""Fleet: every machine and every application on one screen."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from .frame import IN_ENVIRONMENT as IN
from .frame import Part, dashboard, environments, uid
from .panels import (
    ANY_IS_BAD,
    ANY_IS_WORTH_A_LOOK,
    DAYS_LEFT,
    FULL,
    UP_OR_DOWN,
    YES_OR_NO,
    Column,
    Query,
    alerts,
    grid,
    lines,
    link_to,
    number,
    states,
)

# The dead man's switch has severity none: it fires always.
FIRING = f'ALERTS{{alertstate="firing", severity!="none", {IN}}}'


def by(labels: str, expr: str, how: str = "sum") -> str:
    """Return a sum that leaves these labels alone."""
    return f"{how} by ({labels}) ({expr})"


def build() -> Dashboard:
    """Return the dashboard."""
    now = Part(
        "Now",
        (
            number(
                "How many machines do not answer?",
                "none",
                Query(f"count(host:up:min{{{IN}}} == 0) or vector(0)", "machines"),
                why="Machines whose figures Prometheus cannot get: down, cut off, or without their exporter.",
                steps=ANY_IS_BAD,
            ),
            number(
                "How many applications are down?",
                "none",
                Query(f"count(app:up:min{{{IN}}} == 0) or vector(0)", "applications"),
                why="Applications whose live release does not run on at least one of their machines.",
                steps=ANY_IS_BAD,
            ),
            number(
                "What fires?",
                "none",
                Query(f'count({FIRING[:-1]}, severity="critical"}}) or vector(0)', "critical"),
                Query(f'count({FIRING[:-1]}, severity="warning"}}) or vector(0)', "warning"),
                why="Alerts that fire now. Below stands each of them, with the address of its runbook.",
                steps=ANY_IS_BAD,
            ),
            number(
                "How many requests per second?",
                "reqps",
                Query(f"sum(app:http_requests:rate5m{{{IN}}})", "requests"),
                why="Over all applications, as they count themselves, over five minutes.",
            ),
            number(
                "What share of them fails?",
                "percentunit",
                Query(
                    f"sum(app:http_errors:rate5m{{{IN}}}) / (sum(app:http_requests:rate5m{{{IN}}}) > 0) or vector(0)",
                    "5xx",
                ),
                why="Answers with a status of 500 or more.",
                steps=((None, "green"), (0.001, "orange"), (0.01, "red")),
                decimals=2,
            ),
            number(
                "How slow is the slowest application?",
                "s",
                Query(f"max(app:http_request_duration_seconds:p95_5m{{{IN}}})", "95 %"),
                why="95 of 100 of its requests are answered within this time.",
            ),
        ),
    )
    subjects = Part(
        "Applications and machines",
        (
            grid(
                "How is each application?",
                "app",
                Column("State", by("app", f"app:up:min{{{IN}}}", "min"), words=UP_OR_DOWN),
                Column(
                    "Releases",
                    by("app", f"app:releases:count{{{IN}}}", "max"),
                    steps=((None, "green"), (2, "orange")),
                ),
                Column("Requests", by("app", f"app:http_requests:rate5m{{{IN}}}"), "reqps", decimals=1),
                Column(
                    "Errors",
                    by("app", f"app:http_errors:ratio_rate5m{{{IN}}}", "max"),
                    "percentunit",
                    ((None, "green"), (0.001, "orange"), (0.01, "red")),
                    decimals=2,
                ),
                Column(
                    "95 % within", by("app", f"app:http_request_duration_seconds:p95_5m{{{IN}}}", "max"), "s"
                ),
                Column(
                    "Workers busy",
                    by("app", f"app:workers_busy:ratio{{{IN}}}", "max"),
                    "percentunit",
                    FULL,
                    decimals=0,
                ),
                Column(
                    "Connections",
                    by("app", f"app:pool_in_use:ratio{{{IN}}}", "max"),
                    "percentunit",
                    FULL,
                    decimals=0,
                ),
                Column(
                    "Memory",
                    by("app", f'unit_memory_bytes{{{IN}, app!=""}}'),
                    "bytes",
                ),
                Column(
                    "Answers from outside",
                    by("app", f"site:probe_success:avg5m{{{IN}}}", "min"),
                    "percentunit",
                    ((None, "red"), (0.9, "orange"), (1, "green")),
                    decimals=0,
                ),
                Column(
                    "Certificate",
                    by("app", f"(probe_ssl_earliest_cert_expiry{{{IN}}} - time()) / 86400", "min"),
                    "d",
                    DAYS_LEFT,
                    decimals=0,
                ),
                why="One row per application, the worst of its machines. Workers may be busy with more than one "
                "request each: above 100 % requests share a worker, which is what asynchronous ones are for. "
                "An application without metrics of its own has no rate here; the last two columns know it all the same.",
                links={"app": link_to(uid("app"), app="app")},
            ),
            grid(
                "How is each machine?",
                "host",
                Column("State", by("host", f"host:up:min{{{IN}}}", "min"), words=UP_OR_DOWN),
                Column(
                    "CPU",
                    by("host", f"host:cpu_busy:ratio_rate5m{{{IN}}}", "max"),
                    "percentunit",
                    FULL,
                    decimals=0,
                ),
                Column(
                    "Memory",
                    by("host", f"host:memory_used:ratio{{{IN}}}", "max"),
                    "percentunit",
                    FULL,
                    decimals=0,
                ),
                Column(
                    "Fullest disk",
                    by("host", f"host:disk_used:ratio{{{IN}}}", "max"),
                    "percentunit",
                    FULL,
                    decimals=0,
                ),
                Column("Load per core", by("host", f"host:load1:per_cpu{{{IN}}}", "max"), decimals=2),
                Column("Failed units", by("host", f"units_failed{{{IN}}}", "max"), steps=ANY_IS_BAD),
                Column("Reboot wanted", by("host", f"host_reboot_required{{{IN}}}", "max"), words=YES_OR_NO),
                Column(
                    "Security updates",
                    by("host", f"host_security_updates_pending{{{IN}}}", "max"),
                    steps=ANY_IS_WORTH_A_LOOK,
                ),
                why="One row per machine; a click on its name leads to its own dashboard.",
                links={"host": link_to(uid("host"), host="host")},
            ),
            alerts(
                "What fires now, and what is to be done?",
                FIRING,
                why="Each alert has a page in docs/runbooks of the project.",
            ),
        ),
    )
    since = Part(
        "Since when",
        (
            states(
                "When was which application down?",
                Query(by("app", f"app:up:min{{{IN}}}", "min"), "{{app}}"),
                why="Red while the live release did not run on at least one machine.",
                words=UP_OR_DOWN,
            ),
            states(
                "When was which machine down?",
                Query(by("host", f"host:up:min{{{IN}}}", "min"), "{{host}}"),
                why="Red while Prometheus got no figures of it.",
                words=UP_OR_DOWN,
            ),
            lines(
                "How many requests, of which application?",
                "reqps",
                Query(by("app", f"app:http_requests:rate5m{{{IN}}}"), "{{app}}"),
                why="Requests answered per second, over five minutes.",
            ),
            lines(
                "What share of its requests fails?",
                "percentunit",
                Query(by("app", f"app:http_errors:ratio_rate5m{{{IN}}}", "max"), "{{app}}"),
                why="Answers with a status of 500 or more. Zero is a line at zero, not a gap.",
            ),
            lines(
                "How long does an answer take?",
                "s",
                Query(by("app", f"app:http_request_duration_seconds:p95_5m{{{IN}}}", "max"), "{{app}}"),
                why="95 of 100 requests are answered within this time.",
            ),
            lines(
                "Which machine works hardest?",
                "percentunit",
                Query(by("host", f"host:cpu_busy:ratio_rate5m{{{IN}}}", "max"), "{{host}}"),
                why="Share of all cores that is busy.",
                top=1,
                steps=FULL,
            ),
            lines(
                "Which machine runs out of memory?",
                "percentunit",
                Query(by("host", f"host:memory_used:ratio{{{IN}}}", "max"), "{{host}}"),
                why="Share that is taken and could not be freed.",
                top=1,
                steps=FULL,
            ),
            lines(
                "Which machine runs out of disk?",
                "percentunit",
                Query(by("host", f"host:disk_used:ratio{{{IN}}}", "max"), "{{host}}"),
                why="The fullest file system of each machine, as everybody but root sees it.",
                top=1,
                steps=FULL,
            ),
        ),
    )
    return dashboard(
        "fleet",
        "Fleet",
        "Every machine and every application on one screen: what is up, what is asked, what fails, what is full.",
        [environments()],
        [now, subjects, since],
    )
