"""What Grafana is given, and what is refused before it lands."""

from __future__ import annotations

import configparser
import json
from typing import Any

import pytest
import yaml

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEabc\n=1234\n-----END PGP PUBLIC KEY BLOCK-----\n"
SOURCE = {"name": "Prometheus", "uid": "prometheus", "type": "prometheus", "url": "http://127.0.0.1:9090"}


def settings(make_role: Any, **variables: Any) -> configparser.RawConfigParser:
    """Return grafana.ini."""
    parsed = configparser.RawConfigParser()
    parsed.read_string(make_role("grafana", **variables).render("grafana.ini.j2"))
    return parsed


def problems(make_role: Any, *dashboards: Any, password: str = "", sources: Any = None) -> list[str]:
    """Return what is wrong with these dashboards, named a.json, b.json and so on."""
    texts = [text if isinstance(text, str) else json.dumps(text) for text in dashboards]
    role = make_role(
        "grafana",
        __grafana_dashboards={f"{'abc'[number]}.json": text for number, text in enumerate(texts)},
        grafana_datasources=sources or [SOURCE],
        grafana_admin_password=password,
    )
    found: list[str] = role.value("__grafana_problems")
    return found


def dashboard(uid: Any = "shop", title: str = "Shop", **panel: Any) -> dict[str, Any]:
    """Return a dashboard with one panel."""
    panels = [{"type": "stat", "title": "P", "targets": [{"expr": "up"}]} | panel]
    return {"uid": uid, "title": title, "panels": panels}


def test_it_listens_on_loopback_and_signs_nobody_up(make_role: Any) -> None:
    """Who wants in comes over SSH or through a site with TLS, and has an account."""
    found = settings(make_role)
    assert found["server"]["http_addr"] == "127.0.0.1"
    assert found["users"]["allow_sign_up"] == "false"
    assert found["auth.anonymous"]["enabled"] == "false"


def test_the_password_is_in_no_configuration(make_role: Any) -> None:
    """It stands in a file of its own, where no quoting can spoil it and no --diff prints it."""
    text = make_role("grafana", grafana_admin_password="swordfish").render("grafana.ini.j2")  # noqa: S106
    assert "swordfish" not in text
    assert "admin_password = $__file{/etc/grafana/admin_password}" in text


def test_the_address_for_browsers_follows_the_listener(make_role: Any) -> None:
    """Links in Grafana work for who came over SSH, and for who comes through a proxy."""
    assert settings(make_role)["server"]["root_url"] == "http://127.0.0.1:3000/"
    url = "https://grafana.example.org/"
    assert settings(make_role, grafana_root_url=url)["server"]["root_url"] == url


def test_the_key_is_trusted_for_one_repository(make_role: Any) -> None:
    """The key stands inside the entry, each line indented, an empty one as a dot."""
    entry = make_role("grafana", grafana_apt_key=KEY).render("grafana.sources.j2")
    begin = entry.index("Signed-By:")
    assert entry[begin:].splitlines() == [
        "Signed-By:",
        " -----BEGIN PGP PUBLIC KEY BLOCK-----",
        " .",
        " mDMEabc",
        " =1234",
        " -----END PGP PUBLIC KEY BLOCK-----",
    ]


@pytest.mark.parametrize(("version", "package"), [("", "grafana"), ("12.3.0", "grafana=12.3.0")])
def test_a_version_is_pinned_when_it_is_named(make_role: Any, version: str, package: str) -> None:
    """Without one the newest is taken, once."""
    assert make_role("grafana", grafana_version=version).value("__grafana_package") == package


def test_the_first_datasource_is_the_default(make_role: Any) -> None:
    """One default, whatever the list holds, and values that cannot break the file."""
    other = {
        "name": "a: b",
        "uid": "loki",
        "type": "loki",
        "url": "http://127.0.0.1:3100",
        "json_data": {"x": 1},
    }
    text = make_role("grafana", grafana_datasources=[SOURCE, other]).render("datasources.yaml.j2")
    found = yaml.safe_load(text)["datasources"]
    assert [(entry["name"], entry["isDefault"]) for entry in found] == [("Prometheus", True), ("a: b", False)]
    assert found[1]["jsonData"] == {"x": 1}


def test_our_dashboards_are_accepted(make_role: Any) -> None:
    """The role would not refuse what it ships, with the datasource that it ships; no file is left out."""
    role = make_role("grafana")
    assert role.value("__grafana_problems") == []
    there = sorted(path.name for path in (role.path / "files/dashboards").glob("*.json"))
    assert sorted(file["path"] for file in role.value("__grafana_dashboard_files")) == [
        f"/etc/grafana/provisioning/dashboards/{name}" for name in there
    ]


def test_the_folder_is_one_word_to_grafana(make_role: Any) -> None:
    """Whatever its name holds."""
    text = make_role("grafana", grafana_folder='a: "b"').render("dashboards.yaml.j2")
    assert yaml.safe_load(text)["providers"][0]["folder"] == 'a: "b"'


BROKEN: dict[str, tuple[list[Any], str]] = {
    "no JSON": (["{"], "a.json: it is not JSON"),
    "no dashboard": ([[]], "a.json: it is not a dashboard"),
    "no title": ([dashboard(title="")], "a.json: it has no title"),
    "no uid": ([dashboard(uid=None)], "a.json: it needs a uid"),
    "a uid that is an address": ([dashboard(uid="a/b")], "a.json: it needs a uid"),
    "two of one uid": ([dashboard(), dashboard(title="Z")], "b.json: uid 'shop' is taken by a.json"),
    "two of one title": ([dashboard(), dashboard(uid="z")], "b.json: title 'Shop' is taken by a.json"),
    "an unknown datasource": ([dashboard(datasource={"uid": "x"})], "panel 'P' asks datasource 'x'"),
    "one by its old name": ([dashboard(datasource="x")], "panel 'P' asks datasource 'x'"),
    "an unknown one in a query": (
        [dashboard(targets=[{"expr": "up", "datasource": {"uid": "x"}}])],
        "panel 'P' asks datasource 'x'",
    ),
    "one inside a row": (
        [
            dashboard(
                type="row",
                panels=[{"title": "Q", "type": "stat", "datasource": {"uid": "x"}, "targets": [{}]}],
            )
        ],
        "panel 'Q' asks datasource 'x'",
    ),
    "a panel that asks nothing": ([dashboard(targets=[])], "panel 'P' asks nothing"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_dashboard_is_refused(make_role: Any, name: str) -> None:
    """The sentence names the variable, the file and the fault."""
    dashboards, words = BROKEN[name]
    found = problems(make_role, *dashboards)
    assert len(found) == 1, found
    assert words in found[0]
    assert found[0].startswith("grafana_dashboards, ")


@pytest.mark.parametrize("uid", ["prometheus", "${source}", "-- Grafana --", None])
def test_a_known_datasource_is_accepted(make_role: Any, uid: str | None) -> None:
    """One of the inventory's, a dashboard's variable, Grafana's own, and the default."""
    assert problems(make_role, dashboard(datasource={"uid": uid} if uid else None)) == []


@pytest.mark.parametrize(
    ("password", "words"), [("1234", "5 characters or more"), ("line\nline", "must be one line")]
)
def test_a_password_that_grafana_refuses_is_refused(make_role: Any, password: str, words: str) -> None:
    """Before anything lands, and without printing it."""
    (found,) = problems(make_role, dashboard(), password=password)
    assert words in found
    assert password not in found


def test_two_datasources_of_one_uid_are_refused(make_role: Any) -> None:
    """Grafana would not start."""
    (found,) = problems(make_role, dashboard(), sources=[SOURCE, SOURCE | {"name": "Other"}])
    assert found == "grafana_datasources: two have uid 'prometheus'; rename one."
