"""One decision over all hosts: all go, or none does."""

from typing import Any

from fastapi_metal.fleet.decision import plan, problems, reason_text, release_for, table


def checked(**changes: Any) -> dict[str, Any]:
    """Return what a host's check found."""
    found: dict[str, Any] = {
        "problem": None,
        "live": "old",
        "settled": "old",
        "matching": [],
        "prepared": [],
        "completed": [],
        "jobs": False,
        "proposed": "new",
        "why": ["source"],
        "workers": 2,
        "workers_reason": "auto",
        "prunable": [],
        "packages": {"python": "3.13", "architecture": "x86_64", "there": False},
    }
    return {**found, **changes}


def test_all_hosts_get_the_same_new_release() -> None:
    """Each host would propose a name of its own; the first one's counts."""
    results = {"web1": checked(proposed="new-1"), "web2": checked(proposed="new-2")}
    assert {plan("shop", host, results, True).release for host in results} == {"new-1"}
    assert {plan("shop", host, results, True).prepare_on for host in results} == {"web1"}


def test_a_host_that_was_added_gets_what_the_others_run() -> None:
    """No second name for the same content, no second migration, and the others rest."""
    there = checked(live="new", settled="new", matching=["new"], prepared=["new"])
    results = {"web1": checked(live=None, settled=None, proposed="newer"), "web2": there}
    assert release_for(results) == "new"
    added, other = (plan("shop", host, results, True) for host in results)
    assert (added.deploy, added.send, added.back_to, added.prepare_on) == (True, True, None, None)
    assert (other.deploy, other.send) == (False, False)


def test_commands_that_failed_before_run_again() -> None:
    """A release that is on disk and was never prepared is prepared before it starts."""
    results = {"web1": checked(matching=["new"])}
    assert plan("shop", "web1", results, True).prepare_on == "web1"
    assert plan("shop", "web1", results, False).prepare_on is None


def test_commands_after_the_start_that_a_dead_run_has_left_are_run() -> None:
    """All is live everywhere, and still the first host has something to do: once, and on no other."""
    there = checked(live="new", settled="new", matching=["new"], prepared=["new"])
    results = {"web1": there, "web2": there}
    first, second = (plan("shop", host, results, True, True) for host in results)
    assert (first.after_start_on, first.deploy, second.deploy) == ("web1", True, False)
    results["web2"] = {**there, "completed": ["new"]}
    assert plan("shop", "web1", results, True, True).after_start_on is None
    assert not plan("shop", "web1", results, True, True).deploy


def test_every_kind_of_failure_counts() -> None:
    """An unreachable host, a crash and a reason are failures, and each is told."""
    results: dict[str, dict[str, Any]] = {
        "web1": {"problem": None},
        "web2": {"unreachable": True, "msg": "timed out"},
        "web3": {"failed": True, "msg": "traceback"},
        "web4": {"problem": "status 500", "journal": ["boom"]},
    }
    assert set(problems(results)) == {"web2", "web3", "web4"}
    text = reason_text("shop", "start", results)
    assert text.splitlines() == [
        "shop was not released: start failed.",
        "web2: unreachable: timed out",
        "web3: traceback",
        "web4: status 500",
        "the last lines of its journal on web4:",
        "  boom",
    ]


def test_the_table_of_check_mode_says_what_would_be() -> None:
    """A rehearsed switch has moved nothing, and so nothing was put back either."""
    results = {"web1": checked()}
    planned = {"web1": plan("shop", "web1", results, False)}
    rehearsed = {"changed": True, "problem": None, "rehearsed": True}
    rows = table("shop", planned, {"web1": {"check": results["web1"], "switch": rehearsed}})
    assert rows[-1].split() == ["web1", "old", "old", "would", "be", "released"]
