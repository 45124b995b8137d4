"""Each alert is silent while all is well, fires when it should, and ends: promtool, with shipped values."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import rendered
import yaml

CASES: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("cases.yml").read_text())
SITE = 'job="access",site="shop.example.org"'
LOOKS = {"silent": 0, "fires": 1, "over": 0}


def promtool(*arguments: str | Path) -> str:
    """Run promtool, which comes with Debian's Prometheus (bin/setup tests)."""
    assert shutil.which("promtool"), "install Debian's package prometheus: bin/setup tests"
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def rule_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the rule files as the role writes them."""
    directory = tmp_path_factory.mktemp("rules")
    for name, text in rendered.texts().items():
        (directory / f"{name}.yml").write_text(text)
    return sorted(directory.glob("*.yml"))


def test_promtool_accepts_every_file(rule_files: list[Path]) -> None:
    """Prometheus would load them."""
    assert "FAILED" not in promtool("check", "rules", *rule_files)


def needed(name: str) -> list[dict[str, Any]]:
    """Return an alert's rule and the recordings that it asks for, in their order: promtool is done sooner."""
    every = rendered.rules()
    found = [rendered.alerts()[name]]
    while True:
        asked = set(re.findall(r"[a-z_]+:[a-z0-9_:]+", " ".join(rule["expr"] for rule in found)))
        more = [rule for rule in every if rule.get("record") in asked and rule not in found]
        if not more:
            return [rule for rule in every if rule in found]
        found += more


def stretched(values: str, factor: int) -> str:
    """Return a series with so many values for each; promtool forgets one after five minutes."""
    parts = []
    for part in values.split():
        start, step, count = re.fullmatch(r"([^+x]+?)([+-][0-9.]+)?(?:x([0-9]+))?", part).groups()  # type: ignore[union-attr]
        if start == "stale":
            parts.append(part)
        elif start == "_":
            parts.append(f"_x{int(count or 1) * factor}")
        else:
            slope = f"{float(step) / factor:+.6f}" if step else ""
            parts.append(f"{start}{slope}x{(int(count or 0) + 1) * factor - 1}")
    return " ".join(parts)


def story(name: str, case: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return a case as promtool reads it: how many alerts of the name fire at each look."""
    expression = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)'
    interval, factor = {"1m": ("1m", 1), "10m": ("5m", 2), "1h": ("5m", 12)}[case.get("every", "1m")]
    return {
        "rule_files": [str(file)],
        "evaluation_interval": interval,
        "tests": [
            {
                "interval": interval,
                "input_series": [
                    {"series": key, "values": stretched(values, factor)}
                    for key, values in case["series"].items()
                ],
                "promql_expr_test": [
                    {
                        "expr": expression,
                        "eval_time": case[look],
                        "exp_samples": [{"labels": "{}", "value": value}],
                    }
                    for look, value in LOOKS.items()
                    if look in case
                ],
            }
        ],
    }


@pytest.mark.parametrize("name", sorted(CASES))
def test_an_alert_fires_when_it_should_and_ends(name: str, tmp_path: Path) -> None:
    """Silent, then firing, then over. Red when expression, limit or duration is not what the case says."""
    rules, path = tmp_path / "rules.yml", tmp_path / "story.yml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "needed", "rules": needed(name)}]}))
    path.write_text(yaml.safe_dump(story(name, CASES[name], rules)))
    promtool("test", "rules", path)


@pytest.mark.parametrize("name", ["AppErrorsFast", "AppErrorsSlow", "AppLatencyFast", "AppLatencySlow"])
def test_an_application_that_does_not_count_is_judged_by_the_access_log(name: str, tmp_path: Path) -> None:
    """The same story as Nginx tells it. Red when a promise is watched for applications with figures alone."""
    case = {**CASES[name], "series": {'app_site_info{app="shop",site="shop.example.org"}': "1x1500"}}
    for series, values in CASES[name]["series"].items():
        if 'app="shop"' in series:
            told = series.replace("http_request", "site_request").replace('job="app",app="shop"', SITE)
            case["series"][told] = values
    rules, path = tmp_path / "rules.yml", tmp_path / "story.yml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "needed", "rules": needed(name)}]}))
    path.write_text(yaml.safe_dump(story(name, case, rules)))
    assert "site_requests_total" in path.read_text()
    promtool("test", "rules", path)


def test_every_alert_has_a_case_and_every_case_an_alert() -> None:
    """None is shipped that nobody has seen firing. All but the watchdog have been seen silent and over."""
    assert set(rendered.alerts()) == set(CASES)
    assert [name for name, case in CASES.items() if set(LOOKS) - set(case)] == ["Watchdog"]


def test_every_alert_says_what_to_do() -> None:
    """A severity, a sentence, a command and a page that is there."""
    for name, alert in rendered.alerts(prometheus_runbooks="").items():
        assert alert["labels"]["severity"] in {"critical", "warning", "notice", "none"}, name
        words = alert["annotations"]
        assert re.search(r"[.!]$", words["summary"]), f"{name}: a sentence ends with a full stop"
        assert words["look"], name
        assert words["runbook"] == f"{name}.md"


def test_every_runbook_has_an_alert_and_its_four_parts() -> None:
    """Each page says what it means, how to look, what to do, and the way back."""
    pages = {
        path.stem: path for path in (rendered.ROOT / "docs/runbooks").glob("*.md") if path.stem != "README"
    }
    assert set(pages) == set(rendered.alerts())
    for name, path in pages.items():
        text = path.read_text()
        assert text.startswith(f"# {name}\n"), path
        headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert headings == ["What it means", "How to look", "What to do", "The way back"], path


def test_a_value_that_no_rule_uses_is_none() -> None:
    """Each value of the role's table stands in a rule, and each that a rule asks for is in the table."""
    role = rendered.roles().Role("prometheus", {}, {})
    templates = "".join(path.read_text() for path in (role.path / "templates/rules").glob("*.j2"))
    used = set(re.findall(r"\bv\.(\w+)", templates))
    for part in re.findall(r"v\['slo_' ~ (\w+)(?: ~ '(\w+)')?\]", templates):
        names = ["fast", "slow"] if part[1] else ["fast_long", "fast_short", "slow_long", "slow_short"]
        used |= {f"slo_{name}{part[1]}" for name in names}
    vars_file = (role.path / "vars/main.yml").read_text()
    used |= set(re.findall(r"__prometheus_value\.(\w+)", vars_file))
    assert used == set(role.value("__prometheus_values"))
