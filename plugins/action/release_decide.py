"""Decide after a step, over all hosts of an application. Runs on the controller alone, once for all of them.

`ok` is false and `reason` is given where a host did not succeed: what has begun is then put back, and
the decision after that fails the play. The decision after `drain` or `ensure` fails it too.
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from ansible.plugins.action import ActionBase
from fastapi_metal.apps.specs import complete
from fastapi_metal.fleet import decision, decision_back

NOT_RUN = {"problem": "the step did not run there"}
LEFT = {"problem": "it failed or became unreachable earlier in this play"}
# In the order in which they run; each is registered as __app_<step>.
STEPS = (
    *("check", "ensure", "stage", "schema", "prepare", "start", "switch", "after_start", "jobs", "drain"),
    *("put_back", "remove"),
)
# Nothing follows these but the table.
LAST = {"ensure", "drain", "remove"}

Result = dict[str, Any]
Vars = dict[str, Any]

NOTHING_PLANNED: Result = {
    "plans": {},
    "work": False,
    "schema": False,
    "prepare": False,
    "batches": 0,
    "again": False,
    "report": [],
}


def hosts_of(group: str, task_vars: Vars) -> list[str]:
    """Return the hosts over which is decided, those that have left the play among them."""
    members = task_vars["groups"].get(group, [])
    return [host for host in task_vars["ansible_play_hosts_all"] if group == "all" or host in members]


def has_schema(entry: dict[str, Any]) -> bool:
    """Tell whether an application may have a schema that is worth a look."""
    schema = entry["schema"]
    return bool(schema["enabled"] and (schema["current"] or entry["database"] or entry["before_start"]))


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no types
    """The task's entry."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"after", "app", "because", "rollback"})

    def run(self, tmp: str | None = None, task_vars: Vars | None = None) -> Result:
        """Return the decision."""
        result: Result = super().run(tmp, task_vars)
        self._vars: Vars = task_vars or {}
        self._app: dict[str, Any] = self._task.args["app"]
        name, after = str(self._app["name"]), str(self._task.args["after"])
        hosts = hosts_of(str(self._app["hosts"]), self._vars)
        results = {host: found for host in hosts if (found := self._result(host, after)) is not None}
        bad = decision.problems(results)
        result.update(changed=False, after=after, ok=not bad, reason="")
        if after == "put_back":
            because = str(self._task.args["because"])
            text = decision.end_text(name, because, results, self._plans(), self._table(hosts))
            return {"failed": True, "changed": False, "msg": text}
        if after == "check":
            result.update(self._decided(name, results) if not bad else NOTHING_PLANNED)
        if bad:
            result["reason"] = decision.reason_text(name, after, results, self._verb())
        if after in LAST:
            result["table"] = self._table(hosts)
            if bad:
                text = "\n".join([result["reason"], "", *result["table"]])
                return {"failed": True, "changed": False, "msg": text}
        return result

    def _verb(self) -> str:
        """Return what this run does, for sentences."""
        if self._task.args["after"] == "remove":
            return "removed"
        back = self._task.args.get("rollback") or any(plan.recorded for plan in self._plans().values())
        return "rolled back" if back else "released"

    def _decided(self, name: str, results: dict[str, Any]) -> Result:
        """Return what the hosts do, or why there is nothing that they could."""
        wanted = str(self._task.args.get("rollback") or "")
        if not wanted:
            return self._planned(results, self._forward(name, results))
        try:
            return self._planned(results, decision_back.plans_back(name, results, wanted))
        except decision_back.NoWayBackError as error:
            return {**NOTHING_PLANNED, "ok": False, "reason": f"{name} was not rolled back: {error}"}

    def _forward(self, name: str, results: dict[str, Any]) -> dict[str, decision.Plan]:
        """Return what each host does for a deploy."""
        entry = complete(self._app["entry"])
        before, after = bool(entry["before_start"]), bool(entry["after_start"])
        batch = str(entry["release_batch"])
        return decision.plans(name, results, before, after, batch, has_schema(entry))

    def _planned(self, results: dict[str, Any], plans: dict[str, decision.Plan]) -> Result:
        """Return every host's plan, and what is said of them all."""
        batches = [plan.batch + 1 for plan in plans.values() if plan.batch is not None]
        return {
            "plans": {host: asdict(plan) for host, plan in plans.items()},
            "work": any(plan.work for plan in plans.values()),
            "schema": any(plan.schema_on for plan in plans.values()),
            "prepare": any(plan.prepare_on for plan in plans.values()),
            "batches": max(batches, default=0),
            # What the hosts said before somebody else's release ended is no longer true.
            "again": any(found.get("waited") for found in results.values()),
            "report": [line for plan in plans.values() for line in plan.report],
        }

    def _plans(self) -> dict[str, decision.Plan]:
        """Return the plans that were made after the check, if it came to that."""
        planned = self._vars.get("__app_plans") or {}
        found = {host: decision.Plan(**plan) for host, plan in (planned.get("plans") or {}).items()}
        return {host: plan for host, plan in found.items() if plan.app == self._app["name"]}

    def _registered(self, host: str, step: str) -> Result | None:
        """Return a step's result on a host, if it is this application's."""
        found = self._vars["hostvars"][host].get(f"__app_{step}")
        if not found or found.get("skipped") or found.get("app", self._app["name"]) != self._app["name"]:
            return None
        return dict(found)

    def _result(self, host: str, after: str) -> Result | None:
        """Return a host's result of the step to decide about; nothing where there was nothing to do."""
        if host not in self._vars["ansible_play_hosts"]:
            failed = (self._registered(host, step) for step in STEPS)
            return next((found for found in failed if found and decision.problem_of(found)), LEFT)
        if self._vars["hostvars"][host].get(f"__app_{after}", NOT_RUN).get("skipped"):
            return None
        return self._registered(host, after) or NOT_RUN

    def _table(self, hosts: list[str]) -> list[str]:
        """Return how it ended on each host."""
        plans, batch = self._plans(), self._vars.get("__app_batch")
        rows = {}
        for host in hosts:
            steps = {step: found for step in STEPS if (found := self._registered(host, step))}
            plan = plans.get(host)
            if batch is not None and plan and plan.batch is not None and plan.batch < int(batch):
                # Its result went with the next batch, in which the host had nothing to do.
                steps = {"check": steps.get("check", {}), "switch": {"live": plan.release}, **steps}
            rows[host] = steps
        return decision.table(str(self._app["name"]), plans, rows)
