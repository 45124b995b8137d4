"""Land files that could lock everybody out, open a new connection, and confirm over it.

The module of the same name says what the machine does by itself when nobody confirms.
"""

import time
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

Result = dict[str, Any]

# Between two attempts to come in again, and for what is put back after its time is up.
PAUSE = 1.0
PATIENCE = 60.0


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no types
    """The task's entry."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        """Land; confirm over a new connection; otherwise wait until what was there before is back."""
        result: Result = super().run(tmp, task_vars)
        self._variables = task_vars or {}
        seconds = float(self._task.args.get("seconds", 60))
        result.update(self._step("land"))
        if result.get("failed") or not result.get("pending"):
            return result
        landed, self._token = time.monotonic(), result.pop("token")
        if self._again("confirm", "confirmed", True, landed + seconds):
            return {**result, "pending": False}
        name = self._task.args["name"]
        Display().display(f"{name}: no new connection comes in; waiting for the machine to put it back")
        back = self._again("ask", "pending", False, landed + seconds + PATIENCE)
        after = "what was there before is back, and the machine can be reached" if back else "it is not back"
        msg = (
            f"The change '{name}' let no new connection in within {seconds:.0f} s: {after}. Look at what "
            f"--diff shows of it, and at `journalctl -u undo-change@{name}.service` on the machine."
        )
        return {**result, "failed": True, "changed": not back, "pending": not back, "msg": msg}

    def _again(self, step: str, key: str, wanted: bool, end: float) -> bool:
        """Ask over new connections until the answer is the wanted one, or the time is up."""
        while True:
            try:
                self._connection.reset()
                if self._step(step).get(key) is wanted:
                    return True
            except (AnsibleError, OSError) as error:
                Display().vvv(f"{step}: {error}")
            if time.monotonic() + PAUSE > end:
                return False
            time.sleep(PAUSE)

    def _step(self, step: str) -> Result:
        """Run one step of the module on the machine."""
        args = self._task.args if step == "land" else {"name": self._task.args["name"], "token": self._token}
        found: Result = self._execute_module(
            module_name="guarded_files", module_args={**args, "step": step}, task_vars=self._variables
        )
        return found
