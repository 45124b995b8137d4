"""What playbooks/logs.yml asks and shows. Runs on the controller alone.

    - fleet_logs: {given: {app: shop, lines: 50}, apps: "{{ apps }}"}
    - fleet_logs: {show: 50}

The first returns the arguments for module journal_lines or refuses them, the second all machines' lines.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from fleet_view.logs import asked, shown

Result = dict[str, Any]


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no types
    """The task's entry."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"given", "apps", "show"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        """Return what to ask, or what was said."""
        result: Result = super().run(tmp, task_vars)
        result["changed"] = False
        if "given" in self._task.args:
            try:
                return {**result, "asked": asked.asked(self._task.args["given"], self._task.args["apps"])}
            except asked.AskedError as error:
                return {**result, "failed": True, "msg": str(error)}
        variables = task_vars or {}
        hosts = variables["ansible_play_hosts_all"]
        answers = {host: variables["hostvars"][host].get("__logs_lines") or {} for host in hosts}
        lines = {host: answer["lines"] for host, answer in answers.items() if "lines" in answer}
        away = [f"{host}: not reached" for host, answer in answers.items() if answer.get("unreachable")]
        away += [f"{host}: {answer['msg']}" for host, answer in answers.items() if answer.get("failed")]
        text = shown.merged(lines, int(self._task.args["show"])) or ["nobody has said such a line"]
        # Straight to the terminal: a long line of a task's result is broken.
        Display().display("\n".join(text + away))
        return {**result, "text": text + away}
