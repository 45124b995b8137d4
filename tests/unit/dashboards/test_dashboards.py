"""Dashboards say what they ask, ask what is there, and lead from one to the next."""

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from asked import ROOT, dashboards, metrics, panels, queries, recording_rules, without_variables
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

ALL = dashboards()
EACH = pytest.mark.parametrize("dashboard", [pytest.param(found, id=name) for name, found in ALL.items()])
UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and name[0].isupper()}


def test_the_files_are_what_the_python_makes() -> None:
    """Nobody has edited the JSON, and nobody has forgotten to write it anew."""
    done = subprocess.run(
        ["bin/dashboards", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_there_is_a_dashboard_for_each_kind_of_question() -> None:
    """The eight that the documentation names."""
    assert {found["title"] for found in ALL.values()} == {
        *("Fleet", "App", "Host", "Nginx and TLS", "PostgreSQL", "Valkey", "Deploys", "Capacity")
    }


def test_no_two_have_one_address() -> None:
    """The uid is a dashboard's address; Grafana would show one of the two."""
    assert not [uid for uid, times in Counter(found["uid"] for found in ALL.values()).items() if times > 1]


@EACH
def test_the_sdk_reads_back_what_it_wrote(dashboard: dict[str, Any]) -> None:
    """The JSON is in Grafana's schema, as far as the SDK's types say it."""
    read = Dashboard.from_json(dashboard)
    assert read.schema_version >= 36
    assert len(read.panels or []) == len(dashboard["panels"])


@EACH
def test_panels_have_ids_and_places_of_their_own(dashboard: dict[str, Any]) -> None:
    """No two panels have one id or lie upon each other, and none leaves the 24 columns."""
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


@EACH
def test_every_panel_is_a_question_with_a_unit(dashboard: dict[str, Any]) -> None:
    """A reader knows what a panel answers, what it means and in what it is measured."""
    for panel in panels(dashboard):
        assert panel["title"].endswith("?"), panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS | {"none"}, panel["title"]
        assert panel["targets"], panel["title"]
    titles = [panel["title"] for panel in panels(dashboard)]
    # The same question as one number and over time is one question; more often it would be a muddle.
    assert max(Counter(titles).values()) <= 2


@EACH
def test_every_variable_and_datasource_is_defined(dashboard: dict[str, Any]) -> None:
    """Nothing asks for a variable that the dashboard does not offer, or for another datasource."""
    defined = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert {"datasource", "environment"} <= defined
    asked = [expr for _, expr in queries(dashboard)]
    asked += [str(variable.get("query")) for variable in dashboard["templating"]["list"]]
    used = {name for expr in asked for name in re.findall(r"\$\{?(\w+)", expr)}
    assert used <= defined | {"__rate_interval", "__interval", "__range"}
    for panel in panels(dashboard):
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


@EACH
def test_every_query_keeps_to_the_chosen_environment(dashboard: dict[str, Any]) -> None:
    """Staging's figures are not in production's: each metric that is read is read with the variable."""
    for title, expr in queries(dashboard):
        selectors = len(re.findall(r"\{", expr))
        chosen = expr.count('environment=~"$environment"') + expr.count("app_objective:errors:ratio{")
        assert chosen == selectors > 0, f"{title}: {expr}"


@EACH
def test_dashboards_lead_to_each_other(dashboard: dict[str, Any]) -> None:
    """The list on top has all of them and keeps time and variables; what a table links to exists."""
    (link,) = dashboard["links"]
    assert link["includeVars"]
    assert link["keepTime"]
    assert all(set(link["tags"]) <= set(other["tags"]) for other in ALL.values())
    uids = {other["uid"]: other for other in ALL.values()}
    for uid, variables in re.findall(r'"/d/([\w-]+)\?([^"]*)"', str(dashboard).replace("'", '"')):
        offered = {variable["name"] for variable in uids[uid]["templating"]["list"]}
        assert set(re.findall(r"var-(\w+)=", variables)) <= offered


def test_every_query_can_be_parsed(tmp_path: Path) -> None:
    """promtool reads each query, as the expression of a rule."""
    rules = [
        {"record": f"q:{number}", "expr": without_variables(expr)}
        for number, expr in enumerate(expr for found in ALL.values() for _, expr in queries(found))
    ]
    assert len(rules) > 150
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


@EACH
def test_every_query_reads_what_there_is(dashboard: dict[str, Any]) -> None:
    """Each name is a metric that was seen in a live Prometheus, or one of our recording rules."""
    lines = (Path(__file__).parent / "metrics.txt").read_text().splitlines()
    there = {line for line in lines if not line.startswith("#")} | {"ALERTS"}
    rules = recording_rules()
    for title, expr in queries(dashboard):
        missing = {name for name in metrics(expr) - there if not rules.fullmatch(name)}
        assert not missing, title


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        ('sum by (app) (rate(a_total{x="b:c"}[5m])) / on (app) group_left () c:d:e', {"a_total", "c:d:e"}),
        ('histogram_quantile(0.5, sum by (le) (rate(h_bucket{a="x"}[1m]))) or vector(0)', {"h_bucket"}),
        ("(up - 1e3) > bool 0.5 and on () time() offset 5m", {"up"}),
    ],
)
def test_names_of_metrics_are_found(expr: str, names: set[str]) -> None:
    """The next test looks at names; this one looks at how it finds them."""
    assert metrics(expr) == names
