"""Valkey: is it up, does it hit, is there room."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from .frame import IN_ENVIRONMENT as IN
from .frame import Part, dashboard, environments, hosts
from .panels import ANY_IS_WORTH_A_LOOK, FULL, UP_OR_DOWN, Query, lines, number, states

OF = f'{IN}, host=~"$host"'
WINDOW = "[$__rate_interval]"


def build() -> Dashboard:
    """Return the dashboard."""
    now = Part(
        "Now",
        (
            number(
                "Is it up?",
                "none",
                Query(f"min(redis_up{{{OF}}})"),
                words=UP_OR_DOWN,
                why="Whether the exporter could log in.",
            ),
            number(
                "What share of reads hits?",
                "percentunit",
                Query(f"max(redis:hits:ratio_rate5m{{{OF}}})"),
                why="Reads of a key that was there. None: nothing was read in five minutes.",
                decimals=0,
            ),
            number(
                "How full is it?",
                "percentunit",
                Query(f"max(redis:memory_used:ratio{{{OF}}})"),
                why="Against maxmemory. Full is normal for a cache, as long as nothing worth keeping is evicted.",
                decimals=0,
                steps=FULL,
            ),
            number(
                "How many clients are connected?",
                "none",
                Query(f"sum(redis_connected_clients{{{OF}}})"),
                why="Each worker keeps a few connections.",
            ),
            number(
                "How many commands per second?",
                "ops",
                Query(f"sum(rate(redis_commands_processed_total{{{OF}}}{WINDOW}))"),
                why="Over all clients.",
                decimals=1,
            ),
            number(
                "Was a client refused?",
                "none",
                Query(f"sum(increase(redis_rejected_connections_total{{{OF}}}[1h]))", "in an hour"),
                why="More clients than maxclients.",
                steps=ANY_IS_WORTH_A_LOOK,
                decimals=0,
            ),
        ),
    )
    use = Part(
        "Use",
        (
            lines(
                "Does the cache hit?",
                "percentunit",
                Query(f"redis:hits:ratio_rate5m{{{OF}}}", "{{host}}"),
                why="Share of reads of a key that was there.",
                top=1,
            ),
            lines(
                "What is asked of it?",
                "ops",
                Query(f"topk(8, sum by (cmd) (rate(redis_commands_total{{{OF}}}{WINDOW})))", "{{cmd}}"),
                why="The eight commands that are used most.",
                stacked=True,
            ),
            lines(
                "How long does a command take?",
                "s",
                Query(
                    f"sum by (host) (rate(redis_commands_duration_seconds_total{{{OF}}}{WINDOW})) / sum by (host) (rate(redis_commands_total{{{OF}}}{WINDOW}))",
                    "{{host}}",
                ),
                why="On average, in the server alone.",
            ),
            lines(
                "How much memory does it take?",
                "bytes",
                Query(f"redis_memory_used_bytes{{{OF}}}", "used on {{host}}"),
                Query(f"redis_memory_max_bytes{{{OF}}} > 0", "allowed on {{host}}"),
                why="Used by data, against maxmemory where one is set.",
            ),
            lines(
                "Is anything evicted?",
                "ops",
                Query(f"redis:evictions:rate5m{{{OF}}}", "{{host}} evicted"),
                Query(f"sum by (host) (rate(redis_expired_keys_total{{{OF}}}{WINDOW}))", "{{host}} expired"),
                why="Evicted: thrown out for want of room. Expired: its time was over.",
            ),
            lines(
                "How many keys are there?",
                "none",
                Query(f"sum by (host) (redis_db_keys{{{OF}}})", "{{host}}"),
                why="Over all databases.",
            ),
            states(
                "When was it down?",
                Query(f"min by (host) (redis_up{{{OF}}})", "{{host}}"),
                words=UP_OR_DOWN,
                why="Red while the exporter could not log in. Applications go on without it, slower.",
            ),
            lines(
                "How much goes over the network?",
                "Bps",
                Query(f"sum(rate(redis_net_input_bytes_total{{{OF}}}{WINDOW}))", "received"),
                Query(f"sum(rate(redis_net_output_bytes_total{{{OF}}}{WINDOW}))", "sent"),
                why="Over all clients.",
                width=12,
                height=6,
            ),
        ),
    )
    return dashboard(
        "valkey",
        "Valkey",
        "Whether the cache is up, hits, and has room.",
        [environments(), hosts("redis_up", several=True)],
        [now, use],
    )
