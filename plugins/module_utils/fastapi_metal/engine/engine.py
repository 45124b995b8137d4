"""What every step of a release has at hand."""

from dataclasses import dataclass

from ..machine.files import read_json, remove
from ..machine.interface import Machine, Resources
from ..release.identity import Identity, identify
from ..release.layout import Layout
from ..release.rendering import ANY_RELEASE, render
from ..release.settings import Settings
from ..release.sizing import Sizing
from ..release.store import Store
from .effects import Effect, Observer, nobody, perform


@dataclass(frozen=True)
class Engine:
    """One application on one machine."""

    settings: Settings
    machine: Machine
    observer: Observer = nobody

    @property
    def layout(self) -> Layout:
        """Where everything lies."""
        return self.settings.layout

    @property
    def store(self) -> Store:
        """The releases on disk."""
        return Store(self.layout)

    def resources(self) -> Resources:
        """What the machine has."""
        return self.machine.resources(self.settings.python)

    def sizing(self, resources: Resources) -> Sizing:
        """How many workers this machine carries."""
        return self.settings.sizing(resources.cores, resources.memory)

    def identity(self, resources: Resources) -> Identity:
        """What a release of these settings is made from, on this machine."""
        key = self.layout.key.read_bytes() if self.layout.key.is_file() else b""
        workers = self.sizing(resources).workers
        return identify(
            source=self.settings.source.digest,
            lock=self.settings.source.lock,
            install=self.settings.install,
            rendered=render(self.settings, ANY_RELEASE, workers),
            secrets=self.settings.secrets,
            key=key,
            python=resources.python,
            architecture=resources.architecture,
        )

    def perform(self, effects: list[Effect]) -> list[str]:
        """Apply effects, each noted in the journal once it changed something."""
        changed = perform(effects, self.observer)
        if changed:
            self.machine.log(f"{self.settings.name}: {', '.join(changed)}")
        return changed

    def alive(self, release_id: str) -> bool:
        """Tell whether a release runs or listens."""
        units = (self.layout.service(release_id), self.layout.listener(release_id))
        return any(self.machine.state(unit).alive for unit in units)

    def stop(self, release_id: str) -> None:
        """Stop everything of a release, wait until it has ended, and forget how."""
        self.machine.stop(self.layout.units(release_id))
        self.machine.reset_failed([self.layout.service(release_id), self.layout.listener(release_id)])

    def enable(self, release_id: str) -> bool:
        """Let a release start at boot."""
        if release_id in self.machine.enabled(self.settings.name):
            return False
        self.machine.enable(self.layout.service(release_id))
        return True

    def disable(self, release_id: str) -> bool:
        """Let a release not start at boot."""
        if release_id not in self.machine.enabled(self.settings.name):
            return False
        self.machine.disable(self.layout.service(release_id))
        return True

    def others(self, release_id: str) -> list[str]:
        """Return the other releases of which systemd holds anything."""
        known = self.machine.loaded(self.settings.name) | self.machine.enabled(self.settings.name)
        return sorted(known - {release_id})

    def settled(self, release_id: str) -> bool:
        """Tell whether a release is live and alone, so that nothing is left to do."""
        machine, layout = self.machine, self.layout
        return (
            self.store.live() == release_id
            and machine.enabled(self.settings.name) == {release_id}
            and machine.state(layout.service(release_id)).active == "active"
            and machine.state(layout.listener(release_id)).active == "active"
            and not any(self.alive(other) for other in self.others(release_id))
        )

    def forget_failure(self, release_id: str) -> bool:
        """Remove the mark of a release that had failed."""
        return remove(self.layout.failed(release_id))

    def was_prepared(self, release_id: str) -> bool:
        """Tell whether the commands before the start have succeeded in a release."""
        return read_json(self.layout.prepared(release_id)) is not None

    def was_completed(self, release_id: str) -> bool:
        """Tell whether the commands after the start have succeeded in a release."""
        return read_json(self.layout.completed(release_id)) is not None
