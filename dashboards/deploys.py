"""Deploys: what runs where, since when, and what a release has done to its visitors."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from .frame import IN_ENVIRONMENT as IN
from .frame import Part, apps, dashboard, environments, uid
from .panels import DONE_OR_FAILED, UP_OR_DOWN, Column, Query, grid, lines, link_to, number, states

OF = f'{IN}, app=~"$app", app!=""'
DEPLOYED = f"app_deploy_timestamp_seconds{{{OF}}}"


def build() -> Dashboard:
    """Return the dashboard."""
    now = Part(
        "Now",
        (
            number(
                "Did the last runs succeed?",
                "none",
                Query(f"min by (app) (app_deploy_last_success{{{OF}}})", "{{app}}"),
                words=DONE_OR_FAILED,
                why="The last release or rollback of each application. After a failed one the release before serves on.",
                width=6,
            ),
            number(
                "Are all machines on one release?",
                "none",
                Query(f"max by (app) (app:releases:count{{{OF}}})", "{{app}}"),
                steps=((None, "green"), (2, "orange")),
                why="Releases that are live at once. Two are normal for the minutes of a release; for longer, the next run puts all machines in order.",
                width=6,
            ),
            number(
                "When was the last run?",
                "dateTimeFromNow",
                Query(f"max by (app) (app_deploy_last_timestamp_seconds{{{OF}}}) * 1000", "{{app}}"),
                why="Also a failed one.",
                width=6,
            ),
            number(
                "Is somebody at it now?",
                "s",
                Query(f"max by (app) (app_deploy_lock_age_seconds{{{OF}}})", "{{app}}"),
                steps=((None, "green"), (1, "blue"), (1800, "orange")),
                why="For how long a run has held the lease. 0: nobody is.",
                width=6,
            ),
        ),
    )
    what = Part(
        "What runs where",
        (
            grid(
                "Which release does each application run?",
                "app",
                Column("Release", f"max by (app, release) (app_release_info{{{OF}}})", label="release"),
                Column("Traffic since", f"max by (app) ({DEPLOYED}) * 1000", "dateTimeAsIso"),
                Column("Machines", f"count by (app) (app_release_info{{{OF}}})"),
                Column("State", f"min by (app) (app:up:min{{{OF}}})", words=UP_OR_DOWN),
                why="One row per application and live release.",
                width=12,
                links={"app": link_to(uid("app"), app="app")},
            ),
            grid(
                "Which version is on which machine?",
                "host",
                Column(
                    "Application",
                    f"max by (host, app, release, version) (app_release_info{{{OF}}})",
                    label="app",
                ),
                why="One row per machine and application.",
                width=12,
            ),
            states(
                "When did which release run?",
                Query(
                    f'max by (app, host, release) (unit_active{{{OF}, release!=""}})',
                    "{{app}} {{host}} {{release}}",
                ),
                words=UP_OR_DOWN,
                why="Where two bands of an application overlap, traffic moved from one to the other.",
                width=24,
                height=9,
            ),
        ),
    )
    effect = Part(
        "What it did to visitors",
        (
            lines(
                "Did requests go on?",
                "reqps",
                Query(f"app:http_requests:rate5m{{{OF}}}", "{{app}}"),
                why="A release is a line at the top; a dip there is requests that did not come through.",
            ),
            lines(
                "Did it bring errors?",
                "percentunit",
                Query(f"app:http_errors:ratio_rate5m{{{OF}}}", "{{app}}"),
                why="Share of answers with a status of 500 or more.",
            ),
            lines(
                "Is it slower than before?",
                "s",
                Query(f"app:http_request_duration_seconds:p95_5m{{{OF}}}", "{{app}}"),
                why="95 of 100 requests are answered within this time. A new release starts cold.",
            ),
            lines(
                "Does a new release need more memory?",
                "bytes",
                Query(f"sum by (app, release) (unit_memory_bytes{{{OF}}})", "{{app}} {{release}}"),
                why="By release, over all machines.",
                width=12,
            ),
            lines(
                "Does it crash?",
                "none",
                Query(
                    f"sum by (app, release) (increase(unit_restarts_total{{{OF}}}[10m]))",
                    "{{app}} {{release}}",
                ),
                why="Restarts by systemd in ten minutes, by release.",
                width=12,
            ),
        ),
    )
    return dashboard(
        "deploys",
        "Deploys",
        "What runs where, since when, and what a release has done to its visitors.",
        [environments(), apps(several=True)],
        [now, what, effect],
        marks=DEPLOYED,
        since="now-24h",
    )
