"""A schema that shuts the way back is refused before anything moves, or allowed and then remembered."""

from typing import Any

import pytest
from engine_fake import Behaviour, FakeMachine, Fleet, Host
from fastapi_metal.database.schema import Facts, Revision, behind, graph_of, heads, judge, no_way_back, shut
from fastapi_metal.release.store import Record

TOOL: dict[str, Any] = {
    "schema": {"current": "show current", "pending": "show pending"},
    "before_start": ["migrate"],
    "release_watch": 2,
    "health": {"stable": 1},
}
ONE = Revision("1", [], None)
TWO = Revision("2", ["1"], True)
THREE = Revision("3", ["2"], False)


def at(host: Host, current: str, pending: str, after: str = "") -> None:
    """Let the database be at a revision, and be at another once the migration has run."""
    host.machine.printed = {"show current": f"{current}\n", "show pending": f"{pending}\n"}
    host.machine.changes = {"migrate": {"show current": f"{after}\n", "show pending": ""}} if after else {}


@pytest.fixture
def live(host: Host) -> Host:
    """Return a machine on which a release serves, at revision 1."""
    at(host, "", "1", "1")
    assert host.deploy("one", **TOOL)["problem"] is None
    return host


def record(name: str, *own: Revision, applied: tuple[Revision, ...] = ()) -> Record:
    """Return the record of a release that knows these revisions."""
    schema = {
        "own": [each.revision for each in own],
        "applied": [{"revision": each.revision, "compatible": each.compatible} for each in applied],
        "graph": [vars(each) for each in own],
    }
    return Record(name, "", {}, 1, "", "", "", {}, {}, schema)


def test_a_first_release_needs_no_permission(host: Host) -> None:
    """Nothing serves, so no way back is shut by anything."""
    at(host, "", "1 incompatible\n2", "2")
    assert host.deploy("one", **TOOL)["problem"] is None
    assert host.machine.commands == ["migrate"]


@pytest.mark.parametrize("declared", ["2", "2 incompatible"])
def test_an_unsafe_revision_stops_before_anything_moves(live: Host, declared: str) -> None:
    """The sentence says that there is no way back but a restore, and how it is allowed."""
    at(live, "1", declared, "2")
    refused = live.deploy("two", **TOOL)
    assert "no way back but a restore" in refused["problem"]
    assert "app_allow_incompatible_schema=true" in refused["problem"]
    assert live.machine.commands == ["migrate"]
    assert live.live_word() == "one"
    live.allow = True
    assert live.deploy("two", **TOOL)["problem"] is None
    assert live.live_word() == "two"


def test_a_compatible_revision_goes_on_and_back(live: Host) -> None:
    """A failed release after it is put back as any other."""
    at(live, "1", "2 compatible", "2")
    live.machine.behaviour["two"] = Behaviour(dies_after=2)
    failed = live.deploy("two", **TOOL)
    assert "into the watch" in failed["problem"]
    assert live.live_word() == "one"


def test_after_an_unsafe_revision_traffic_is_not_moved_back(live: Host) -> None:
    """What cannot run on the schema never gets traffic again; the run fails and says so."""
    at(live, "1", "2 incompatible", "2")
    live.allow = True
    live.machine.behaviour["two"] = Behaviour(dies_after=2)
    failed = live.deploy("two", **TOOL)
    assert "traffic is not moved back, and there is no way back but a restore" in failed["problem"]
    assert live.layout.current.readlink().name != live.engine(live.request("one")).store.previous()
    assert live.live_word() == "two"


def test_before_the_switch_the_old_release_serves_on(live: Host) -> None:
    """It may not be able to, but moving to a release that is not well would help nobody."""
    at(live, "1", "2 incompatible", "2")
    live.allow = True
    live.machine.behaviour["two"] = Behaviour(status=500)
    assert live.deploy("two", **TOOL)["problem"]
    assert live.live_word() == "one"


def test_a_second_try_remembers_what_the_first_has_applied(live: Host) -> None:
    """Nothing is pending any more, and the way back is shut all the same."""
    at(live, "1", "2 incompatible", "2")
    live.allow = True
    live.machine.behaviour["two"] = Behaviour(status=500)
    live.deploy("two", **TOOL)
    live.allow = False
    live.machine.behaviour["two"] = Behaviour(dies_after=2)
    failed = live.deploy("two", **TOOL)
    assert "traffic is not moved back" in failed["problem"]
    assert live.live_word() == "two"


def test_a_way_back_is_judged_by_what_was_recorded(live: Host) -> None:
    """Over compatible revisions it is free, over others it is refused and says why."""
    first = live.layout.current.readlink().name
    at(live, "1", "2 compatible", "2")
    assert live.deploy("two", **TOOL)["problem"] is None
    at(live, "2", "ahead 1")
    fleet = Fleet({"web1": live})
    assert not fleet.roll_back(first).problems
    assert live.live_word() == "one"
    at(live, "2", "3 incompatible", "3")
    live.allow = True
    assert live.deploy("three", **TOOL)["problem"] is None
    live.allow = False
    at(live, "3", "ahead 1")
    run = Fleet({"web1": live}).roll_back(first)
    assert "has since been changed by 3 (declared incompatible)" in str(run.reason)
    assert live.live_word() == "three"


@pytest.mark.parametrize(
    ("how", "line"), [("files", "LoadCredentialEncrypted=token:"), ("env", "EnvironmentFile=/etc/shop")]
)
def test_a_way_back_asks_with_the_secrets_of_then(host: Host, how: str, line: str) -> None:
    """A database elsewhere wants a password, and the inventory's is not asked for.

    Red when the command that tells the revision is started without the secrets of its release.
    """
    entry = {**TOOL, "secrets": {"token": "of then"}, "secrets_as": how}
    at(host, "", "1", "1")
    assert host.deploy("one", **entry)["problem"] is None
    at(host, "1", "")
    assert host.deploy("two", **entry)["problem"] is None
    host.machine.captured.clear()
    assert not Fleet({"web1": host}).roll_back().problems
    assert host.live_word() == "one"
    assert host.machine.captured
    for call in host.machine.captured:
        assert any(line in each.replace(str(host.machine.root), "") for each in call.properties)


def test_every_host_knows_what_the_first_has_found(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The migration ran on one; traffic is held on all."""
    hosts = {name: Host(FakeMachine(tmp_path_factory.mktemp(name))) for name in ("web1", "web2")}
    at(hosts["web1"], "", "1", "1")
    assert not Fleet(hosts).deploy("one", **TOOL).problems
    at(hosts["web1"], "1", "2 incompatible", "2")
    for host in hosts.values():
        host.allow = True
    hosts["web2"].machine.behaviour["two"] = Behaviour(dies_after=2)
    run = Fleet(hosts).deploy("two", **TOOL)
    assert "no way back but a restore" in str(run.reason)
    assert {host.live_word() for host in hosts.values()} == {"two"}


def test_a_line_that_is_none_is_shown(live: Host) -> None:
    """With the format that would work."""
    at(live, "1", "2 maybe")
    assert (
        "print one line per revision, oldest first, as `0042 compatible`"
        in live.deploy("two", **TOOL)["problem"]
    )


def test_branches_are_followed() -> None:
    """A revision may come after two, and the database be at two."""
    graph = graph_of(
        [ONE, Revision("a", ["1"], True), Revision("b", ["1"], None), Revision("m", ["a", "b"], True)]
    )
    assert heads(graph) == ["m"]
    assert behind(["a"], graph) == {"a", "1"}
    found = judge(
        "shop", Facts(["a"], list(graph.values())), [], record("x", ONE), serving=True, allowed=False
    )
    assert found.problem
    assert "b (undeclared)" in found.problem
    assert "m (" not in found.problem


def test_older_code_on_a_newer_schema() -> None:
    """Allowed over declared revisions alone; what nobody knows is refused."""
    facts = Facts(["2"], [ONE])
    new = record("new", ONE, TWO)
    assert judge("shop", facts, [new], new, serving=True, allowed=False).problem is None
    unknown = judge("shop", facts, [], None, serving=True, allowed=False)
    assert unknown.problem
    assert "nor does any release" in unknown.problem
    newer = record("newer", ONE, TWO, THREE)
    refused = judge("shop", Facts(["3"], [ONE]), [newer], newer, serving=True, allowed=False)
    assert refused.problem
    assert "3 (declared incompatible)" in refused.problem
    assert judge("shop", Facts(["3"], [ONE]), [newer], newer, serving=True, allowed=True).problem is None
    # It knows the third one itself.
    assert (
        judge("shop", Facts(["3"], [ONE, TWO, THREE]), [], None, serving=True, allowed=False).problem is None
    )


def test_what_another_release_knows_shuts_no_way_to_it() -> None:
    """A way back that fails returns to where it came from."""
    older = record("older", ONE, TWO, THREE, applied=(THREE,))
    assert shut(older, record("newer", ONE, TWO, THREE, Revision("4", ["3"], True))) == []
    assert shut(older, record("oldest", ONE, TWO)) == ["3"]


def test_nothing_recorded_shuts_nothing(host: Host) -> None:
    """An application without a schema is put back as ever."""
    release = host.deploy("one")["release"]
    assert no_way_back(host.engine(host.request("one")), release, "another") is None


def test_alembic_is_skipped_on_a_schema_that_is_ahead(live: Host) -> None:
    """It would end with an error, as it cannot find the revision that is there."""
    at(live, "1", "2 compatible", "2")
    assert live.deploy("two", **TOOL)["problem"] is None
    at(live, "2", "ahead 1")
    entry = {**TOOL, "before_start": ["alembic upgrade head", "alembic upgrade head && true", "other"]}
    assert live.deploy("older", **entry)["problem"] is None
    assert live.machine.commands[-2:] == ["alembic upgrade head && true", "other"]
    assert "alembic upgrade head" not in live.machine.commands
