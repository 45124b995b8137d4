"""Filters that read what each role needs out of the one dictionary `apps`.

They leave out what another machine does, and fill in the defaults of roles/app/meta/argument_specs.yml.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from ansible.errors import AnsibleFilterError
from fastapi_metal.apps.specs import complete, runs_on

Apps = Mapping[str, Mapping[str, Any]]
Rows = list[dict[str, Any]]


def app_names(apps: Apps, group_names: list[str]) -> list[str]:
    """Return the names of the applications that run on a machine of these groups, in order."""
    return sorted(name for name, app in apps.items() if runs_on(app, group_names))


def entries(apps: Apps, names: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return name and completed entry of the applications named."""
    found = []
    for name in names:
        try:
            found.append((str(name), complete(apps[name])))
        except ValueError as error:
            raise AnsibleFilterError(f"apps.{name} in group_vars/all/apps.yml: {error}") from error
    return found


def nginx_sites(apps: Apps, group_names: list[str]) -> Rows:
    """Return one site for each application of this machine."""
    return [
        {
            "name": name,
            "server_names": [app["domain"], *app["aliases"]],
            "upstream": f"unix:/srv/{name}/current/app.sock",
            **app["web"],
            "static": [
                {
                    "path": url,
                    "roots": [f"/srv/{name}/current/static", f"/srv/{name}/previous/static"],
                }
                for url in app["web"]["static"]
            ],
        }
        for name, app in entries(apps, app_names(apps, group_names))
    ]


def certbot_sites(apps: Apps, group_names: list[str]) -> Rows:
    """Return one certificate for each application of this machine that asks an authority for it."""
    return [
        {"name": name, "domains": [app["domain"], *app["aliases"]]}
        for name, app in entries(apps, app_names(apps, group_names))
        if app["web"]["tls"]["mode"] == "acme"
    ]


def postgresql_databases(
    apps: Apps,
    group_names: list[str],
    groups: Mapping[str, list[str]] | None = None,
    inventory_hostname: str | None = None,
) -> Rows:
    """Return one database for each application that asks for it, wherever it runs.

    `clients` is `remote` as soon as the application runs on another machine too. That is known
    only with `groups` and `inventory_hostname`; without them this machine's groups decide.
    """
    return [
        {"name": name, "owner": name, "clients": clients(app, group_names, groups, inventory_hostname)}
        for name, app in entries(apps, sorted(apps))
        if app["database"] == "postgresql"
    ]


def valkey_users(
    apps: Apps,
    group_names: list[str],
    groups: Mapping[str, list[str]] | None = None,
    inventory_hostname: str | None = None,
) -> Rows:
    """Return one user of the cache for each application that asks for it, as for databases."""
    return [
        {"name": name, "clients": clients(app, group_names, groups, inventory_hostname)}
        for name, app in entries(apps, sorted(apps))
        if app["cache"] == "valkey"
    ]


def clients(
    app: Mapping[str, Any],
    group_names: list[str],
    groups: Mapping[str, list[str]] | None,
    inventory_hostname: str | None,
) -> str:
    """Tell whether an application is on this machine alone, or on another one too."""
    if groups is None:
        return "local" if runs_on(app, group_names) else "remote"
    return "local" if set(groups.get(app["hosts"], [])) <= {inventory_hostname} else "remote"


def exporters_apps(apps: Apps, group_names: list[str]) -> Rows:
    """Return what is measured of each application of this machine.

    `host` is the name that its own server is asked under for figures, nothing where it offers none;
    `site` is its name in the access log.
    """
    return [
        {
            "name": name,
            "host": app["domain"] if app["web"]["metrics"] else None,
            "site": app["domain"],
            "certificate": f"/etc/nginx/tls/{name}/fullchain.pem",
        }
        for name, app in entries(apps, app_names(apps, group_names))
    ]


class FilterModule:
    """Offer the filters to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by the name that templates use."""
        return {
            "app_names": app_names,
            "certbot_sites": certbot_sites,
            "exporters_apps": exporters_apps,
            "nginx_sites": nginx_sites,
            "postgresql_databases": postgresql_databases,
            "valkey_users": valkey_users,
        }
