"""What playbooks/status.yml asks and shows. Runs on the controller alone.

    - fleet_status: {ask: true, apps: "{{ apps }}", hours: 3}
    - fleet_status: {show: true, apps: "{{ apps }}", answers: "{{ … }}", page: status.html, hours: 3}

With `ask` it returns the questions for Prometheus (`now`, `over`), with `show` the table; it writes the page.
`only` leaves one application.
"""

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from fleet_view.status import answers, questions, rows, text

Result = dict[str, Any]
# As many figures as a picture is wide enough for.
FIGURES = 160


def step(hours: float) -> int:
    """Return the seconds between two figures."""
    return max(15, round(hours * 3600 / FIGURES))


def names(plots: list[questions.Plot]) -> dict[str, str]:
    """Return every query of the pictures by a name of its own."""
    return {
        f"{number}.{part}": expr
        for number, plot in enumerate(plots)
        for part, (expr, _) in enumerate(plot.asks)
    }


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no types
    """The task's entry."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"ask", "show", "apps", "only", "answers", "page", "hours"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        """Return the questions, or show the answers."""
        result: Result = super().run(tmp, task_vars)
        result["changed"] = False
        hours = float(self._task.args["hours"])
        if self._task.args.get("ask"):
            plots = questions.plots(self._apps(), step(hours))
            return {**result, "now": questions.FIGURES, "over": names(plots), "step": step(hours)}
        shown = self._show(task_vars or {}, hours)
        # Straight to the terminal: a long line of a task's result is broken.
        Display().display("\n".join(shown["table"]))
        return {**result, **shown}

    def _apps(self) -> list[str]:
        """Return the applications that are asked for."""
        only = self._task.args.get("only")
        return sorted(name for name in self._task.args["apps"] if only in (None, "", name))

    def _wanted(self, task_vars: dict[str, Any]) -> dict[str, list[str]]:
        """Return which applications each machine runs; of one application its machines alone."""
        apps = self._task.args["apps"]
        found = {}
        for host in task_vars["ansible_play_hosts_all"]:
            groups = [*task_vars["hostvars"][host].get("group_names", []), "all"]
            found[host] = [name for name in self._apps() if apps[name].get("hosts", "web") in groups]
        return {host: names for host, names in found.items() if names or not self._task.args.get("only")}

    def _show(self, task_vars: dict[str, Any], hours: float) -> Result:
        wanted = self._wanted(task_vars)
        asked = self._task.args.get("answers") or {}
        found = {host: self._said(task_vars, host) for host in wanted}
        rows_of = {name: answers.series(result) for name, result in (asked.get("answers") or {}).items()}
        figures = {name: rows_of[name] for name in questions.FIGURES if name in rows_of}
        problems = [f"{host} was not reached" for host, said in found.items() if said is None]
        problems += [f"no figures: {asked['problem']}"] if asked.get("problem") else []
        problems += [] if asked else ["no figures: no machine of the group monitoring was reached"]
        now = float(asked.get("end") or time.time())
        table = rows.rows(found, wanted, figures)
        machines = rows.machines(found, figures)
        firing = rows.alerts(figures) if "alerts" in figures else None
        lines = [*text.table(table, now), *text.notes(machines, firing or (), problems)]
        target = self._task.args.get("page")
        if not target:
            return {"table": lines}
        if self._task.check_mode:
            return {"table": [*lines, f"the page {target} would be written"]}
        error = self._write(
            Path(target), self._apps(), (table, machines, firing, problems), rows_of, now, hours
        )
        return {"table": lines, **error} if error else {"table": [*lines, f"the page: {target}"]}

    @staticmethod
    def _write(
        target: Path,
        apps: list[str],
        said: tuple[Any, Any, Any, list[str]],
        rows_of: dict[str, list[answers.Series]],
        now: float,
        hours: float,
    ) -> Result:
        """Write the page; return what kept it from being written."""
        try:
            from fleet_view.status import page, plots  # takes half a second, and a library more
        except ImportError as error:
            way_out = "run bin/setup, or leave the page out with -e page="
            return {"failed": True, "msg": f"{error.name} is missing on the controller: {way_out}"}
        span = (now - hours * 3600, now)
        pictures = []
        for number, plot in enumerate(questions.plots(apps, step(hours)) if rows_of else []):
            lines = [rows_of.get(f"{number}.{part}", []) for part in range(len(plot.asks))]
            pictures.append(page.Picture(plot, plots.draw(plot, lines, span)))
        table, machines, firing, problems = said
        fleet = page.Fleet(now, table, machines, firing, pictures, problems, hours * 3600)
        try:
            target.write_text(page.page(fleet))
        except OSError as error:
            return {"failed": True, "msg": f"page is {target}, which cannot be written: {error.strerror}"}
        return {}

    @staticmethod
    def _said(task_vars: dict[str, Any], host: str) -> dict[str, Any] | None:
        """Return what a machine has said of itself."""
        said = task_vars["hostvars"][host].get("__status_machine") or {}
        return said if "machine" in said else None
