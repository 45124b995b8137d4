"""Which processes and timers of a release run on this machine, and what it takes that no others do."""

from functools import partial
from pathlib import Path

from ..engine.effects import Effect
from ..engine.engine import Engine
from ..machine.files import directory, remove, write
from ..release.job_units import jobs, scripts
from ..release.layout import Layout
from ..release.rendering import job_unit_files

STAMPS = "var/lib/systemd/timers"
JOURNAL_LINES = 30
# Seconds for which a new process must stay up, and between two looks.
STABLE = 2.0
POLL = 0.5


def text_files(layout: Layout, release_id: str) -> dict[str, Path]:
    """Return where each of these texts lies, for a release that is on disk."""
    found = {f"jobs/{path.name}": path for path in (layout.release(release_id) / "jobs").glob("*.sh")}
    for path in layout.job_files(release_id):
        name, _, _ = path.name.partition("@")
        found[f"jobs/{name.partition('.')[2]}{path.suffix}"] = path
    return found


def lay_out(engine: Engine, release_id: str) -> bool:
    """Write the scripts and units of a release."""
    settings, layout = engine.settings, engine.layout
    if not jobs(settings):
        return False
    place = layout.release(release_id) / "jobs"
    directory(place, 0o750)
    engine.machine.give(place, "root", settings.name)
    for name, content in scripts(settings).items():
        write(place / name, content, 0o640)
        engine.machine.give(place / name, "root", settings.name)
    for name, content in job_unit_files(settings, release_id).items():
        path = layout.system_units / layout.job(release_id, *name.rsplit(".", 1))
        directory(path.parent, 0o755)
        write(path, content, 0o644)
    return True


def wanted(engine: Engine, release_id: str) -> set[str]:
    """Return the units that run on this machine while this release is live, as it was recorded."""
    record = engine.store.read(release_id)
    placed = record.jobs if record else {}
    return {
        engine.layout.job(release_id, *unit.rsplit(".", 1))
        for unit, hosts in placed.items()
        if hosts == "all" or engine.settings.first
    }


def is_work_of_a_timer(layout: Layout, unit: str) -> bool:
    """Tell whether a unit is what a timer starts: a new release does not cut it short."""
    return unit.endswith(".service") and (layout.system_units / unit).with_suffix(".timer").is_file()


def strays(engine: Engine, release_id: str) -> set[str]:
    """Return the units that run or start at boot, and should not while this release is live."""
    machine, app = engine.machine, engine.settings.name
    alive = {unit for unit in machine.jobs_alive(app) if not is_work_of_a_timer(engine.layout, unit)}
    return (alive | machine.jobs_enabled(app)) - wanted(engine, release_id)


def missing(engine: Engine, release_id: str) -> set[str]:
    """Return the units that should run and do not."""
    return wanted(engine, release_id) - engine.machine.jobs_alive(engine.settings.name)


def settled(engine: Engine, release_id: str) -> bool:
    """Tell whether nothing is left to do for the jobs of the live release."""
    to_enable = wanted(engine, release_id) - engine.machine.jobs_enabled(engine.settings.name)
    return not (to_enable or missing(engine, release_id) or strays(engine, release_id))


def of_release(layout: Layout, units: set[str], release_id: str) -> set[str]:
    """Return those units that are of one release."""
    return {unit for unit in units if layout.job_release(unit) == release_id}


def busy(engine: Engine, release_id: str) -> bool:
    """Tell whether a process of a release lives, what a timer has started among them."""
    return bool(of_release(engine.layout, engine.machine.jobs_alive(engine.settings.name), release_id))


def stop(engine: Engine, units: set[str]) -> None:
    """Stop units in one call, wait until they have ended, and forget how they and a timer's last work did."""
    if units:
        services = {unit.removesuffix(".service") for unit in units if unit.endswith(".service")}
        retries = {f"release-retry@{service}.timer" for service in services}
        engine.machine.stop(sorted(units | retries))
        work = {unit.removesuffix(".timer") + ".service" for unit in units if unit.endswith(".timer")}
        engine.machine.reset_failed(sorted(units | work))


def enable(engine: Engine, release_id: str) -> bool:
    """Let the jobs of a release start at boot; while it is not live, its units refuse to."""
    found = sorted(wanted(engine, release_id) - engine.machine.jobs_enabled(engine.settings.name))
    for unit in found:
        engine.machine.enable(unit)
    return bool(found)


def disable(engine: Engine, units: set[str]) -> bool:
    """Let units not start at boot."""
    found = sorted(units & engine.machine.jobs_enabled(engine.settings.name))
    for unit in found:
        engine.machine.disable(unit)
    return bool(found)


def stamp(layout: Layout, unit: str) -> Path:
    """Return the file whose age tells systemd when a timer has last run."""
    return layout.root / STAMPS / f"stamp-{unit}"


def hand_over_stamps(engine: Engine, release_id: str) -> bool:
    """Let the timers of a release know when those of the one before have run, so that no time is missed."""
    layout, changed = engine.layout, False
    for unit in sorted(wanted(engine, release_id)):
        mine = stamp(layout, unit)
        if not unit.endswith(".timer"):
            continue
        stamps = mine.parent.glob(f"stamp-{unit.partition('@')[0]}@*.timer")
        last = max((path.stat().st_mtime_ns for path in stamps if path != mine), default=0)
        if last > (mine.stat().st_mtime_ns if mine.exists() else 0):
            engine.machine.stamp(mine, last)
            changed = True
    return changed


def take_away(layout: Layout, release_id: str) -> bool:
    """Remove the units of a release, and what systemd keeps of its timers."""
    changed = False
    for path in layout.job_files(release_id):
        changed |= remove(stamp(layout, path.name)) | remove(path)
    return changed


def rest(engine: Engine, release_id: str) -> bool:
    """Make sure that nothing of a release's jobs runs or starts, what a timer has started included."""
    machine, app = engine.machine, engine.settings.name
    # What has failed since it was stopped is not alive, and systemd would show it for ever.
    units = {path.name for path in engine.layout.job_files(release_id)}
    stop(engine, units | of_release(engine.layout, machine.jobs_alive(app), release_id))
    return disable(engine, of_release(engine.layout, machine.jobs_enabled(app), release_id))


def present(engine: Engine) -> bool:
    """Tell whether the application has jobs here, or had some that still run or start."""
    machine, app = engine.machine, engine.settings.name
    return bool(jobs(engine.settings) or machine.jobs_enabled(app) or machine.jobs_alive(app))


def turn_over(engine: Engine, release_id: str) -> list[Effect]:
    """Return the effects that end the jobs of other releases and start those of the live one."""
    if engine.store.live() != release_id:
        return []
    others = strays(engine, release_id)
    to_start = missing(engine, release_id)

    def end() -> bool:
        stop(engine, others)
        return bool(others)

    def begin() -> bool:
        # What a crash loop has left must not count now.
        engine.machine.reset_failed(sorted(to_start))
        engine.machine.start(sorted(to_start), wait=True)
        return bool(to_start)

    found = [Effect("jobs.stop", end)] if others else []
    if to_start:
        # A timer of the release before has been stopped by now: what it has done since is known.
        found += [
            Effect("jobs.stamps", partial(hand_over_stamps, engine, release_id)),
            Effect("jobs.start", begin),
        ]
    return found


def watch(engine: Engine, release_id: str) -> tuple[str, list[str]] | None:
    """Watch the processes of the live release; return which one does not stay up, and its last words."""
    machine = engine.machine
    units = sorted(unit for unit in wanted(engine, release_id) if unit.endswith(".service"))
    first = {unit: machine.state(unit) for unit in units}
    begin = machine.clock()
    while units:
        for unit in units:
            state = machine.state(unit)
            if state.active != "active" or state.restarts != first[unit].restarts:
                name = unit.partition("@")[0].partition(".")[2]
                reason = (
                    f"the process `{name}` (apps.{engine.settings.name}.processes.{name}) does not stay up "
                    f"(result {state.result}, exit status {state.exit_status})"
                )
                return reason, machine.journal(unit, JOURNAL_LINES)
        if machine.clock() - begin >= STABLE:
            break
        machine.sleep(POLL)
    return None
