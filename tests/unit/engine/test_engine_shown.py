"""What `--diff` shows of a release reaches the operator."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
FOUND = {"before_header": "env", "after_header": "env", "before": 'WORD="one"', "after": 'WORD="two"'}


def shown(step: str, result: dict[str, Any], task_vars: dict[str, Any], diff: bool = True) -> Any:
    """Return the diff that a step's task has in the end."""
    spec = importlib.util.spec_from_file_location("release_action", ROOT / "plugins/action/release.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    action = object.__new__(module.ActionModule)
    action._task = SimpleNamespace(diff=diff)
    action._show(step, {"files": []}, result, task_vars)
    return result.get("diff")


def test_the_difference_that_the_check_found_is_shown_with_the_stage() -> None:
    """Ansible shows a diff of a task that changes something, and the check never does."""
    found = {"rendered_before": {"env": FOUND["before"]}, "rendered": {"env": FOUND["after"]}}
    checked = shown("check", found, {})
    assert checked == [FOUND]
    assert shown("stage", {"changed": True}, {"__app_check": {"diff": checked}}) == [FOUND]
    assert shown("stage", {"changed": True}, {"__app_check": {"diff": checked}}, diff=False) is None
