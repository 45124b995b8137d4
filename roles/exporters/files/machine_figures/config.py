"""What the role tells this program of the machine."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class App:
    """One application that runs here."""

    name: str
    # What its own server must be asked for by name; nothing if it offers no figures.
    host: str | None = None
    # Its name in the access log.
    site: str = ""


@dataclass(frozen=True)
class Config:
    """The machine. `root` is another directory than `/` in tests alone."""

    apps: tuple[App, ...] = ()
    units: tuple[str, ...] = ()
    # Certificates by site.
    certificates: dict[str, str] = field(default_factory=dict)
    # Seconds for which the last figures of a release that has ended are shown.
    keep: float = 600
    root: Path = Path("/")

    @property
    def textfiles(self) -> Path:
        """Where Debian's node exporter reads files."""
        return self.root / "var/lib/prometheus/node-exporter"

    @property
    def state(self) -> Path:
        """Where this program keeps what others ask for."""
        return self.root / "var/lib/machine-figures"

    @property
    def targets(self) -> Path:
        """Which releases Prometheus asks."""
        return self.state / "releases.json"

    @property
    def maintenance(self) -> Path:
        """Its time says until when alerts of this machine are not sent."""
        return self.state / "maintenance"

    def home(self, app: str) -> Path:
        """Return an application's directory."""
        return self.root / "srv" / app

    def last(self, app: str, release: str) -> Path:
        """Return the file with the last figures of a release that has ended."""
        return self.state / "last" / app / f"{release}.prom"


def load(path: Path, root: Path = Path("/")) -> Config:
    """Read the role's file."""
    found: dict[str, Any] = json.loads(path.read_text())
    return Config(
        apps=tuple(App(app["name"], app.get("host"), app.get("site") or "") for app in found["apps"]),
        units=tuple(found["units"]),
        certificates=dict(found["certificates"]),
        keep=float(found["keep"]),
        root=root,
    )
