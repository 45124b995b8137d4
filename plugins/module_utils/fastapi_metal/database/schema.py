"""Whether a release can run on the database's schema, now and after its migrations, and what follows.

A revision declares whether the release before it can still run on it (`backward_compatible`). What is
pending, what was applied and how each was declared is recorded in release.json, so that a way back is judged
by what was known when it was shut. Nothing here ever downgrades.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..engine.engine import Engine
from ..machine.files import read_json, write_json
from ..release.store import Record

ALLOW = "-e app_allow_incompatible_schema=true"


class SchemaError(Exception):
    """The release must not go on; the message says why, and which ways there are."""


@dataclass(frozen=True)
class Revision:
    """One migration: what it comes after, and whether the release before it can run on it."""

    revision: str
    down: list[str] = field(default_factory=list)
    compatible: bool | None = None

    def __str__(self) -> str:
        said = {True: "compatible", False: "declared incompatible", None: "undeclared"}[self.compatible]
        return f"{self.revision} ({said})"


Graph = dict[str, Revision]


@dataclass(frozen=True)
class Facts:
    """What the code and the database say: the revisions that the code knows, and those the database is at."""

    current: list[str]
    own: list[Revision]


@dataclass(frozen=True)
class Verdict:
    """What was found: to be recorded, to be told, and why it must not go on, if it must not."""

    schema: dict[str, Any]
    notices: list[str]
    problem: str | None = None


def graph_of(revisions: Iterable[Revision]) -> Graph:
    """Return revisions by their names."""
    return {revision.revision: revision for revision in revisions}


def revisions_in(schema: Mapping[str, Any]) -> list[Revision]:
    """Return the revisions that a record holds."""
    return [Revision(**each) for each in schema.get("graph", [])]


def known_graph(records: Iterable[Record]) -> Graph:
    """Return every revision that a release on this machine knows of."""
    found: Graph = {}
    for record in records:
        found.update(graph_of(revisions_in(record.schema)))
    return found


def behind(names: Iterable[str], graph: Graph) -> set[str]:
    """Return revisions and all that come before them."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name].down if name in graph else []
    return found


def heads(graph: Graph) -> list[str]:
    """Return the revisions after which none comes."""
    inner = {name for revision in graph.values() for name in revision.down}
    return sorted(set(graph) - inner)


def listed(revisions: Iterable[Revision]) -> str:
    """Return revisions for a sentence."""
    return ", ".join(map(str, revisions))


def judge(
    app: str, facts: Facts, records: list[Record], live: Record | None, *, serving: bool, allowed: bool
) -> Verdict:
    """Return whether a release may go on.

    `records` are the releases on this machine, `live` the one that serves here; `serving` says whether any
    serves anywhere, since a first release can shut no way back.
    """
    own = graph_of(facts.own)
    graph = {**known_graph(records), **own}
    applied = behind(facts.current, graph)
    strange = sorted(set(facts.current) - set(own))
    if strange:
        return judge_ahead(app, strange, applied, graph, own, allowed=allowed)
    pending = [revision for revision in facts.own if revision.revision not in applied]
    unsafe = [revision for revision in pending if revision.compatible is not True]
    there = set(live.schema.get("own", [])) if live and live.schema else None
    needed = [
        revision
        for revision in facts.own
        if revision in pending or (there is not None and revision.revision not in there)
    ]
    schema = {
        "revision": heads(own),
        "ahead": False,
        "own": list(own),
        "applied": [{"revision": each.revision, "compatible": each.compatible} for each in needed],
        "graph": [asdict(revision) for revision in graph.values()],
    }
    begins = not facts.current and not there
    notices = [f"schema: {listed(pending)} will be applied"] if pending else []
    if not unsafe or not serving or begins:
        return Verdict(schema, notices)
    if allowed:
        return Verdict(schema, [*notices, "schema: once applied there is no way back but a restore: allowed"])
    problem = (
        f"the schema of {app} would be changed by {listed(unsafe)}, and the release that serves now is not "
        "known to run on it: once that is applied there is no way back but a restore of the database. "
        "Nothing has been touched. Write `backward_compatible = True` into the migration if the release "
        f"before it can run on it, or make a backup and allow it with {ALLOW}"
    )
    return Verdict(schema, notices, problem)


def judge_ahead(
    app: str, strange: list[str], applied: set[str], graph: Graph, own: Graph, *, allowed: bool
) -> Verdict:
    """Return whether code may run on a schema that is newer than it."""
    unknown = [name for name in strange if name not in graph]
    since = [revision for name, revision in graph.items() if name in applied and name not in own]
    unsafe = [revision for revision in since if revision.compatible is not True]
    schema = {
        "revision": strange,
        "ahead": True,
        "own": list(own),
        "applied": [],
        "graph": [asdict(revision) for revision in graph.values()],
    }
    notices = [f"schema: the database is ahead of this code by {listed(since) or ', '.join(unknown)}"]
    if not unknown and not unsafe:
        return Verdict(schema, notices)
    if allowed:
        return Verdict(schema, [*notices, "schema: whether it runs on that is not known: allowed"])
    why = (
        f"the database of {app} is at {', '.join(unknown)}, which this code does not know, nor does any "
        "release on this machine"
        if unknown
        else f"the schema of {app} has since been changed by {listed(unsafe)}, and this code is not known to "
        "run on it"
    )
    problem = (
        f"{why}: the way back is a restore of the database, and the schema is never downgraded here. Nothing "
        f"has been touched. If you know that this code can run on it, allow it with {ALLOW}"
    )
    return Verdict(schema, notices, problem)


def shut(failed: Record | None, back_to: Record | None) -> list[str]:
    """Return what a release has applied on which another is not known to run: it shuts the way back."""
    applied = failed.schema.get("applied", []) if failed else []
    there = back_to.schema.get("own", []) if back_to else []
    unsafe = [str(each["revision"]) for each in applied if each["compatible"] is not True]
    return [name for name in unsafe if name not in there]


def no_way_back(engine: Engine, failed: str, back_to: str | None) -> str | None:
    """Return why traffic must not go back from a release that has migrated, or nothing.

    Asked by every put-back before it moves traffic.
    """
    if back_to is None:
        return None
    revisions = shut(engine.store.read(failed), engine.store.read(back_to))
    if not revisions:
        return None
    return (
        f"{failed} has changed the schema by {', '.join(revisions)}, on which {back_to} is not known to run: "
        "traffic is not moved back, and there is no way back but a restore of the database. Mend it with a "
        "newer release"
    )


def record(engine: Engine, release_id: str, schema: Mapping[str, Any]) -> bool:
    """Write what was found into a release's record."""
    path = engine.layout.record(release_id)
    found = read_json(path)
    if found is None:
        return False
    # What this release itself has applied stays, also when it is tried again and finds nothing pending.
    before = found.get("schema", {}).get("applied", [])
    names = {each["revision"] for each in schema["applied"]}
    kept = [each for each in before if each["revision"] not in names]
    return write_json(path, {**found, "schema": {**schema, "applied": [*kept, *schema["applied"]]}}, 0o644)
