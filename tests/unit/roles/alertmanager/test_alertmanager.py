"""Who is told what, and that no secret is where everybody reads."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError

ROOT = Path(__file__).resolve().parents[4]
MAIL = {
    "to": "ops@example.org",
    "from": "alerts@example.org",
    "smarthost": "mail.example.org:587",
    "password": "not-in-the-configuration",
}
CHAT = {"slack_url": "https://chat.example.org/hooks/not-in-the-configuration", "channel": "#ops"}
PAGER = {"webhook_url": "https://pager.example.org/alerts", "severities": ["critical"]}


def config(make_role: Any, **variables: Any) -> dict[str, Any]:
    """Return Alertmanager's configuration."""
    found: dict[str, Any] = yaml.safe_load(
        make_role("alertmanager", **variables).render("alertmanager.yml.j2")
    )
    return found


def test_without_receivers_nobody_is_told(make_role: Any) -> None:
    """Alerts are shown and inhibited all the same."""
    assert [receiver["name"] for receiver in config(make_role)["receivers"]] == ["nobody"]


def test_receivers_get_what_they_ask_for(make_role: Any) -> None:
    """Mail, chat and webhook, each for its severities; notices only for those who ask for them."""
    found = config(make_role, alertmanager_receivers={"mail": MAIL, "chat": CHAT, "pager": PAGER})
    routes = {route["receiver"]: route["matchers"][0] for route in found["route"]["routes"][2:]}
    assert routes == {
        "chat": 'severity=~"critical|warning"',
        "mail": 'severity=~"critical|warning"',
        "pager": 'severity=~"critical"',
    }


def test_no_secret_is_in_the_configuration(make_role: Any) -> None:
    """Each is a file that Alertmanager alone reads."""
    role = make_role("alertmanager", alertmanager_receivers={"mail": MAIL, "chat": CHAT})
    assert "not-in-the-configuration" not in role.render("alertmanager.yml.j2")
    secrets = role.value("__alertmanager_receivers")["secrets"]
    assert [(file["path"].rpartition("/")[2], file["mode"], file["group"]) for file in secrets] == [
        ("chat.secret", "0640", "prometheus"),
        ("mail.secret", "0640", "prometheus"),
    ]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({}, "give one of to, webhook_url and slack_url"),
        (MAIL | PAGER, "give one of to, webhook_url and slack_url"),
        ({"to": "ops@example.org"}, "from and smarthost is missing"),
        ({"webhok_url": "x"}, "webhok_url is none of"),
        (PAGER | {"severities": ["fatal"]}, "severity fatal is none of critical, warning, notice"),
    ],
)
def test_a_receiver_that_would_not_work_is_refused(
    make_role: Any, entry: dict[str, Any], sentence: str
) -> None:
    """One sentence with its name and what would be right."""
    with pytest.raises(AnsibleError, match="alertmanager_receivers, 'x'.*" + re.escape(sentence)):
        config(make_role, alertmanager_receivers={"x": entry})


def test_amtool_accepts_it(make_role: Any, tmp_path: Path) -> None:
    """Alertmanager would load it, with every kind of receiver and the dead man's switch."""
    path = tmp_path / "alertmanager.yml"
    role = make_role(
        "alertmanager",
        alertmanager_receivers={"mail": MAIL, "chat": CHAT, "pager": PAGER},
        alertmanager_watchdog_url="https://watch.example.org/",
    )
    path.write_text(role.render("alertmanager.yml.j2"))
    done = subprocess.run(["amtool", "check-config", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


PAIR = {
    "mon1": {"alertmanager_cluster_listen": "10.0.0.21:9094"},
    "mon2": {"alertmanager_cluster_listen": "[fd00::22]:9094"},
}


def arguments(make_role: Any, **variables: Any) -> list[str]:
    """Return what Alertmanager is started with on mon1."""
    given = {
        "inventory_hostname": "mon1",
        "alertmanager_cluster_peers": ["mon2"],
        "hostvars": PAIR,
        **PAIR["mon1"],
    }
    found: list[str] = make_role("alertmanager", **{**given, **variables}).value("__alertmanager_arguments")
    return found


def test_one_that_watches_alone_listens_for_nobody(make_role: Any) -> None:
    """Its own default would be every address."""
    alone = arguments(make_role, alertmanager_cluster_peers=[])
    assert "--cluster.listen-address=" in alone
    assert not [word for word in alone if "peer" in word or "tls" in word]


def test_two_that_watch_the_same_agree(make_role: Any) -> None:
    """Each knows where the other is heard, over TLS."""
    found = arguments(make_role)
    assert "--cluster.peer=[fd00::22]:9094" in found
    assert "--cluster.listen-address=10.0.0.21:9094" in found
    assert "--cluster.tls-config=/etc/prometheus/cluster/tls.yml" in found


@pytest.mark.parametrize("address", ["", "10.0.0.22", "0.0.0.0:9094", "[::]:9094", "mon2.example.org:9094"])
def test_a_watcher_that_the_other_would_not_hear_is_named(make_role: Any, address: str) -> None:
    """One sentence with the file and a value that works."""
    pair = {**PAIR, "mon2": {"alertmanager_cluster_listen": address}}
    with pytest.raises(
        AnsibleError, match=r"host_vars/mon2.yml, for example `alertmanager_cluster_listen: 10"
    ):
        arguments(make_role, hostvars=pair)


def test_inhibitions_name_alerts_that_exist(make_role: Any) -> None:
    """A name that no rule has would silence nothing."""
    # Each alert has its page, which tests of the rules see to.
    alerts = {path.stem for path in (ROOT / "docs/runbooks").glob("*.md")}
    for rule in make_role("alertmanager").value("__alertmanager_inhibitions"):
        for text in (rule["source"], rule["target"]):
            pattern = text.partition('"')[2].rstrip('"')
            for name in pattern.split("|"):
                assert any(re.fullmatch(name, alert) for alert in alerts), name
