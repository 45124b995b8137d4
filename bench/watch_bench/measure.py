"""What is measured: processor time and memory of what watches, and how long its questions take."""

import json
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

from deploy_bench.lab import ROOT

from .lab import Lab

sys.path.insert(0, str(ROOT / "plugins/module_utils"))

from fleet_view.status.questions import filled

# What watches one machine, Grafana aside.
UNITS = (
    "prometheus",
    "prometheus-alertmanager",
    "prometheus-node-exporter",
    "prometheus-nginx-exporter",
    "prometheus-postgres-exporter",
    "prometheus-redis-exporter",
    "prometheus-blackbox-exporter",
    "mtail",
    "exporters-gateway",
)
# Points of three hours on a screen.
STEPS = 720
API = "http://127.0.0.1:9090/api/v1"
DASHBOARDS = ROOT / "roles/grafana/files/dashboards"

# Prints for each unit: name, processor seconds of its processes, bytes of its control group. The lab counts
# no processor time by unit, so it is read of the processes; what has ended is in its parent's figure.
TAKEN = """
import json, os, subprocess, sys
tick = os.sysconf("SC_CLK_TCK")
found = {}
for unit in sys.argv[1:]:
    shown = subprocess.run(["systemctl", "show", "-p", "MainPID", "-p", "MemoryCurrent", unit],
                           capture_output=True, text=True, check=True).stdout
    words = dict(line.split("=") for line in shown.split())
    seconds, left = 0.0, [words["MainPID"]]
    while left:
        pid = left.pop()
        stat = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
        seconds += sum(map(int, stat[11:15])) / tick
        left += open(f"/proc/{pid}/task/{pid}/children").read().split()
    found[unit] = [seconds, int(words["MemoryCurrent"])]
print(json.dumps(found))
"""
# Ten looks of the timer machine-figures: user and system seconds of each.
FIGURES = """
import os, subprocess, sys
sys.stdout.flush()
command = ["env", "PYTHONPATH=/usr/local/lib/fastapi-metal", "python3", "-m", "machine_figures", "collect"]
for _ in range(10):
    subprocess.run(command, check=True)
spent = os.times()
print((spent.children_user + spent.children_system) / 10)
"""
# Asks each question some times: JSON in, seconds of each and rows out.
ASK = """
import json, sys, time, urllib.parse, urllib.request
given = json.load(sys.stdin)
for asked in given["asked"]:
    spent = []
    for _ in range(given["times"]):
        words = urllib.parse.urlencode(asked["words"]).encode()
        begun = time.monotonic()
        answer = urllib.request.urlopen(given["url"] + asked["kind"], words, timeout=120).read()
        spent.append(time.monotonic() - begun)
    asked["seconds"] = spent
    asked["rows"] = len(json.loads(answer)["data"]["result"])
    del asked["words"]
print(json.dumps(given["asked"]))
"""


@dataclass(frozen=True)
class Rest:
    """What watching took while nothing else happened."""

    seconds: float
    cpu_percent: dict[str, float]
    memory_mb: dict[str, float]
    load: float


@dataclass(frozen=True)
class Fleet:
    """What Prometheus did with many hosts."""

    hosts: int
    minutes: float
    figures: dict[str, float]
    groups: dict[str, float]
    questions: list[dict[str, Any]]
    load: float


def taken(lab: Lab) -> dict[str, tuple[float, int]]:
    """Return processor seconds and memory of each unit, since its start."""
    found = json.loads(lab.root(f"python3 -c '{TAKEN}' {' '.join(UNITS)}"))
    return {unit: (seconds, memory) for unit, (seconds, memory) in found.items()}


def rest(lab: Lab, seconds: int) -> Rest:
    """Look twice, with some minutes between; add the timer that ends each time."""
    before, begun = taken(lab), time.monotonic()
    time.sleep(seconds)
    after, spent = taken(lab), time.monotonic() - begun
    percent = {unit: (after[unit][0] - before[unit][0]) / spent * 100 for unit in UNITS}
    percent["machine-figures"] = float(lab.root(f"python3 -c '{FIGURES}'")) / 30 * 100
    memory = {unit: after[unit][1] / (1 << 20) for unit in UNITS}
    return Rest(spent, percent, memory, load(lab))


def load(lab: Lab) -> float:
    """Return the load of the machine, which is that of its host."""
    return float(lab.root("cut -d' ' -f1 /proc/loadavg"))


def rows(lab: Lab, query: str) -> list[dict[str, Any]]:
    """Return the rows of a query."""
    answer = lab.root(f"curl -fsS --get --data-urlencode 'query={query}' {API}/query")
    found: list[dict[str, Any]] = json.loads(answer)["data"]["result"]
    return found


def number(lab: Lab, query: str) -> float:
    """Return the one value of a query, 0 where there is none."""
    found = rows(lab, query)
    return float(found[0]["value"][1]) if found else 0.0


FIGURES_OF_PROMETHEUS = {
    "series": "prometheus_tsdb_head_series",
    "samples a second": "rate(prometheus_tsdb_head_samples_appended_total[5m])",
    "targets": "count(up)",
    "targets up": "sum(up)",
    "longest scrape, s": 'max(scrape_duration_seconds{host=~"sim.*"})',
    "processor, %": 'rate(process_cpu_seconds_total{job="prometheus"}[5m]) * 100',
    "memory, MB": 'process_resident_memory_bytes{job="prometheus"} / 1048576',
    "rules": "sum(prometheus_rule_group_rules)",
    "longest group of rules, s": "max(max_over_time(prometheus_rule_group_last_duration_seconds[5m]))",
    "all groups of rules, s": "sum(prometheus_rule_group_last_duration_seconds)",
    "missed evaluations": "sum(increase(prometheus_rule_group_iterations_missed_total[5m]))",
    "failed evaluations": "sum(increase(prometheus_rule_evaluation_failures_total[5m]))",
}


def groups(lab: Lab) -> dict[str, float]:
    """Return how long each group of rules took at most, by name."""
    query = "max_over_time(prometheus_rule_group_last_duration_seconds[5m])"
    found = ((row["metric"]["rule_group"], row["value"][1]) for row in rows(lab, query))
    return {name.rpartition(";")[2]: float(seconds) for name, seconds in found}


def asked(minutes: float) -> list[dict[str, Any]]:
    """Return each query of each panel as Grafana sends it when everything is chosen that can be."""
    everything = {"environment": ".*", "__rate_interval": "1m", "__interval": "15s", "__range": "1h"}
    now = time.time()
    span = minutes * 60
    found = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        dashboard = json.loads(path.read_text())
        several = {row["name"] for row in dashboard["templating"]["list"] if row.get("multi")}
        chosen = {
            name: ".*" if name in several else one for name, one in (("app", "app3"), ("host", "sim003"))
        }
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                expr = filled(target["expr"], {**everything, **chosen})
                words: dict[str, Any] = {"query": expr}
                instant = target.get("instant", False)
                if not instant:
                    words |= {"start": now - span, "end": now, "step": span / STEPS}
                found.append(
                    {
                        "dashboard": dashboard["title"],
                        "panel": panel["title"],
                        "expr": expr,
                        "kind": "query" if instant else "query_range",
                        "words": words,
                    }
                )
    return found


def questions(lab: Lab, minutes: float, times: int) -> list[dict[str, Any]]:
    """Ask all of them, one after the other; the middle of each, the slowest first."""
    given = json.dumps({"url": f"{API}/", "asked": asked(minutes), "times": times})
    lab.root(f"cat > /root/asked.json <<'END'\n{given}\nEND\ncat > /root/ask.py <<'END'\n{ASK}\nEND")
    found: list[dict[str, Any]] = json.loads(lab.root("python3 /root/ask.py < /root/asked.json"))
    for row in found:
        row["seconds"] = round(statistics.median(row["seconds"]), 4)
    return sorted(found, key=lambda row: -float(row["seconds"]))


def fleet(lab: Lab, hosts: int, minutes: float, times: int) -> Fleet:
    """Look at Prometheus after some minutes with many hosts."""
    figures = {name: number(lab, query) for name, query in FIGURES_OF_PROMETHEUS.items()}
    return Fleet(hosts, minutes, figures, groups(lab), questions(lab, minutes, times), load(lab))
