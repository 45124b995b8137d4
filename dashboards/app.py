"""App: rate, errors and duration of one application, and what it needs for that."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from .frame import IN_ENVIRONMENT as IN
from .frame import Part, apps, dashboard, environments
from .panels import (
    ANY_IS_BAD,
    DAYS_LEFT,
    FULL,
    UP_OR_DOWN,
    Query,
    heat,
    lines,
    number,
    states,
)

OF = f'{IN}, app="$app"'
WINDOW = "[$__rate_interval]"
DEPLOYED = f"app_deploy_timestamp_seconds{{{OF}}}"


def quantile(share: float, histogram: str, by: str = "") -> str:
    """Return below which value a share of a histogram's observations is."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket{{{OF}}}{WINDOW})))"


def build() -> Dashboard:
    """Return the dashboard."""
    requests = f"http_requests_total{{{OF}}}"
    now = Part(
        "Now",
        (
            number(
                "Is it up?",
                "none",
                Query(f"min(app:up:min{{{OF}}})"),
                words=UP_OR_DOWN,
                why="Whether the live release runs on every machine.",
            ),
            number(
                "How many requests per second?",
                "reqps",
                Query(f"sum(app:http_requests:rate5m{{{OF}}})"),
                why="Over all machines, over five minutes.",
            ),
            number(
                "What share fails?",
                "percentunit",
                Query(f"max(app:http_errors:ratio_rate5m{{{OF}}})", "fails"),
                Query('max(app_objective:errors:ratio{app="$app"})', "allowed"),
                why="Answers with a status of 500 or more, and the share that its objective allows.",
                decimals=2,
            ),
            number(
                "Within what time are 95 % answered?",
                "s",
                Query(f"max(app:http_request_duration_seconds:p95_5m{{{OF}}})"),
                why="Over five minutes.",
            ),
            number(
                "When was the last release?",
                "dateTimeFromNow",
                Query(f"max({DEPLOYED}) * 1000"),
                why="When the live release got the traffic.",
            ),
            number(
                "How long is the certificate good?",
                "d",
                Query(f"(min(probe_ssl_earliest_cert_expiry{{{OF}}}) - time()) / 86400"),
                why="As a visitor is shown it. Certbot renews it 30 days before its end.",
                steps=DAYS_LEFT,
                decimals=0,
            ),
        ),
    )
    red = Part(
        "Rate, errors, duration",
        (
            lines(
                "How many requests, by machine?",
                "reqps",
                Query(f"app_host:http_requests:rate5m{{{OF}}}", "{{host}}"),
                why="Requests answered per second. Machines of a group ought to be alike.",
                stacked=True,
            ),
            lines(
                "What share fails, by machine?",
                "percentunit",
                Query(f"app_host:http_errors:ratio_rate5m{{{OF}}}", "{{host}}"),
                why="One machine alone points to the machine, all of them to the release or the database.",
            ),
            lines(
                "How long do answers take?",
                "s",
                Query(f"app:http_request_duration_seconds:p50_5m{{{OF}}}", "50 %"),
                Query(f"app:http_request_duration_seconds:p95_5m{{{OF}}}", "95 %"),
                Query(f"app:http_request_duration_seconds:p99_5m{{{OF}}}", "99 %"),
                why="Half, 95 and 99 of 100 requests are answered within this time.",
            ),
            heat(
                "How many requests take how long?",
                "s",
                f"sum by (le) (app_le:http_request_duration_seconds_bucket:rate5m{{{OF}}})",
                why="Each column is a moment, each row a duration; the darker, the more requests. Two bands are two kinds of requests, "
                "a band that climbs is saturation.",
            ),
            lines(
                "Which machine is slow?",
                "s",
                Query(f"app_host:http_request_duration_seconds:p95_5m{{{OF}}}", "{{host}}"),
                why="95 of 100 requests are answered within this time, by machine.",
                width=12,
                height=9,
            ),
            lines(
                "Which routes are asked most?",
                "reqps",
                Query(f"topk(8, sum by (method, route) (rate({requests}{WINDOW})))", "{{method}} {{route}}"),
                why="The eight busiest routes.",
            ),
            lines(
                "Which routes fail?",
                "reqps",
                Query(
                    f'topk(8, sum by (route, status) (rate({requests[:-1]}, status=~"5.."}}{WINDOW}))) or sum(rate({requests}{WINDOW})) * 0',
                    "{{route}} {{status}}",
                ),
                why="Answers with a status of 500 or more, by route. A line at zero without a name: none fails.",
            ),
            lines(
                "Which routes are slow?",
                "s",
                Query(f"topk(8, {quantile(0.95, 'http_request_duration_seconds', 'route')})", "{{route}}"),
                why="95 of 100 requests to the route are answered within this time.",
            ),
            lines(
                "What do clients do wrong?",
                "reqps",
                Query(
                    f'sum by (status) (rate({requests[:-1]}, status=~"4.."}}{WINDOW})) or sum(rate({requests}{WINDOW})) * 0',
                    "{{status}}",
                ),
                why="Answers with a status from 400 to 499. A sudden 401 or 429 is worth a look.",
                width=12,
            ),
            lines(
                "Does it answer from outside?",
                "percentunit",
                Query(f"site:probe_success:avg5m{{{OF}}}", "{{instance}}"),
                why="Share of probes over five minutes that got through name, Nginx, TLS and application. Works for applications without metrics too.",
                top=1,
                width=6,
            ),
            lines(
                "How long does a probe take?",
                "s",
                Query(f"site:probe_duration_seconds:avg5m{{{OF}}}", "{{instance}}"),
                why="From the name's lookup to the last byte.",
                width=6,
            ),
        ),
    )
    inside = Part(
        "Workers and memory",
        (
            lines(
                "Are there enough workers?",
                "none",
                Query(f"sum(app_workers{{{OF}}})", "workers"),
                Query(f"sum(http_requests_in_flight{{{OF}}})", "requests in flight"),
                why="More requests than workers for long means that requests share a worker; watch the durations.",
            ),
            lines(
                "Does a request wait for its worker?",
                "s",
                Query(quantile(0.5, "event_loop_lag_seconds"), "50 %"),
                Query(quantile(0.99, "event_loop_lag_seconds"), "99 %"),
                why="How much later than asked for the event loop wakes up: something in the code blocks it, or the CPU is busy.",
            ),
            lines(
                "How much memory does it take?",
                "bytes",
                Query(
                    f"sum by (host, unit, release) (unit_memory_bytes{{{OF}}})",
                    "{{host}} {{unit}} {{release}}",
                ),
                why="Memory of the units' control groups, file cache included. During a release there are two.",
                stacked=True,
            ),
            lines(
                "How much memory does a worker take?",
                "bytes",
                Query(f"max by (host) (unit_process_memory_pss_max_bytes{{{OF}}})", "largest on {{host}}"),
                Query(
                    f'sum by (host) (unit_memory_pss_bytes{{{OF}, unit="$app"}}) / sum by (host) (app_workers{{{OF}}})',
                    "each on {{host}}",
                ),
                why="What is shared is divided among those who share it. A largest one that grows while the others do not is a leak.",
            ),
            lines(
                "How close is it to its limit?",
                "percentunit",
                Query(f"max by (host) (app:memory:ratio{{{OF}}})", "{{host}}"),
                why="Memory against limits.memory. Where no limit is set there is no line.",
                top=1,
                steps=FULL,
            ),
            lines(
                "How much CPU does it take?",
                "none",
                Query(
                    f"sum by (host, unit) (rate(unit_cpu_seconds_total{{{OF}}}{WINDOW}))", "{{host}} {{unit}}"
                ),
                why="Cores that are busy for it: 1 is one core.",
                stacked=True,
            ),
            states(
                "When did its units run?",
                Query(f"max by (host, unit, release) (unit_active{{{OF}}})", "{{host}} {{unit}} {{release}}"),
                why="One band per unit and release: where two overlap, traffic moved.",
                words=UP_OR_DOWN,
                width=12,
                height=8,
            ),
            lines(
                "Did it restart?",
                "none",
                Query(
                    f"sum by (host, unit) (increase(unit_restarts_total{{{OF}}}[10m]))", "{{host}} {{unit}}"
                ),
                why="Restarts by systemd in ten minutes. A release is none.",
                width=6,
            ),
            lines(
                "Are there enough open files?",
                "percentunit",
                Query(
                    f"max by (host, unit) (unit_open_files{{{OF}}} / unit_open_files_limit{{{OF}}})",
                    "{{host}} {{unit}}",
                ),
                why="Open files of the process that has used most of its limit.",
                top=1,
                steps=FULL,
                width=6,
            ),
        ),
    )
    behind = Part(
        "Cache and database",
        (
            number(
                "What share of reads does the cache answer?",
                "percentunit",
                Query(f"max(app:cache_hits:ratio_rate5m{{{OF}}})"),
                why="Reads that needed no database. None means that nothing was read in five minutes.",
                decimals=0,
                height=8,
            ),
            lines(
                "What did the cache have?",
                "reqps",
                Query(f"sum by (result) (rate(cache_reads_total{{{OF}}}{WINDOW}))", "{{result}}"),
                why="hit: it was there. shared: it waited for another one's miss. miss: it asked the database. bypass: there was no cache.",
                stacked=True,
                width=10,
            ),
            lines(
                "Are there enough database connections?",
                "none",
                Query(f"sum(database_connections_in_use{{{OF}}})", "in use"),
                Query(f"sum(database_connections_allowed{{{OF}}})", "allowed"),
                why="Connections that requests hold, against those that the workers may open together.",
                width=10,
            ),
            number(
                "How full is the pool?",
                "percentunit",
                Query(f"max(app:pool_in_use:ratio{{{OF}}})"),
                why="Above 90 % requests wait for a connection.",
                steps=FULL,
                decimals=0,
            ),
            number(
                "Are all machines on one release?",
                "none",
                Query(f"max(app:releases:count{{{OF}}})", "releases"),
                why="More than one is normal for the minutes of a release.",
                steps=((None, "green"), (2, "orange")),
            ),
            number(
                "Did the last release succeed?",
                "none",
                Query(f"min(app_deploy_last_success{{{OF}}})"),
                words={"0": ("no", "red"), "1": ("yes", "green")},
                why="0 where the last run failed; the release before serves on.",
            ),
            number(
                "Has systemd given up?",
                "none",
                Query(f"max(unit_start_limit_hit{{{OF}}})"),
                words={"0": ("no", "green"), "1": ("yes", "red")},
                why="Crashed five times within a minute. It is tried again every five minutes.",
            ),
            number(
                "How many feeds are open?",
                "none",
                Query(f"sum(feeds{{{OF}}})"),
                why="Clients that follow /events.",
            ),
            number(
                "What fires?",
                "none",
                Query(f'count(ALERTS{{alertstate="firing", {OF}}}) or vector(0)', "alerts"),
                why="Alerts of this application that fire now.",
                steps=ANY_IS_BAD,
            ),
        ),
    )
    return dashboard(
        "app",
        "App",
        "Rate, errors and duration of one application, what it needs for that, and its releases as marks.",
        [environments(), apps(several=False)],
        [now, red, inside, behind],
        marks=DEPLOYED,
    )
