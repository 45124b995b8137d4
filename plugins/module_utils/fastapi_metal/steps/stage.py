"""Step 2: everything of the new release on disk, nothing of it running."""

import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path

from ..engine.effects import Effect
from ..engine.engine import Engine
from ..machine.files import directory, point, remove, write, write_json
from ..machine.interface import Resources
from ..packages.reuse import donor, keep_bytecode
from ..packages.virtualenv import build
from ..release import job_units
from ..release.identity import Identity
from ..release.recording import recordable
from ..release.rendering import (
    ENCRYPTED,
    SECRETS_FILE,
    Rendered,
    drop_in,
    render,
    secrets_file,
    working_directory,
)
from . import jobs
from .static import publish

RECORD_VERSION = 1


class StageError(Exception):
    """A release cannot be staged; the message says why, and what to do."""


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tarball that the controller made."""
    with tarfile.open(archive) as tar:
        # Debian 12's Python 3.11.2 has no filters; the controller packs relative names only.
        if hasattr(tarfile, "data_filter"):
            tar.extractall(target, filter="data")
        else:
            tar.extractall(target)  # noqa: S202 - the archive is our own


@dataclass(frozen=True)
class Staging:
    """The making of one release."""

    engine: Engine
    id: str
    archive: Path
    resources: Resources
    identity: Identity
    rendered: Rendered
    wheels: Path | None = None

    @property
    def path(self) -> Path:
        """The release's directory."""
        return self.engine.layout.release(self.id)

    def readable(self, path: Path, mode: int) -> None:
        """Let the application read what only root may write."""
        path.chmod(mode)
        self.engine.machine.give(path, "root", self.engine.settings.name)

    def clean(self) -> bool:
        """Remove what a run that died has left of it."""
        layout = self.engine.layout
        drop_ins = (layout.drop_in(self.id).parent, layout.listener_drop_in(self.id).parent)
        leftovers = (self.path, layout.credentials(self.id), *drop_ins)
        removed = [remove(path) for path in leftovers]
        removed.append(jobs.take_away(layout, self.id))
        return any(removed)

    def place(self) -> bool:
        """Make its directory."""
        return directory(self.path, 0o711)

    def source(self) -> bool:
        """Unpack its code."""
        settings, source = self.engine.settings, self.engine.layout.source(self.id)
        unpack(self.archive, source)
        self.readable(source, 0o750)
        if not Path(working_directory(settings, self.id)).is_dir():
            raise StageError(
                f"the source has no directory `{settings.entry['workdir']}`; set "
                f"apps.{settings.name}.workdir in group_vars/all/apps.yml to one that it has, or leave it out"
            )
        return True

    def packages(self) -> bool:
        """Install what it needs."""
        same = donor(self.engine, self.identity)
        build(self.engine, self.id, self.resources.python, same, self.shipped())
        virtualenv = self.engine.layout.virtualenv(self.id)
        self.readable(virtualenv, 0o750)
        # uv leaves a file there that everybody may write.
        if (lock := virtualenv / ".lock").exists():
            lock.chmod(0o600)
        remove(self.path / "wheels")
        return True

    def shipped(self) -> Path | None:
        """Unpack the wheels that were sent, where the machine asks no index."""
        if not self.engine.settings.entry["install"]["offline"]:
            return None
        wheels = self.path / "wheels"
        directory(wheels, 0o700)
        if self.wheels:
            unpack(self.wheels, wheels)
        return wheels

    def bytecode(self) -> bool:
        """Compile its code: the service user cannot write here, so it would be compiled at every start."""
        layout, live = self.engine.layout, self.engine.store.live()
        python = str(layout.virtualenv(self.id) / "bin/python")
        source = str(layout.source(self.id))
        record = self.engine.store.read(live) if live else None
        if record and record.identity.get("python") == self.identity.python:
            keep_bytecode(layout.source(record.id), layout.source(self.id))
        # A file that does not compile may be a template; the gate tells whether it matters.
        self.engine.machine.run([python, "-m", "compileall", "-q", source], self.path, {})
        return True

    def static(self) -> bool:
        """Let Nginx read what it serves by itself."""
        layout, settings = self.engine.layout, self.engine.settings
        variable = f"apps.{settings.name}.web.static"
        return publish(
            layout.source(self.id), layout.static(self.id), settings.entry["web"]["static"], variable
        )

    def config(self) -> bool:
        """Write its own configuration."""
        files = {
            "env": self.rendered.env,
            **self.rendered.server,
            "before_start": self.rendered.before_start,
            "after_start": self.rendered.after_start,
        }
        directory(self.path / "serving", 0o750)
        self.readable(self.path / "serving", 0o750)
        for name, content in files.items():
            write(self.path / name, content, 0o640)
            self.readable(self.path / name, 0o640)
        return True

    def credentials(self) -> bool:
        """Write its secrets where only root may read them, with the machine's key where systemd can."""
        place = self.engine.layout.credentials(self.id)
        directory(place, 0o700)
        settings = self.engine.settings
        if settings.secrets and settings.entry["secrets_as"] == "env":
            write(place / SECRETS_FILE, secrets_file(settings), 0o400)
            return True
        for name, value in settings.secrets.items():
            encrypted = self.engine.machine.encrypt(name, value.encode())
            if encrypted is None:
                write(place / name, value, 0o400)
            else:
                write(place / f"{name}{ENCRYPTED}", encrypted, 0o400)
        return True

    def drop_in(self) -> bool:
        """Write what systemd must know of it."""
        path = self.engine.layout.drop_in(self.id)
        directory(path.parent, 0o755)
        if self.rendered.listener:
            self.own_socket()
        # It names the secrets as they lie there by now.
        write(path, drop_in(self.engine.settings, self.id), 0o644)
        jobs.lay_out(self.engine, self.id)
        return True

    def own_socket(self) -> None:
        """Let a server that takes no socket make its own, where everybody looks for it."""
        layout = self.engine.layout
        path = layout.listener_drop_in(self.id)
        directory(path.parent, 0o755)
        write(path, self.rendered.listener, 0o644)
        point(layout.socket(self.id), str(layout.own_socket(self.id)))

    def reload(self) -> bool:
        """Let systemd know it."""
        self.engine.machine.reload()
        return True

    def record(self) -> bool:
        """Say that it is whole, once all of it is on disk to stay."""
        engine = self.engine
        engine.machine.sync()
        sizing = engine.sizing(self.resources)
        record = {
            "version": RECORD_VERSION,
            "id": self.id,
            "app": engine.settings.name,
            "digest": self.identity.digest,
            "identity": asdict(self.identity),
            # Not counted where only the server itself knows how many it starts.
            "workers": 0 if engine.settings.own_server else sizing.workers,
            "workers_reason": sizing.reason,
            "origin": engine.settings.source.origin,
            "settings": recordable(engine.settings.entry),
            "jobs": job_units.recorded(engine.settings),
            "created": engine.machine.now(),
            "deployed_by": engine.settings.deployed_by,
        }
        return write_json(engine.layout.record(self.id), record, 0o644)


def stage(engine: Engine, release_id: str, archive: Path | None, wheels: Path | None = None) -> list[Effect]:
    """Return the effects that make a release whole; none if it is."""
    if engine.store.read(release_id):
        return []
    if archive is None:
        raise StageError(
            f"release {release_id} is not on this machine and its source was not sent; run again"
        )
    resources = engine.resources()
    rendered = render(engine.settings, release_id, engine.sizing(resources).workers)
    staging = Staging(engine, release_id, archive, resources, engine.identity(resources), rendered, wheels)
    return [
        Effect("stage.clean", staging.clean),
        Effect("stage.directory", staging.place),
        Effect("stage.source", staging.source),
        Effect("stage.packages", staging.packages),
        Effect("stage.bytecode", staging.bytecode),
        Effect("stage.static", staging.static),
        Effect("stage.config", staging.config),
        Effect("stage.credentials", staging.credentials),
        Effect("stage.drop_in", staging.drop_in),
        Effect("stage.reload", staging.reload),
        # Last: a release without its record is none.
        Effect("stage.record", staging.record),
    ]
