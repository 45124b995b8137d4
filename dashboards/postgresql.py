"""PostgreSQL: is it up, is there room, what is slow."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from .frame import IN_ENVIRONMENT as IN
from .frame import Part, dashboard, environments, hosts
from .panels import ANY_IS_WORTH_A_LOOK, FULL, UP_OR_DOWN, Query, lines, number, states

OF = f'{IN}, host=~"$host"'
DB = f'{OF}, datname!~"|template.*"'
WINDOW = "[$__rate_interval]"


def per_second(metric: str, by: str = "datname") -> str:
    """Return how fast a counter of the databases grows."""
    return f"sum by ({by}) (rate({metric}{{{DB}}}{WINDOW}))"


def build() -> Dashboard:
    """Return the dashboard."""
    hit, read = (
        f"sum(rate(pg_stat_database_blks_hit{{{DB}}}{WINDOW}))",
        f"sum(rate(pg_stat_database_blks_read{{{DB}}}{WINDOW}))",
    )
    by_hit = per_second("pg_stat_database_blks_hit")
    now = Part(
        "Now",
        (
            number(
                "Is it up?",
                "none",
                Query(f"min(pg_up{{{OF}}})"),
                words=UP_OR_DOWN,
                why="Whether the exporter could log in.",
            ),
            number(
                "What share of connections is taken?",
                "percentunit",
                Query(f"max(postgres:connections:ratio{{{OF}}})"),
                why="At 100 % nobody gets in but the administrator. During a release applications need twice theirs.",
                steps=FULL,
                decimals=0,
            ),
            number(
                "How many transactions per second?",
                "none",
                Query(f"sum(postgres_db:commits:rate5m{{{OF}}})"),
                why="Committed, over all databases.",
                decimals=1,
            ),
            number(
                "What share of reads needs no disk?",
                "percentunit",
                Query(f"{hit} / ({hit} + {read})"),
                why="Pages that were in PostgreSQL's own memory. Below 90 % for long: shared_buffers is small for the data in use.",
                steps=((None, "orange"), (0.9, "green")),
                decimals=1,
            ),
            number(
                "How long does the oldest transaction run?",
                "s",
                Query(f"max(pg_stat_activity_max_tx_duration{{{OF}}})"),
                why="One that is open for hours keeps vacuum from cleaning, and may hold locks.",
                steps=((None, "green"), (300, "orange"), (3600, "red")),
            ),
            number(
                "Were there deadlocks?",
                "none",
                Query(f"sum(increase(pg_stat_database_deadlocks{{{DB}}}[1h]))", "in an hour"),
                why="Transactions that waited for each other; PostgreSQL has ended one of each pair.",
                steps=ANY_IS_WORTH_A_LOOK,
                decimals=0,
            ),
        ),
    )
    use = Part(
        "Connections and transactions",
        (
            lines(
                "Who is connected?",
                "none",
                Query(f"sum by (datname) (pg_stat_database_numbackends{{{DB}}})", "{{datname}}"),
                Query(f"max(pg_settings_max_connections{{{OF}}})", "allowed"),
                why="Connections by database, and how many are allowed together.",
            ),
            lines(
                "What do the connections do?",
                "none",
                Query(f"sum by (state) (pg_stat_activity_count{{{DB}}})", "{{state}}"),
                why="`idle in transaction` for long is an application that forgot to commit.",
            ),
            lines(
                "How many transactions?",
                "ops",
                Query(f"postgres_db:commits:rate5m{{{DB}}}", "{{datname}}"),
                Query(per_second("pg_stat_database_xact_rollback"), "{{datname}} rolled back"),
                why="Committed and rolled back, per second.",
            ),
            lines(
                "What is read and written?",
                "ops",
                Query(per_second("pg_stat_database_tup_fetched"), "{{datname}} read"),
                Query(per_second("pg_stat_database_tup_inserted"), "{{datname}} inserted"),
                Query(per_second("pg_stat_database_tup_updated"), "{{datname}} updated"),
                Query(per_second("pg_stat_database_tup_deleted"), "{{datname}} deleted"),
                why="Rows per second.",
            ),
            lines(
                "Who waits for locks?",
                "none",
                Query(f"sum by (mode) (pg_locks_count{{{DB}}})", "{{mode}}"),
                why="Locks that are held, by kind. accessexclusivelock stops everybody else at that table, as a migration may.",
            ),
            states(
                "When was it down?",
                Query(f"min by (host) (pg_up{{{OF}}})", "{{host}}"),
                words=UP_OR_DOWN,
                why="Red while the exporter could not log in.",
                width=8,
                height=8,
            ),
        ),
    )
    room = Part(
        "Room and work",
        (
            lines(
                "How large are the databases?",
                "bytes",
                Query(f"max by (datname) (pg_database_size_bytes{{{DB}}})", "{{datname}}"),
                why="On disk, indexes included.",
                stacked=True,
            ),
            lines(
                "Do queries spill to disk?",
                "Bps",
                Query(per_second("pg_stat_database_temp_bytes"), "{{datname}}"),
                why="Temporary files: sorts and joins that work_mem does not hold.",
            ),
            lines(
                "How long do reads wait for the disk?",
                "percentunit",
                Query(per_second("pg_stat_database_blk_read_time") + " / 1000", "{{datname}}"),
                why="Share of a second; zero where track_io_timing is off.",
            ),
            lines(
                "Is replication behind?",
                "s",
                Query(f'max by (host) ({{__name__=~"pg_replication_lag(_seconds)?", {OF}}})', "{{host}}"),
                why="Seconds of changes that a replica has not applied yet. Zero on a machine that is no replica.",
            ),
            lines(
                "What share of reads needs no disk?",
                "percentunit",
                Query(
                    f"{by_hit} / ({by_hit} + {per_second('pg_stat_database_blks_read')})",
                    "{{datname}}",
                ),
                why="By database.",
                top=1,
            ),
            lines(
                "How much memory and CPU does it take?",
                "bytes",
                Query(f'sum by (host) (unit_memory_bytes{{{OF}, unit=~"postgresql.*"}})', "{{host}}"),
                why="Memory of its control group, file cache included.",
            ),
        ),
    )
    return dashboard(
        "postgresql",
        "PostgreSQL",
        "Whether the database is up, who uses it, how much room there is and what is slow.",
        [environments(), hosts("pg_up", several=True)],
        [now, use, room],
        marks=f"app_deploy_timestamp_seconds{{{IN}}}",
    )
