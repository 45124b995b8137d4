"""Decide after a step, over all hosts of an application. Runs on the controller alone.

After check, stage and prepare a problem on any host fails the task on every host: nothing has moved.
After the others `ok` is false and `reason` is given, because something must be put back first.
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from ansible.plugins.action import ActionBase
from fastapi_metal import decision

NOT_RUN = {"problem": "the step did not run there"}
FAILS_AT_ONCE = {"check", "stage", "prepare"}

Result = dict[str, Any]
Vars = dict[str, Any]


def hosts_of(group: str, task_vars: Vars) -> list[str]:
    """Return the hosts over which is decided, those that have left the play among them."""
    members = task_vars["groups"].get(group, [])
    return [host for host in task_vars["ansible_play_hosts_all"] if group == "all" or host in members]


def left_out(group: str, task_vars: Vars) -> list[str]:
    """Return the application's hosts that `--limit` leaves out."""
    return [
        host for host in task_vars["groups"].get(group, []) if host not in task_vars["ansible_play_hosts_all"]
    ]


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no types
    """The task's entry."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"after", "app"})

    def run(self, tmp: str | None = None, task_vars: Vars | None = None) -> Result:
        """Return the decision for this host."""
        result: Result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        app, after = self._task.args["app"], str(self._task.args["after"])
        name, host = str(app["name"]), str(task_vars["inventory_hostname"])
        results = self._results(after, str(app["hosts"]), task_vars)
        found = decision.problems(results)
        missing = [] if self._task.check_mode else left_out(str(app["hosts"]), task_vars)
        if missing:
            found = dict.fromkeys(missing, "left out by --limit; run without it, or with --check")
            results = {each: {"problem": reason} for each, reason in found.items()}
        result.update(changed=False, ok=not found, reason="")
        if found:
            result["reason"] = decision.reason_text(name, after, results)
            if after in FAILS_AT_ONCE:
                return {"failed": True, "changed": False, "msg": result["reason"]}
        elif after == "check":
            commands = (bool(app["entry"].get(key)) for key in ("before_start", "after_start"))
            result.update(asdict(decision.plan(name, host, results, *commands)))
        return result

    def _results(self, after: str, group: str, task_vars: Vars) -> dict[str, dict[str, Any]]:
        """Return each host's result of the step; those that had nothing to do are left out."""
        results: dict[str, dict[str, Any]] = {}
        for host in hosts_of(group, task_vars):
            if host not in task_vars["ansible_play_hosts"]:
                results[host] = {"problem": "it failed or became unreachable earlier in this play"}
                continue
            result = task_vars["hostvars"][host].get(f"__app_{after}", NOT_RUN)
            if not result.get("skipped"):
                results[host] = dict(result)
        return results
