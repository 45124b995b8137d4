"""A release moves traffic from the old version to the new one without losing a request."""

import json
import time
from typing import Any

from client import Site, load, product
from conftest import ROOT, Lab
from played import why
from testinfra.host import Host

# What Ansible does without the machine.
ON_CONTROLLER = {
    *("release_decide", "validate_apps", "validate_argument_spec"),
    *("include_tasks", "include_role", "assert", "debug", "fail", "meta", "set_fact"),
}


def renamed(host: Host) -> float:
    """Return when the link to the live release was renamed, on this process's monotonic clock.

    Machines of a lab share the clock of their host, and a rename sets the time of change.
    """
    offset = time.time() - time.monotonic()
    return float(host.check_output("stat -c %.Z /srv/catalog/current")) - offset


def remote_tasks(lab: Lab, **variables: Any) -> tuple[list[str], str]:
    """Deploy and return the tasks that reached the machine, and the release's state at the end of the run."""
    argv = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", "inventories/lab", "playbooks/deploy.yml"]
    argv += ["--extra-vars", json.dumps(variables)]
    done = lab.run(*argv, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json")
    assert done.returncode == 0, why(done)
    tasks = [task for play in json.loads(done.stdout)["plays"] for task in play["tasks"]]
    reached = [
        task["task"]["name"]
        for task in tasks
        for result in task["hosts"].values()
        if str(result.get("action")).rpartition(".")[2] not in ON_CONTROLLER and not result.get("skipped")
    ]
    table = next(task for task in tasks if task["task"]["name"].endswith("and has now"))
    return reached, next(iter(table["hosts"].values()))["msg"][-1].split()[-1]


def test_a_deploy_is_few_remote_tasks(lab: Lab) -> None:
    """An unchanged deploy reaches a machine with at most 8 tasks, and so does one that releases.

    Each costs a round trip and a start of Python there, which is what a deploy's time is made of.
    Red when a task of the role goes to the machine that could be a part of one of the engine's steps.
    """
    unchanged, state = remote_tasks(lab, app="catalog")
    assert state == "unchanged"
    entry = {**lab.variable("apps")["catalog"], "env": {"CATALOG_LOG_LEVEL": "error"}}
    changed, state = remote_tasks(lab, app="catalog", apps={"catalog": entry})
    assert state == "released"
    _, state = remote_tasks(lab, app="catalog")
    assert state == "released"
    print(f"remote tasks: {len(unchanged)} of an unchanged deploy, {len(changed)} of a changed one")
    assert any("check" in name for name in unchanged), "no task was counted"
    assert len(unchanged) <= 8, unchanged
    assert len(changed) <= 8, changed


def test_a_changed_setting_is_a_release_that_drops_nothing(lab: Lab, host: Host, site: Site) -> None:
    """A changed environment variable is released under load, and the way back too: no request fails.

    Red when the old release is stopped before traffic has moved, or when a restart stands in for a switch.
    The load is valid only if both releases answered in it, and requests began right before and right after
    each of the two renames. Where the host was busy with something else then, it is looked at once more.
    """
    for _ in range(3):
        around = switched_twice(lab, host, site)
        # Two processors by themselves reach more than 150 on each side; other scenarios may run beside it.
        if enough := all(min(sides) >= 20 for sides in around):
            break
    assert enough, f"hardly a load at a rename: {around}"


def switched_twice(lab: Lab, host: Host, site: Site) -> list[tuple[int, int]]:
    """Release a changed variable and the way back under load; return the requests around each rename.

    They are those that began within a second before it, and within a second after.
    """
    before = site.get("/version").json()["release"]
    with load(site, lambda number: product(f"{time.time_ns()}-{number}"), clients=3) as running:
        there = lab.deploy("catalog", env={"CATALOG_LOG_LEVEL": "warning"})
        changed = site.get("/version").json()["release"]
        renames = [renamed(host)]
        back = lab.deploy("catalog")
        renames.append(renamed(host))
    around = [running.around(rename) for rename in renames]
    print(
        f"{len(running.records)} requests over two switches, {len(running.bad())} failed, "
        f"longest pause {running.longest_pause():.2f} s, within 1 s before and after each rename: {around}"
    )
    assert there.returncode == 0, why(there)
    assert back.returncode == 0, why(back)
    assert running.releases() == [before, changed]
    assert not running.bad()
    assert site.get("/version").json()["release"] == before
    assert len(running.records) >= 200, "hardly a load"
    return around
