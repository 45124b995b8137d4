"""The stand-in reads what Grafana reads, and says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grafana_standin.server import provisioning, settings
from grafana_standin.server.provisioning import ProvisioningError
from grafana_standin.server.settings import SettingsError
from standin_tree import PASSWORD, SOURCE, Tree, dashboard


def panel(**changes: Any) -> dict[str, Any]:
    """Return a dashboard whose one panel has some keys changed; None takes a key away."""
    made = dashboard()
    changed = made["panels"][0] | changes
    made["panels"] = [{key: value for key, value in changed.items() if value is not None}]
    return made


def test_what_is_right_is_read(tree: Tree) -> None:
    """Datasources and dashboards are there, under their uid."""
    found = provisioning.load(tree.provisioning)
    assert [source["uid"] for source in found.datasources] == ["prometheus"]
    assert found.dashboards["shop"]["dashboard"]["title"] == "Shop"


# What is broken, and a part of the sentence about it.
BROKEN: dict[str, tuple[Callable[[Tree], None], str]] = {
    "datasource of unknown type": (
        lambda t: t.sources(SOURCE | {"type": "promethus"}),
        "unknown type 'promethus'",
    ),
    "datasource without name": (lambda t: t.sources(SOURCE | {"name": ""}), "name is missing"),
    "datasource with a typo": (lambda t: t.sources(SOURCE | {"isdefault": True}), "unknown key 'isdefault'"),
    "datasource with a bad uid": (lambda t: t.sources(SOURCE | {"uid": "a b"}), "uid 'a b' must be"),
    "datasource without address": (
        lambda t: t.sources(SOURCE | {"url": "127.0.0.1:9090"}),
        "not an http(s) address",
    ),
    "two of one name": (lambda t: t.sources(SOURCE, SOURCE | {"uid": "b", "isDefault": False}), "have name"),
    "two of one uid": (lambda t: t.sources(SOURCE, SOURCE | {"name": "b", "isDefault": False}), "have uid"),
    "two defaults": (lambda t: t.sources(SOURCE, SOURCE | {"name": "b", "uid": "b"}), "only one datasource"),
    "YAML that is none": (
        lambda t: t.write("provisioning/datasources/a.yaml", "a: [b"),
        "is not readable YAML",
    ),
    "no list": (
        lambda t: t.write("provisioning/datasources/a.yaml", {"datasources": "x"}),
        "a list of mappings",
    ),
    "no apiVersion": (
        lambda t: t.write("provisioning/datasources/a.yaml", {"datasources": [SOURCE]}),
        "apiVersion must be 1",
    ),
    "path that is missing": (
        lambda t: t.provider(options={"path": "/nowhere"}),
        "'/nowhere' is not a directory",
    ),
    "provider of another type": (lambda t: t.provider(type="git"), "type must be file"),
    "provider with a typo": (lambda t: t.provider(option={}), "unknown key 'option'"),
    "JSON that is none": (lambda t: t.write("dashboards/b.json", "{"), "is not readable JSON"),
    "JSON that is a list": (lambda t: t.write("dashboards/b.json", "[]"), "is not a JSON object"),
    "dashboard without title": (
        lambda t: t.write("dashboards/shop.json", dashboard(title="")),
        "title is missing",
    ),
    "dashboard without uid": (
        lambda t: t.write("dashboards/shop.json", dashboard(uid=None)),
        "uid None must be",
    ),
    "dashboard without panels": (
        lambda t: t.write("dashboards/shop.json", dashboard(panels=[])),
        "has no panels",
    ),
    "two of one dashboard uid": (
        lambda t: t.write("dashboards/z.json", dashboard(title="Z")),
        "uid 'shop' is also the uid of",
    ),
    "two of one title": (lambda t: t.write("dashboards/z.json", dashboard(uid="z")), "title 'Shop' is also"),
    "panel with an unknown datasource": (
        lambda t: t.write("dashboards/shop.json", panel(datasource={"uid": "nope"})),
        "unknown datasource uid 'nope'",
    ),
    "panel of an unknown type": (
        lambda t: t.write("dashboards/shop.json", panel(type="timeserie")),
        "unknown type 'timeserie'",
    ),
    "panel without query": (lambda t: t.write("dashboards/shop.json", panel(targets=[])), "has no query"),
    "query without expr": (
        lambda t: t.write("dashboards/shop.json", panel(targets=[{"refId": "A"}])),
        "a query without expr",
    ),
    "panel out of the grid": (
        lambda t: t.write("dashboards/shop.json", panel(gridPos={"h": 8, "w": 12, "x": 13, "y": 0})),
        "does not fit the 24 columns",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused(tree: Tree, name: str) -> None:
    """Each fault is one sentence that says where and what."""
    spoil, words = BROKEN[name]
    spoil(tree)
    with pytest.raises(ProvisioningError) as refused:
        provisioning.load(tree.provisioning)
    assert any(words in problem for problem in refused.value.problems), refused.value.problems
    assert all(str(tree.root) in problem for problem in refused.value.problems)


def test_every_fault_is_told_at_once(tree: Tree) -> None:
    """Two faults are two sentences, so nobody mends them one start at a time."""
    tree.sources(SOURCE | {"type": "x"})
    tree.provider(type="git")
    with pytest.raises(ProvisioningError) as refused:
        provisioning.load(tree.provisioning)
    assert len(refused.value.problems) == 2


def test_a_panel_without_datasource_needs_a_default(tree: Tree) -> None:
    """Grafana would show nothing there, so it is told."""
    tree.write("dashboards/shop.json", panel(datasource=None))
    assert provisioning.load(tree.provisioning).dashboards
    tree.sources(SOURCE | {"isDefault": False})
    with pytest.raises(ProvisioningError, match="names no datasource"):
        provisioning.load(tree.provisioning)


def test_the_password_comes_from_its_file(tree: Tree) -> None:
    """`$__file{…}` keeps signs that an INI file would take for comments."""
    assert settings.load(tree.config).admin_password == PASSWORD


def test_arguments_go_under_and_over_the_file(tree: Tree) -> None:
    """`cfg:default.…` gives way to grafana.ini, `cfg:…` does not."""
    found = settings.load(tree.config, ["cfg:default.server.http_port=1", "cfg:server.http_addr=127.0.0.2"])
    assert (found.http_port, found.http_addr) == (tree.port, "127.0.0.2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server\n", "no section headers"),
        ("[server]\nhttp_port = many\n", "http_port = many"),
        ("[server]\nhttp_port = 70000\n", "write a port"),
        ("[server]\nprotocol = https\n", "http only"),
        ("[users]\nallow_sign_up = maybe\n", "write true or false"),
        ("[security]\nadmin_password = $__file{/nowhere}\n", "/nowhere cannot be read"),
        ("[security]\nadmin_password = $__vault{x}\n", "unknown provider"),
    ],
)
def test_broken_settings_are_refused(tree: Tree, text: str, words: str) -> None:
    """A sentence names the section, the key and what would be right."""
    tree.config.write_text(text)
    with pytest.raises(SettingsError, match=words.replace("$", r"\$")):
        settings.load(tree.config)


def test_a_missing_configuration_is_refused(tmp_path: Path) -> None:
    """Grafana does not fall back to something nobody wrote."""
    with pytest.raises(SettingsError, match="cannot be read"):
        settings.load(tmp_path / "grafana.ini")
