"""One step of a release, as the controller sees it: it knows the source, and sends it once.

What goes wrong stands in `problem`, and `release_decide` decides over all hosts.
"""

import getpass
import json
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from ansible import constants
from ansible.plugins.action import ActionBase
from fastapi_metal.apps.cache import group, with_address
from fastapi_metal.apps.specs import complete, plain
from fastapi_metal.fleet.asking import left_out, on_behalf, patiently
from fastapi_metal.source.snapshot import Seen, Snapshot, cache
from fastapi_metal.source.tree import SourceError
from fastapi_metal.transport import controller
from fastapi_metal.transport.wire import ATTACHED, Call

# These look at files of the host even in check mode; all others would need what the one before had done.
REAL_IN_CHECK_MODE = {"check", "ensure", "stage", "remove"}

Result = dict[str, Any]
Vars = dict[str, Any]


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no types
    """The task's entry."""

    TRANSFERS_FILES = True
    _VALID_ARGS = frozenset(
        {"step", "app", "plan", "files", "enable", "after", "reason", "rollback", "remove_data"}
    )

    def run(self, tmp: str | None = None, task_vars: Vars | None = None) -> Result:
        """Run one step on one host."""
        result: Result = super().run(tmp, task_vars)
        self._attached: dict[str, bytes] = {}
        self._interpreter = self._lean(task_vars or {})
        args = plain(self._task.args)
        step, app = args["step"], args["app"]
        # Whose result it is: what another application's step has registered counts for nothing here.
        result["app"] = app["name"]
        if self._task.check_mode and step not in REAL_IN_CHECK_MODE:
            changed = step not in {"put_back", "schema"}
            return {**result, "changed": changed, "problem": None, "journal": [], "rehearsed": True}
        missing = None if self._task.check_mode or step != "check" else left_out(app, task_vars or {})
        if missing:
            return {**result, "changed": False, "problem": missing, "journal": []}
        try:
            request = self._request(app, args)
            request.update(on_behalf(app, request["entry"], args, task_vars or {}))
            if step == "start":
                request["schema"] = schema_found(request["release"], task_vars or {})
            if step == "stage" and args["plan"]["send"] and not self._task.check_mode:
                self._send(app, request, args["plan"]["packages"])
        except (SourceError, ValueError) as error:
            return {**result, "changed": False, "problem": str(error), "journal": []}

        def ask() -> Result:
            return self._ask(step, app["name"], request, task_vars or {})

        if step == "check":
            result.update(patiently(ask, request, float(app["lease_wait"]), self._say))
            # After a wait there is another check, which knows nothing of whose lease this one took.
            for notice in result.get("notices", []) if result.get("waited") else []:
                self._say(notice)
        else:
            result.update(ask())
        self._show(step, request, result, task_vars or {})
        return result

    def _say(self, message: str) -> None:
        """Tell the operator, while the task is still running."""
        self._display.display(f"[{self._task.args['app']['name']}] {message}")

    def _lean(self, task_vars: Vars) -> str | None:
        """Return the host's Python if a step can be one round trip: no terminal in between, no file to run.

        Without pipelining, or with an interpreter that has yet to be found, steps run as a module.
        """
        wanted = constants.config.get_config_value("INTERPRETER_PYTHON", variables=task_vars)
        interpreter = str(self._templar.template(wanted))
        lean = interpreter.startswith("/") and self._connection.is_pipelining_enabled()
        return interpreter if lean else None

    def _ask(self, step: str, name: str, request: dict[str, Any], task_vars: Vars) -> Result:
        """Run the step on the host; whatever goes wrong there is a problem in the result."""
        if self._interpreter:
            return self._ask_engine(self._interpreter, step, name, request)
        module_args = {"step": step, "name": name, "request": json.dumps(request)}
        result: Result = self._execute_module(
            module_name="release", module_args=module_args, task_vars=task_vars
        )
        if result.pop("failed", False):
            # A failed task would take its host out of the play, and the decision would not see it.
            result["problem"] = crash(result)
        return result

    def _ask_engine(self, interpreter: str, step: str, name: str, request: dict[str, Any]) -> Result:
        """Run the step by the engine that the host keeps."""
        environment: dict[str, Any] = {}
        self._compute_environment_string(environment)
        call: Call = {
            "step": step,
            "name": name,
            "check_mode": bool(self._task.check_mode),
            "environment": {key: str(value) for key, value in environment.items()},
        }

        def send(command: str, data: bytes) -> controller.Output:
            done = self._low_level_execute_command(command, in_data=data)
            return controller.Output(done["rc"], done["stdout"], done["stderr"])

        result = controller.run_step(send, interpreter, call, request, self._attached)
        details = result.pop("traceback", None)
        if details:
            self._display.vvv(details, host=self._play_context.remote_addr)
        return result

    def _request(self, app: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
        """Return everything that the host must know."""
        entry = with_address(str(app["name"]), complete(app["entry"]), app["cache_url"])
        seen = self._seen(app, entry)
        plan = args.get("plan") or {}
        return {
            # The controller alone goes where the source is: no host gets a key or an address with a password.
            # Nor does a release get the site's certificate, which Nginx has.
            "entry": {
                **entry,
                "source": {},
                "web": {**entry["web"], "tls": {"mode": entry["web"]["tls"]["mode"]}},
            },
            "source": asdict(seen),
            "database_url": app["database_url"],
            "database_wait": app["database_wait"],
            "cache_group": group(entry, app["cache_url"], app["cache_group"]),
            "python": app["python"],
            "socket_group": app["socket_group"],
            "minimum_free_disk": int(app["minimum_free_disk"]),
            "deployed_by": f"{getpass.getuser()}@{socket.gethostname()}",
            "release": plan.get("release"),
            "back_to": plan.get("back_to"),
            "reason": args.get("reason", ""),
            "files": args.get("files", []),
            "enable": args.get("enable", []),
        }

    def _snapshot(self, app: dict[str, Any], entry: dict[str, Any]) -> Snapshot:
        """Return the source as this run sees it."""
        # Ansible makes this directory for each run, for this user alone, and removes it at the end.
        return Snapshot(app["name"], entry, Path(constants.DEFAULT_LOCAL_TMP) / "fastapi-metal", cache())

    def _seen(self, app: dict[str, Any], entry: dict[str, Any]) -> Seen:
        """Return what is known of the source; only the steps that compare or record it read it."""
        if self._task.args["step"] not in {"check", "stage"} or self._task.args.get("rollback"):
            return Seen(digest="", lock="", origin="", requires_python="", source_decides=False)
        return self._snapshot(app, entry).see()

    def _send(self, app: dict[str, Any], request: dict[str, Any], packages: dict[str, Any]) -> None:
        """Send the source as one tarball, and the packages as another where the host asks no index."""
        entry = complete(app["entry"])
        snapshot, seen = self._snapshot(app, entry), Seen(**request["source"])
        request["archive"] = self._bring(snapshot.packed(seen))
        if entry["install"]["offline"]:
            request["wheels"] = self._bring(snapshot.wheels(seen, packages))

    def _bring(self, path: Path) -> str:
        """Let a file reach the host with the step, or before it where it is too big, and return its name."""
        together = path.stat().st_size + sum(len(content) for content in self._attached.values())
        if self._interpreter and together <= controller.MOST:
            self._attached[path.name] = path.read_bytes()
            return f"{ATTACHED}{path.name}"
        remote = self._connection._shell.join_path(self._make_tmp_path(), path.name)
        self._transfer_file(str(path), remote)
        self._fixup_perms2((self._connection._shell.tmpdir, remote))
        return str(remote)

    def _show(self, step: str, request: dict[str, Any], result: Result, task_vars: Vars) -> None:
        """Show what --diff asks for, and keep it out of what is registered.

        Ansible shows it of tasks that change something: what the check has found is shown with the stage.
        """
        before = result.pop("before", {})
        if step in {"ensure", "stage"}:
            after = {file["path"]: file["content"] for file in request["files"] if file["path"] in before}
        else:
            before, after = result.pop("rendered_before", {}), result.pop("rendered", {})
        if self._task.diff:
            result["diff"] = [
                {"before_header": name, "after_header": name, "before": before.get(name, ""), "after": text}
                for name, text in sorted(after.items())
                if before.get(name, "") != text
            ]
            if step == "stage":
                result["diff"] += task_vars.get("__app_check", {}).get("diff", [])


def schema_found(release: str | None, task_vars: Vars) -> dict[str, Any] | None:
    """Return what the first host has found of the schema for this release; every host writes it down."""
    for host in task_vars.get("ansible_play_hosts_all", []):
        found = (task_vars["hostvars"][host].get("__app_schema") or {}).get("found")
        if found and found["release"] == release:
            return dict(found)
    return None


def crash(result: Result) -> str:
    """Return one readable reason out of a module's failure, which should never be seen."""
    message = str(result.get("msg") or "the step failed")
    detail = str(result.get("exception") or result.get("module_stderr") or "").strip().splitlines()
    return f"{message} {detail[-1] if detail else ''}".strip()
