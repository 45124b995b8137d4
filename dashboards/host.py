"""Host: use, saturation and errors of one machine's CPU, memory, disks and network."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from .frame import IN_ENVIRONMENT as IN
from .frame import Part, dashboard, environments, hosts
from .panels import ANY_IS_BAD, ANY_IS_WORTH_A_LOOK, FULL, UP_OR_DOWN, YES_OR_NO, Query, bars, lines, number

OF = f'{IN}, host="$host"'
WINDOW = "[$__rate_interval]"


def build() -> Dashboard:
    """Return the dashboard."""
    now = Part(
        "Now",
        (
            number(
                "Is it up?",
                "none",
                Query(f"min(host:up:min{{{OF}}})"),
                words=UP_OR_DOWN,
                why="Whether Prometheus gets its figures.",
            ),
            number(
                "How long has it been up?",
                "s",
                Query(f"max(node_time_seconds{{{OF}}} - node_boot_time_seconds{{{OF}}})"),
                why="Since the last boot.",
            ),
            number(
                "How many units have failed?",
                "none",
                Query(f"max(units_failed{{{OF}}})"),
                why="systemctl --failed names them.",
                steps=ANY_IS_BAD,
            ),
            number(
                "Does it want a reboot?",
                "none",
                Query(f"max(host_reboot_required{{{OF}}})"),
                words=YES_OR_NO,
                why="An update of the kernel or of a library in use waits for it.",
            ),
            number(
                "How many security updates wait?",
                "none",
                Query(f"max(host_security_updates_pending{{{OF}}})"),
                why="They install themselves at night, unless common_unattended_upgrades is off.",
                steps=ANY_IS_WORTH_A_LOOK,
            ),
            number(
                "How wrong is its clock?",
                "s",
                Query(f"max(abs(node_timex_offset_seconds{{{OF}}}))"),
                why="As the kernel estimates it. Certificates and logs of several machines need it below a second.",
                steps=((None, "green"), (0.1, "orange"), (1, "red")),
            ),
        ),
    )
    cpu = Part(
        "CPU",
        (
            lines(
                "How busy is the CPU, and with what?",
                "percentunit",
                Query(
                    f'sum by (mode) (rate(node_cpu_seconds_total{{{OF}, mode!="idle"}}{WINDOW})) / scalar(count(count by (cpu) (node_cpu_seconds_total{{{OF}}})))',
                    "{{mode}}",
                ),
                why="Share of all cores. iowait is idle and waits for a disk; steal was given to another virtual machine.",
                stacked=True,
                top=1,
            ),
            lines(
                "Do processes wait for a core?",
                "none",
                Query(f"host:load1:per_cpu{{{OF}}}", "load per core"),
                why="Processes that run or want to, for each core. Above 1 for long, some wait.",
                steps=((None, "green"), (1, "orange"), (2, "red")),
            ),
            lines(
                "Who takes it?",
                "none",
                Query(f"topk(8, sum by (unit) (rate(unit_cpu_seconds_total{{{OF}}}{WINDOW})))", "{{unit}}"),
                why="The eight busiest services; 1 is one core.",
                stacked=True,
            ),
        ),
    )
    memory = Part(
        "Memory",
        (
            lines(
                "Where is the memory?",
                "bytes",
                Query(
                    f"node_memory_MemTotal_bytes{{{OF}}} - node_memory_MemAvailable_bytes{{{OF}}}", "in use"
                ),
                Query(
                    f"node_memory_MemAvailable_bytes{{{OF}}} - node_memory_MemFree_bytes{{{OF}}}",
                    "cache that can go",
                ),
                Query(f"node_memory_MemFree_bytes{{{OF}}}", "free"),
                why="Cache that can go is as good as free. What counts is `in use`.",
                stacked=True,
            ),
            lines(
                "Do processes wait for memory?",
                "percentunit",
                Query(f"rate(node_pressure_memory_waiting_seconds_total{{{OF}}}{WINDOW})", "waiting"),
                why="Share of time in which something waited for memory (PSI). Above 10 % the machine is too small.",
                steps=((None, "green"), (0.1, "orange"), (0.4, "red")),
            ),
            lines(
                "Who takes it?",
                "bytes",
                Query(f"topk(8, sum by (unit) (unit_memory_bytes{{{OF}}}))", "{{unit}}"),
                why="The eight largest services, their file cache included.",
                stacked=True,
            ),
            lines(
                "Does it swap?",
                "Bps",
                Query(f"rate(node_vmstat_pswpin{{{OF}}}{WINDOW}) * 4096", "read back"),
                Query(f"rate(node_vmstat_pswpout{{{OF}}}{WINDOW}) * 4096", "put away"),
                why="What was put away once and stays there does no harm; what is read back all the time does.",
                width=12,
            ),
            lines(
                "How much memory is in use, against what is there?",
                "percentunit",
                Query(f"host:memory_used:ratio{{{OF}}}", "in use"),
                why="Share that is taken and could not be freed.",
                top=1,
                steps=FULL,
                width=12,
            ),
        ),
    )
    disks = Part(
        "Disks",
        (
            bars(
                "How full are the file systems?",
                "percentunit",
                Query(f"host:disk_used:ratio{{{OF}}}", "{{mountpoint}}"),
                Query(f"host:inodes_used:ratio{{{OF}}}", "{{mountpoint}} (inodes)"),
                why="As everybody but root sees it; inodes are what many small files use up.",
                steps=FULL,
            ),
            lines(
                "Will one be full in a week?",
                "percentunit",
                Query(
                    f"clamp(predict_linear(host:disk_used:ratio{{{OF}}}[6h], 7 * 86400), 0, 2)",
                    "{{mountpoint}}",
                ),
                why="What the last six hours lead to in a week. Above 100 % it will be full before.",
                steps=((None, "green"), (1, "red")),
            ),
            lines(
                "How busy are the disks?",
                "percentunit",
                Query(f"rate(node_disk_io_time_seconds_total{{{OF}}}{WINDOW})", "{{device}}"),
                why="Share of time in which a disk had something to do. A fast disk can take more at 100 %.",
                top=1,
            ),
            lines(
                "How much is read and written?",
                "Bps",
                Query(f"sum(rate(node_disk_read_bytes_total{{{OF}}}{WINDOW}))", "read"),
                Query(f"sum(rate(node_disk_written_bytes_total{{{OF}}}{WINDOW}))", "written"),
                why="Over all disks.",
                width=12,
            ),
            lines(
                "Do processes wait for a disk?",
                "percentunit",
                Query(f"rate(node_pressure_io_waiting_seconds_total{{{OF}}}{WINDOW})", "waiting"),
                why="Share of time in which something waited for a disk (PSI).",
                width=12,
            ),
        ),
    )
    network = Part(
        "Network and limits",
        (
            lines(
                "How much goes over the network?",
                "Bps",
                Query(f"host:network_receive_bytes:rate5m{{{OF}}}", "received"),
                Query(f"host:network_transmit_bytes:rate5m{{{OF}}}", "sent"),
                why="Over all interfaces but the machine's own.",
            ),
            lines(
                "Does the network lose anything?",
                "pps",
                Query(
                    f"sum(rate(node_network_receive_errs_total{{{OF}}}{WINDOW}) + rate(node_network_receive_drop_total{{{OF}}}{WINDOW}))",
                    "received",
                ),
                Query(
                    f"sum(rate(node_network_transmit_errs_total{{{OF}}}{WINDOW}) + rate(node_network_transmit_drop_total{{{OF}}}{WINDOW}))",
                    "sent",
                ),
                why="Packets with errors and packets that were dropped.",
            ),
            lines(
                "Are there enough open files?",
                "percentunit",
                Query(f"node_filefd_allocated{{{OF}}} / node_filefd_maximum{{{OF}}}", "in use"),
                why="Of all processes together, against what the kernel allows.",
                top=1,
                steps=FULL,
            ),
            lines(
                "How many connections are there?",
                "none",
                Query(f"node_netstat_Tcp_CurrEstab{{{OF}}}", "established"),
                Query(f"node_sockstat_TCP_tw{{{OF}}}", "closed, kept for a minute"),
                why="TCP connections of the machine.",
                width=12,
            ),
            lines(
                "Does anything restart?",
                "none",
                Query(f"sum by (unit) (increase(unit_restarts_total{{{OF}}}[10m]))", "{{unit}}"),
                why="Restarts by systemd in ten minutes, by service.",
                width=12,
            ),
        ),
    )
    return dashboard(
        "host",
        "Host",
        "Use, saturation and errors of one machine: CPU, memory, disks, network.",
        [environments(), hosts(several=False)],
        [now, cpu, memory, disks, network],
        marks=f"app_deploy_timestamp_seconds{{{OF}}}",
    )
