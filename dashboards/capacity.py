"""Capacity: where between half and nine tenths are we, and what would one server less do."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from .frame import IN_ENVIRONMENT as IN
from .frame import Part, apps, dashboard, environments
from .panels import FULL, IDLE_OR_FULL, Query, bars, lines, number

OF = f'{IN}, app=~"$app"'
# One row for each application and machine that it runs on.
RUNS = f"group by (environment, app, host) (app_release_info{{{OF}}})"
WEEK = "Over the last week, as far as there are figures."


def with_one_less(peak: str) -> str:
    """Return the use of an application's machines if one of them went and the others took its share.

    Nothing where there is one machine.
    """
    total = f"sum by (environment, app) ({RUNS} * on (environment, host) group_left () {peak}{{{IN}}})"
    return f"{total} / (count by (environment, app) ({RUNS}) - 1 > 0)"


def build() -> Dashboard:
    """Return the dashboard."""
    judged = "Below 50 % is paid for and idle, above 90 % is too little; between is right."
    machines = Part(
        "Machines: between 50 and 90 % is right",
        (
            bars(
                "Whose CPU is used, on average?",
                "percentunit",
                Query(f"host:cpu_busy:avg1w{{{IN}}}", "{{host}}"),
                why=f"{WEEK} {judged}",
                steps=IDLE_OR_FULL,
            ),
            bars(
                "Whose CPU is used, in the busy hours?",
                "percentunit",
                Query(f"host:cpu_busy:p95_1w{{{IN}}}", "{{host}}"),
                why=f"In 95 of 100 moments it was less. {WEEK} {judged}",
                steps=IDLE_OR_FULL,
            ),
            bars(
                "Whose memory is used, in the busy hours?",
                "percentunit",
                Query(f"host:memory_used:p95_1w{{{IN}}}", "{{host}}"),
                why=f"In 95 of 100 moments it was less. {WEEK} {judged}",
                steps=IDLE_OR_FULL,
            ),
            number(
                "How many machines are idle?",
                "none",
                Query(
                    f"count(host:cpu_busy:p95_1w{{{IN}}} < 0.5 and on (environment, host) host:memory_used:p95_1w{{{IN}}} < 0.5) or vector(0)",
                    "below 50 %",
                ),
                why="Neither CPU nor memory came above 50 % in the busy hours.",
                width=6,
                steps=((None, "green"), (1, "blue")),
            ),
            number(
                "How many machines are too small?",
                "none",
                Query(
                    f"count((host:cpu_busy:p95_1w{{{IN}}} > 0.9) or on (environment, host) (host:memory_used:p95_1w{{{IN}}} > 0.9)) or vector(0)",
                    "above 90 %",
                ),
                why="CPU or memory came above 90 % in the busy hours.",
                width=6,
                steps=((None, "green"), (1, "red")),
            ),
            number(
                "How many cores are busy?",
                "none",
                Query(f'sum(rate(node_cpu_seconds_total{{{IN}, mode!="idle"}}[$__rate_interval]))', "busy"),
                Query(f'count(node_cpu_seconds_total{{{IN}, mode="idle"}})', "there"),
                why="Over all machines, now.",
                width=6,
                decimals=1,
            ),
            number(
                "How much memory is taken?",
                "bytes",
                Query(
                    f"sum(node_memory_MemTotal_bytes{{{IN}}} - node_memory_MemAvailable_bytes{{{IN}}})",
                    "taken",
                ),
                Query(f"sum(node_memory_MemTotal_bytes{{{IN}}})", "there"),
                why="Over all machines, now.",
                width=6,
            ),
            lines(
                "How has CPU developed?",
                "percentunit",
                Query(f"host:cpu_busy:ratio_rate5m{{{IN}}}", "{{host}}"),
                why="Share of all cores that is busy.",
                width=12,
                top=1,
                steps=FULL,
            ),
            lines(
                "How has memory developed?",
                "percentunit",
                Query(f"host:memory_used:ratio{{{IN}}}", "{{host}}"),
                why="Share that is taken and could not be freed.",
                width=12,
                top=1,
                steps=FULL,
            ),
        ),
    )
    applications = Part(
        "Applications: what would one server less do?",
        (
            bars(
                "How busy would the CPU of the others be?",
                "percentunit",
                Query(with_one_less("host:cpu_busy:p95_1w"), "{{app}}"),
                why="If one machine of the application went and the others took its share, in the busy hours. Above 90 %: do not. Nothing is shown where there is one machine.",
                steps=FULL,
            ),
            bars(
                "How full would the memory of the others be?",
                "percentunit",
                Query(with_one_less("host:memory_used:p95_1w"), "{{app}}"),
                why="An upper bound: what a machine needs for itself is counted as if it moved too.",
                steps=FULL,
            ),
            bars(
                "How close is each to its memory limit?",
                "percentunit",
                Query(f"max by (app, host) (app:memory:ratio{{{OF}}})", "{{app}} on {{host}}"),
                why="Memory against limits.memory, where one is set.",
                steps=FULL,
            ),
            lines(
                "Are there enough workers?",
                "percentunit",
                Query(f"app:workers_busy:ratio{{{OF}}}", "{{app}}"),
                why="Requests in flight for each worker. Far above 100 % and slow: more workers, or more machines.",
                steps=((None, "green"), (1, "orange")),
            ),
            lines(
                "Are there enough database connections?",
                "percentunit",
                Query(f"app:pool_in_use:ratio{{{OF}}}", "{{app}}"),
                why="Connections in use against those allowed.",
                top=1,
                steps=FULL,
            ),
            lines(
                "What does a request cost?",
                "s",
                Query(
                    f"sum by (app) (rate(unit_cpu_seconds_total{{{OF}}}[5m])) / (sum by (app) (app:http_requests:rate5m{{{OF}}}) > 0)",
                    "{{app}}",
                ),
                why="Seconds of CPU for each request. One that grows from release to release is a regression.",
            ),
        ),
    )
    room = Part(
        "Disks and databases",
        (
            bars(
                "How full are the disks?",
                "percentunit",
                Query(f"host:disk_used:ratio{{{IN}}}", "{{host}} {{mountpoint}}"),
                why="As everybody but root sees them.",
                steps=FULL,
                width=12,
            ),
            bars(
                "How many database connections are taken?",
                "percentunit",
                Query(f"postgres:connections:ratio{{{IN}}}", "{{host}}"),
                why="Against max_connections. During a release applications need twice theirs.",
                steps=FULL,
                width=12,
            ),
        ),
    )
    return dashboard(
        "capacity",
        "Capacity",
        "Where between 50 and 90 % each machine and application is, and what one server less would do.",
        [environments(), apps(several=True)],
        [machines, applications, room],
        since="now-7d",
    )
