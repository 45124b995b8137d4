"""Where everything of an application lies on a host."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The paths of one application. `root` is another directory than `/` in tests alone."""

    app: str
    root: Path = Path("/")

    @property
    def home(self) -> Path:
        """The application's directory, on Nginx's way to the socket."""
        return self.root / "srv" / self.app

    @property
    def releases(self) -> Path:
        """The directory of all releases."""
        return self.home / "releases"

    @property
    def current(self) -> Path:
        """The link that decides which release gets the traffic."""
        return self.home / "current"

    @property
    def before(self) -> Path:
        """The link to the release that had the traffic before; Nginx finds its static files there."""
        return self.home / "previous"

    @property
    def history(self) -> Path:
        """One line per switch, from and to, and one per deploy, with how it ended."""
        return self.home / "history.jsonl"

    @property
    def lease(self) -> Path:
        """Who releases this application now."""
        return self.home / "lease.json"

    @property
    def etc(self) -> Path:
        """What only root may read."""
        return self.root / "etc" / self.app

    @property
    def key(self) -> Path:
        """The key under which secrets are recognised without being stored."""
        return self.etc / "release.key"

    @property
    def all_credentials(self) -> Path:
        """The secrets of all releases."""
        return self.etc / "credentials"

    @property
    def state(self) -> Path:
        """What survives releases."""
        return self.root / "var/lib" / self.app

    @property
    def system_units(self) -> Path:
        """Where systemd finds the administrator's units."""
        return self.root / "etc/systemd/system"

    @property
    def lock(self) -> Path:
        """Held while a step runs on this host."""
        return self.root / "run/lock" / f"fastapi-metal.{self.app}.lock"

    def release(self, release_id: str) -> Path:
        """One release's directory."""
        return self.releases / release_id

    def source(self, release_id: str) -> Path:
        """One release's code."""
        return self.release(release_id) / "src"

    def static(self, release_id: str) -> Path:
        """What Nginx itself serves of one release."""
        return self.release(release_id) / "static"

    def virtualenv(self, release_id: str) -> Path:
        """One release's packages."""
        return self.release(release_id) / "venv"

    def socket(self, release_id: str) -> Path:
        """One release's socket, made by systemd."""
        return self.release(release_id) / "app.sock"

    def record(self, release_id: str) -> Path:
        """What a release is; written last, so a release without it is half a release."""
        return self.release(release_id) / "release.json"

    def prepared(self, release_id: str) -> Path:
        """Stands where the commands before the start have succeeded."""
        return self.release(release_id) / "prepared"

    def completed(self, release_id: str) -> Path:
        """Stands where the commands after the start have succeeded."""
        return self.release(release_id) / "completed"

    def failed(self, release_id: str) -> Path:
        """Stands where a release did not pass, with the reason."""
        return self.release(release_id) / "failed"

    def credentials(self, release_id: str) -> Path:
        """One release's secrets."""
        return self.all_credentials / release_id

    def drop_in(self, release_id: str) -> Path:
        """One release's settings for systemd."""
        return self.system_units / f"{self.service(release_id)}.d" / "release.conf"

    def listener_drop_in(self, release_id: str) -> Path:
        """One release's settings for systemd's socket, if it has any."""
        return self.system_units / f"{self.listener(release_id)}.d" / "release.conf"

    def own_socket(self, release_id: str) -> Path:
        """Where a server that makes its own socket does so; empty at each start."""
        return self.root / "run" / self.app / release_id / "server.sock"

    def hold(self, release_id: str) -> Path:
        """Stands while a release must not start yet, in a handover."""
        return self.release(release_id) / "hold"

    def handover(self, release_id: str) -> Path:
        """What systemd must know of a release during a handover; a boot forgets it."""
        # Its name lets it come last, so that it counts.
        return self.root / "run/systemd/system" / f"{self.service(release_id)}.d" / "zz-handover.conf"

    def service(self, release_id: str) -> str:
        """One release's service."""
        return f"{self.app}@{release_id}.service"

    def listener(self, release_id: str) -> str:
        """One release's socket unit."""
        return f"{self.app}@{release_id}.socket"

    def retry(self, release_id: str) -> str:
        """The timer that starts a failed release again after a while."""
        return f"release-retry@{self.app}@{release_id}.timer"

    def job(self, release_id: str, name: str, suffix: str = "") -> str:
        """The unit of a process or timer of a release. No name of an application holds a dot."""
        return f"{self.app}.{name}@{release_id}{suffix and '.'}{suffix}"

    def job_files(self, release_id: str) -> list[Path]:
        """The units of processes and timers that a release has on disk."""
        return sorted(self.system_units.glob(f"{self.app}.*@{release_id}.*"))

    @staticmethod
    def job_release(unit: str) -> str:
        """The release of which a unit is."""
        return unit.partition("@")[2].rpartition(".")[0]

    def units(self, release_id: str) -> list[str]:
        """Everything that must be stopped, in one call, for a release to stay stopped."""
        return [self.listener(release_id), self.service(release_id), self.retry(release_id)]
