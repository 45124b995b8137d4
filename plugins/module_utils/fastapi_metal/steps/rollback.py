"""The way back to a release that is still on disk, by what was recorded with it."""

from dataclasses import replace
from typing import Any

from ..engine.engine import Engine
from ..release.rendering import ENCRYPTED
from ..release.store import Record
from . import jobs, room

Found = dict[str, Any]


def as_recorded(engine: Engine, release_id: str) -> Engine:
    """Return the engine with the settings that a release was made with."""
    record = engine.store.read(release_id)
    kept = record.settings if record else {}
    entry = {**engine.settings.entry, **kept}
    return replace(
        engine, settings=replace(engine.settings, entry=entry, secrets=secrets(engine, release_id))
    )


def secrets(engine: Engine, release_id: str) -> dict[str, str]:
    """Return the names of the secrets that a release has; systemd knows what they are.

    Its commands get them too, as the one that tells the revision of a database elsewhere.
    """
    place = engine.layout.credentials(release_id)
    return {path.name.removesuffix(ENCRYPTED): "" for path in place.iterdir()} if place.is_dir() else {}


def choice(engine: Engine, record: Record, live: str | None, previous: str | None) -> Found:
    """Return what a human must know to choose a release."""
    marks = []
    if record.id == live:
        marks.append("live")
    if record.id == previous:
        marks.append("previous")
    if engine.layout.failed(record.id).exists():
        marks.append("failed")
    return {
        "id": record.id,
        "origin": record.origin,
        "by": record.deployed_by,
        "marks": marks,
        "recorded": bool(record.settings),
        "batch": str(record.settings.get("release_batch", "100%")),
    }


def look_back(engine: Engine) -> Found:
    """Return what the controller needs to decide about a way back. Reads only."""
    store = engine.store
    live, previous = store.live(), store.previous()
    releases = [choice(engine, record, live, previous) for record in store.all()]
    problem = None
    if not releases:
        problem = (
            f"there is no release of {engine.settings.name} on this machine; run playbooks/deploy.yml first"
        )
    resources = engine.resources()
    moves, why = room.mode(engine, resources, engine.sizing(resources))
    return {
        "problem": problem,
        "mode": moves,
        "mode_reason": why,
        "live": live,
        "settled": live if live and engine.settled(live) and jobs.settled(engine, live) else None,
        "previous": previous,
        "releases": releases,
    }
