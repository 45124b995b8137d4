"""Refuse a wrong `apps` on the controller, before any machine is touched.

    - name: Validate the applications
      validate_apps:
        apps: "{{ apps | default({}) }}"
        serving_group: web  # the default: where the playbooks run the roles that applications need

Reports everything that is wrong at once, each in one sentence; secrets of a vault that are placeholders too.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from ansible.plugins.action import ActionBase
from fastapi_metal.apps.validation import problems
from fastapi_metal.vault.needs import placeholders


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no types
    """The task's entry."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"apps", "serving_group"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with every problem that is found."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        serving_group = str(args.get("serving_group", "web"))
        found = problems(args.get("apps", {}), (task_vars or {}).get("groups"), serving_group)
        found += placeholders(task_vars or {})
        result["changed"] = False
        if found:
            result["failed"] = True
            result["msg"] = "\n".join(found)
        return result
