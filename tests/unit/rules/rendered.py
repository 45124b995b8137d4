"""The rules as the role writes them: with the shipped values, or with others."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = ", ".join(
    f"{name}='{text}'"
    for name, text in (
        ("variable_start_string", "<<"),
        ("variable_end_string", ">>"),
        ("comment_start_string", "<#"),
        ("comment_end_string", "#>"),
    )
)
APPS = ["shop", "blog"]


def roles() -> ModuleType:
    """Return the module that renders roles; the tests of roles use it as their conftest."""
    spec = importlib.util.spec_from_file_location("roles_conftest", ROOT / "tests/unit/roles/conftest.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def shipped() -> dict[str, str]:
    """Return the text of each rule file as it is shipped, by name."""
    return texts()


def texts(**variables: Any) -> dict[str, str]:
    """Return the text of each rule file, by name."""
    role = roles().Role("prometheus", {}, {"prometheus_apps": APPS, **variables})
    names = role.value("__prometheus_rule_files")
    lookup = "{{ lookup('ansible.builtin.template', 'rules/NAME.yml.j2', OPTIONS) }}".replace(
        "OPTIONS", OPTIONS
    )
    return {name: str(role.value(lookup.replace("NAME", name))) for name in names}


def rules(**variables: Any) -> list[dict[str, Any]]:
    """Return every rule."""
    return [
        rule
        for text in (texts(**variables) if variables else shipped()).values()
        for group in yaml.safe_load(text)["groups"]
        for rule in group["rules"]
    ]


def alerts(**variables: Any) -> dict[str, dict[str, Any]]:
    """Return the alerting rules by name."""
    return {rule["alert"]: rule for rule in rules(**variables) if "alert" in rule}
