"""Filter of role alertmanager: who is told becomes receivers, and each secret a file of its own."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

SEVERITIES = ("critical", "warning", "notice")
MAIL = {"to", "from", "smarthost", "username", "password"}
KEYS = MAIL | {"webhook_url", "slack_url", "channel", "severities"}
EXAMPLE = "pager: {webhook_url: https://pager.example.org/alerts}"
# A chat shows what happened, where to read on and what to type.
TEXT = (
    "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ .Annotations.look }}\n"
    "{{ .Annotations.runbook }}\n{{ end }}"
)


# An address and a port; whoever listens everywhere is heard by everybody.
PEER = re.compile(r"(?!0\.0\.0\.0:|\[::\]:)([0-9.]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}")


def alertmanager_peers(names: list[str], hostvars: Mapping[str, Mapping[str, Any]], here: str) -> list[str]:
    """Return where the other machines are heard that watch the same fleet.

    Raises AnsibleFilterError where one of them, or this one, has no address for it: each alert would be told
    by every one of them.
    """
    addresses = {
        name: str(hostvars[name].get("alertmanager_cluster_listen") or "")
        for name in ([*names, here] if names else [])
    }
    for name, address in addresses.items():
        if not PEER.fullmatch(address):
            raise AnsibleFilterError(
                f"alertmanager_cluster_listen of {name} is '{address}', so {' and '.join(sorted(addresses))} "
                f"would each tell every alert: set its private address in host_vars/{name}.yml, for example "
                "`alertmanager_cluster_listen: 10.0.0.21:9094`, or let each speak for itself with "
                "`alertmanager_cluster_peers: []` in group_vars/all/alertmanager.yml."
            )
    return [addresses[name] for name in names]


def _refuse(name: str, complaint: str) -> None:
    raise AnsibleFilterError(f"alertmanager_receivers, '{name}': {complaint}.")


def _check(name: str, entry: Mapping[str, Any]) -> None:
    """Refuse what Alertmanager could not use."""
    unknown = sorted(set(entry) - KEYS)
    if unknown:
        _refuse(name, f"{', '.join(unknown)} is none of {', '.join(sorted(KEYS))}")
    ways = [key for key in ("to", "webhook_url", "slack_url") if entry.get(key)]
    if len(ways) != 1:
        _refuse(name, f"give one of to, webhook_url and slack_url, for example {EXAMPLE}")
    if ways == ["to"]:
        missing = sorted({"from", "smarthost"} - set(entry))
        if missing:
            _refuse(name, f"{' and '.join(missing)} is missing, for example smarthost: mail.example.org:587")
    wrong = sorted(set(entry.get("severities", SEVERITIES)) - set(SEVERITIES))
    if wrong:
        _refuse(name, f"severity {', '.join(wrong)} is none of {', '.join(SEVERITIES)}")


def _mail(entry: Mapping[str, Any], place: str) -> tuple[dict[str, Any], str]:
    config = {
        "to": entry["to"],
        "from": entry["from"],
        "smarthost": entry["smarthost"],
        "send_resolved": True,
    }
    if entry.get("password"):
        config |= {"auth_username": entry.get("username", entry["from"]), "auth_password_file": place}
    return config, str(entry.get("password") or "")


def _webhook(entry: Mapping[str, Any], _place: str) -> tuple[dict[str, Any], str]:
    return {"url": entry["webhook_url"], "send_resolved": True}, ""


def _slack(entry: Mapping[str, Any], place: str) -> tuple[dict[str, Any], str]:
    config = {"api_url_file": place, "text": TEXT, "send_resolved": True}
    if entry.get("channel"):
        config["channel"] = entry["channel"]
    return config, str(entry["slack_url"])


WAYS = (
    ("to", "email_configs", _mail),
    ("webhook_url", "webhook_configs", _webhook),
    ("slack_url", "slack_configs", _slack),
)


def alertmanager_receivers(receivers: Mapping[str, Mapping[str, Any]], directory: str) -> dict[str, Any]:
    """Return the receivers as Alertmanager reads them, and the files that hold their secrets."""
    rows, secrets = [], []
    for name, entry in sorted(receivers.items()):
        _check(name, entry)
        place = f"{directory}/{name}.secret"
        for key, kind, made in WAYS:
            if entry.get(key):
                config, secret = made(entry, place)
                rows.append(
                    {
                        "name": name,
                        "severities": list(entry.get("severities", SEVERITIES[:2])),
                        "config": {"name": name, kind: [config]},
                    }
                )
                if secret:
                    secrets.append(
                        {
                            "path": place,
                            "content": secret,
                            "owner": "root",
                            "group": "prometheus",
                            "mode": "0640",
                        }
                    )
    return {"receivers": rows, "secrets": secrets}


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"alertmanager_peers": alertmanager_peers, "alertmanager_receivers": alertmanager_receivers}
