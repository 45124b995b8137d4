"""Nginx and TLS: what comes in, and how long certificates are good."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from .frame import IN_ENVIRONMENT as IN
from .frame import Part, dashboard, environments, hosts
from .panels import DAYS_LEFT, UP_OR_DOWN, Column, Query, bars, grid, lines, number, states

OF = f'{IN}, host=~"$host"'
WINDOW = "[$__rate_interval]"
LEFT = f"certificate_expiry_timestamp_seconds{{{OF}}} - time()"
SHOWN = f"probe_ssl_earliest_cert_expiry{{{OF}}} - time()"


def build() -> Dashboard:
    """Return the dashboard."""
    now = Part(
        "Now",
        (
            number(
                "Does Nginx answer everywhere?",
                "none",
                Query(f"min(nginx_up{{{OF}}})"),
                words={"0": ("no", "red"), "1": ("yes", "green")},
                why="Whether every Nginx shows its status.",
            ),
            number(
                "How many requests per second?",
                "reqps",
                Query(f"sum(nginx:requests:rate5m{{{OF}}})"),
                why="Over all sites and machines, files and redirects among them.",
            ),
            number(
                "How many connections are open?",
                "none",
                Query(f"sum(nginx:connections_active:sum{{{OF}}})"),
                why="Of visitors and of Nginx's own towards nothing else: sockets of applications do not count.",
            ),
            number(
                "How many sites do not answer?",
                "none",
                Query(f"count(probe_success{{{OF}}} == 0) or vector(0)", "sites"),
                why="Names that a probe over HTTPS found without an answer.",
                steps=((None, "green"), (1, "red")),
            ),
            number(
                "When does the next certificate end?",
                "d",
                Query(f"min({LEFT}) / 86400"),
                why="The shortest of all certificates on disk. Certbot renews 30 days before the end.",
                steps=DAYS_LEFT,
                decimals=0,
            ),
            number(
                "Is what is shown what is on disk?",
                "d",
                Query(f"(min({LEFT}) - min({SHOWN})) / 86400"),
                why="Days by which the certificate that visitors see is older than that on disk. Above 0, Nginx was not reloaded.",
                steps=((None, "green"), (1, "red")),
                decimals=0,
            ),
        ),
    )
    traffic = Part(
        "Connections and requests",
        (
            lines(
                "How many requests, by machine?",
                "reqps",
                Query(f"nginx:requests:rate5m{{{OF}}}", "{{host}}"),
                why="Requests per second over all sites.",
                stacked=True,
            ),
            lines(
                "What do the connections do?",
                "none",
                Query(f"sum(nginx_connections_reading{{{OF}}})", "reading a request"),
                Query(f"sum(nginx_connections_writing{{{OF}}})", "answering"),
                Query(f"sum(nginx_connections_waiting{{{OF}}})", "kept open"),
                why="Connections that are kept open cost little. Many that are answered for long mean slow applications or slow visitors.",
                stacked=True,
            ),
            lines(
                "Is a visitor refused?",
                "cps",
                Query(
                    f"sum by (host) (rate(nginx_connections_accepted{{{OF}}}{WINDOW}) - rate(nginx_connections_handled{{{OF}}}{WINDOW}))",
                    "{{host}}",
                ),
                why="Connections that were accepted and not handled: worker_connections is too small.",
            ),
            states(
                "When did Nginx not answer?",
                Query(f"min by (host) (nginx_up{{{OF}}})", "{{host}}"),
                why="Red while the exporter did not get its status.",
                words=UP_OR_DOWN,
            ),
            lines(
                "How many new connections?",
                "cps",
                Query(f"sum by (host) (rate(nginx_connections_accepted{{{OF}}}{WINDOW}))", "{{host}}"),
                why="Far more than usual for the same requests: visitors cannot keep connections open.",
                width=12,
                height=6,
            ),
        ),
    )
    sites = Part(
        "What visitors were answered",
        (
            lines(
                "How many requests, by site?",
                "reqps",
                Query(f"sum by (site) (rate(site_requests_total{{{OF}}}{WINDOW}))", "{{site}}"),
                why="Requests over HTTPS that Nginx has answered, by whatever it answered them: files, the micro-cache, the application.",
                stacked=True,
            ),
            lines(
                "Which site fails?",
                "reqps",
                Query(
                    f'sum by (site, status) (rate(site_requests_total{{{OF}, status=~"5.."}}{WINDOW})) or sum(rate(site_requests_total{{{OF}}}{WINDOW})) * 0',
                    "{{site}} {{status}}",
                ),
                why="Answers with a status of 500 or more: 502 and 504 are Nginx's own, when an application is away or silent. A line at zero without a name: none fails.",
            ),
            lines(
                "How long do visitors wait, by site?",
                "s",
                Query(
                    f"histogram_quantile(0.95, sum by (site, le) (rate(site_request_duration_seconds_bucket{{{OF}}}{WINDOW})))",
                    "{{site}}",
                ),
                why="95 of 100 requests are answered within this time, slow lines of visitors included.",
            ),
            lines(
                "What did the micro-cache have?",
                "reqps",
                Query(f"sum by (result) (rate(site_cache_total{{{OF}}}{WINDOW}))", "{{result}}"),
                why="HIT: it was there. STALE, UPDATING: what was there was shown while it is renewed. MISS, EXPIRED: the application was asked.",
                stacked=True,
                width=12,
            ),
            lines(
                "What share does the micro-cache answer?",
                "percentunit",
                Query(f"max by (app) (app:micro_cache_hits:ratio_rate5m{{{IN}}})", "{{app}}"),
                why="Of the requests that it may answer (web.cache of the application). Without a line nothing was asked of it.",
                top=1,
                width=12,
            ),
        ),
    )
    tls = Part(
        "Sites and certificates",
        (
            bars(
                "Which site answers?",
                "percentunit",
                Query(f"site:probe_success:avg5m{{{IN}}}", "{{instance}}"),
                why="Share of probes over five minutes that got an answer.",
                steps=((None, "red"), (0.9, "orange"), (1, "green")),
            ),
            lines(
                "Where does a request's time go?",
                "s",
                Query(f"avg by (phase) (probe_http_duration_seconds{{{OF}}})", "{{phase}}"),
                why="resolve: the name. connect: TCP. tls: the handshake. processing: Nginx and the application. transfer: the answer.",
                stacked=True,
            ),
            lines(
                "Which site is slow?",
                "s",
                Query(f"site:probe_duration_seconds:avg5m{{{IN}}}", "{{instance}}"),
                why="A whole probe, from the name's lookup to the last byte.",
            ),
            grid(
                "How long is each certificate good?",
                "site",
                Column("On disk", f"min by (site) ({LEFT}) / 86400", "d", DAYS_LEFT, decimals=1),
                why="By site, as it lies on disk.",
                width=12,
            ),
            grid(
                "What do visitors see?",
                "instance",
                Column("Status", f"max by (instance) (probe_http_status_code{{{OF}}})"),
                Column("Certificate", f"min by (instance) ({SHOWN}) / 86400", "d", DAYS_LEFT, decimals=1),
                Column(
                    "TLS", f"max by (instance, version) (probe_tls_version_info{{{OF}}})", label="version"
                ),
                why="As the probe sees each name: status, days left, version of TLS.",
                width=12,
            ),
        ),
    )
    return dashboard(
        "nginx",
        "Nginx and TLS",
        "What comes in over Nginx, what visitors are answered, and how long certificates are good.",
        [environments(), hosts("nginx_up", several=True)],
        [now, traffic, sites, tls],
        marks=f"app_deploy_timestamp_seconds{{{OF}}}",
    )
