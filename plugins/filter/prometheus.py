"""Filters of role prometheus: what the inventory says becomes targets, and nothing has to be listed twice."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible.errors import AnsibleFilterError

Variables = Mapping[str, Mapping[str, Any]]
Rows = list[dict[str, Any]]

_JOB = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,60}")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ADDRESS = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
# What a machine has where its variables say nothing: the defaults of role exporters.
_EXPORTERS = ("node",)
_GATEWAY = "127.0.0.1:9101"


def _measured(hostvars: Variables, host: str) -> list[str]:
    return list(hostvars[host].get("exporters_enabled", _EXPORTERS))


def _own(hostvars: Variables, host: str) -> list[str]:
    return sorted(hostvars[host].get("exporters_own") or {})


def _gateway(hostvars: Variables, host: str, here: str) -> tuple[str, str]:
    """Return scheme and address at which a machine is asked."""
    listen = str(hostvars[host].get("exporters_gateway_listen", _GATEWAY))
    if host == here:
        return "http", listen
    address = str(hostvars[host].get("exporters_gateway_address", "") or "")
    if not address:
        raise AnsibleFilterError(
            f"Prometheus on {here} cannot ask {host}, which answers on loopback alone: set its private "
            f"address in host_vars/{host}.yml, for example `exporters_gateway_address: 10.0.0.11`, or "
            "measure nothing there with `exporters_enabled: []`."
        )
    return "https", f"[{address}]:{listen.rpartition(':')[2]}" if ":" in address else (
        f"{address}:{listen.rpartition(':')[2]}"
    )


def _hosts(groups: Mapping[str, list[str]], hostvars: Variables) -> list[str]:
    return [host for host in sorted(groups["all"]) if _measured(hostvars, host)]


def prometheus_fleet(
    apps: Variables, groups: Mapping[str, list[str]], hostvars: Variables, here: str
) -> Rows:
    """Return what Prometheus on `here` asks: every exporter of every machine, and every public name.

    What a machine shows by itself (`exporters_own`) is asked like an exporter.
    """
    rows = []
    for host in _hosts(groups, hostvars):
        scheme, address = _gateway(hostvars, host, here)
        rows += [
            {
                "job": name,
                "targets": [address],
                "scheme": scheme,
                "metrics_path": f"/{name}",
                "labels": {"host": host, "instance": host},
            }
            for name in [*_measured(hostvars, host), *_own(hostvars, host)]
            if name != "probe"
        ]
    return rows + (_probes(apps, hostvars, here) if "probe" in _measured(hostvars, here) else [])


def _probes(apps: Variables, hostvars: Variables, here: str) -> Rows:
    """Return the public names, asked from this machine."""
    scheme, address = _gateway(hostvars, here, here)
    rows = []
    for name, app in sorted(apps.items()):
        path = str((app.get("web") or {}).get("path") or "/")
        names = [app["domain"], *(app.get("aliases") or [])]
        for domain in [name for name in names if not name.startswith("*.")]:
            url = f"https://{domain}{path}"
            rows.append(
                {
                    "job": "probe",
                    "targets": [address],
                    "scheme": scheme,
                    "metrics_path": "/probe",
                    "params": {"module": "site", "target": url},
                    "labels": {"host": here, "app": name, "instance": url},
                }
            )
    return rows


def prometheus_releases(
    apps: Variables, groups: Mapping[str, list[str]], hostvars: Variables, here: str
) -> list[str]:
    """Return the addresses at which machines say which releases of applications there are to ask."""
    found = []
    for host in _hosts(groups, hostvars):
        if any(_has_figures(app, host, groups) for app in apps.values()):
            scheme, address = _gateway(hostvars, host, here)
            found.append(f"{scheme}://{address}/releases?host={host}")
    return found


def _has_figures(app: Mapping[str, Any], host: str, groups: Mapping[str, list[str]]) -> bool:
    where = app.get("hosts", "web")
    runs = where == "all" or host in groups.get(where, [])
    return runs and (app.get("web") or {}).get("metrics", True) is not False


def prometheus_asked(groups: Mapping[str, list[str]], hostvars: Variables, here: str) -> list[str]:
    """Return the other machines that are asked, whose certificates must be known."""
    return [host for host in _hosts(groups, hostvars) if host != here]


def prometheus_target_groups(rows: Rows, host: str) -> dict[str, Rows]:
    """Return the targets of each job as Prometheus reads them from a file."""
    jobs: dict[str, Rows] = {}
    for row in rows:
        job, labels = str(row["job"]), dict(row.get("labels") or {})
        complaint = _complaint(job, row, labels)
        if complaint:
            raise AnsibleFilterError(f"prometheus_targets, job '{job}': {complaint}.")
        hidden = {
            "__metrics_path__": row.get("metrics_path") or "/metrics",
            "__scheme__": row.get("scheme") or "http",
        }
        hidden |= {f"__param_{name}": value for name, value in (row.get("params") or {}).items()}
        every = {"host": host} | hidden | labels
        jobs.setdefault(job, []).append(
            {"targets": list(row["targets"]), "labels": {key: str(every[key]) for key in sorted(every)}}
        )
    return dict(sorted(jobs.items()))


def prometheus_names(rows: Rows, alertmanagers: list[str], stores: Rows) -> Rows:
    """Return the names that Prometheus must find, each with the variable that holds it."""
    found = [
        (address, f"prometheus_targets, job '{row['job']}',") for row in rows for address in row["targets"]
    ]
    found += [(address, "prometheus_alertmanagers") for address in alertmanagers]
    names = [(str(address).rpartition(":")[0].strip("[]"), variable) for address, variable in found]
    names += [(urlsplit(str(store["url"])).hostname or "", "prometheus_remote_write") for store in stores]
    return [{"name": name, "variable": variable} for name, variable in sorted(set(names)) if name]


def prometheus_files(stores: Rows) -> Rows:
    """Return the files with secrets that other stores are fed with, wherever they stand in their entries."""

    def inside(value: Any) -> list[str]:
        if isinstance(value, Mapping):
            return [
                path
                for key, below in value.items()
                for path in ([str(below)] if str(key).endswith("_file") else inside(below))
            ]
        return []

    paths = sorted({path for store in stores for path in inside(store)})
    return [{"path": path, "user": "prometheus", "variable": "prometheus_remote_write"} for path in paths]


def prometheus_promises(
    apps: list[str], usual: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """Return what is promised for each application; one that nobody knows is a mistake."""
    for name in own:
        if name not in apps:
            raise AnsibleFilterError(
                f"prometheus_objectives names '{name}', which is none of the applications: "
                f"{', '.join(sorted(apps)) or 'there are none'}."
            )
    return {
        name: {key: float(value) for key, value in {**usual, **own.get(name, {})}.items()} for name in apps
    }


def _complaint(job: str, row: Mapping[str, Any], labels: Mapping[str, Any]) -> str | None:
    """Return what Prometheus could not read, and what would be right."""
    if not _JOB.fullmatch(job):
        return "the name may hold letters, digits, '.', '_' and '-' alone, like 'node'"
    for address in row["targets"]:
        if not _ADDRESS.fullmatch(str(address)):
            return f"target '{address}' must be an address with a port, like '10.0.0.11:9100'"
    for label in labels:
        if not _LABEL.fullmatch(str(label)):
            return f"label '{label}' may hold letters, digits and '_' alone, like 'datacenter'"
    return None


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "prometheus_asked": prometheus_asked,
            "prometheus_files": prometheus_files,
            "prometheus_fleet": prometheus_fleet,
            "prometheus_names": prometheus_names,
            "prometheus_promises": prometheus_promises,
            "prometheus_releases": prometheus_releases,
            "prometheus_target_groups": prometheus_target_groups,
        }
