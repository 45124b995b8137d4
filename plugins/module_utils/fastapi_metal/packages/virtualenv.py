"""The packages of a release, installed as its lock says, or taken over from a release that has them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.engine import Engine
from ..machine.files import directory, remove, write
from ..source.project import Project
from .install_failure import LAST_LINES, sentence_for
from .installing import (
    CONSTRAINTS,
    PINS,
    UV,
    InstallError,
    Installing,
    with_account,
    without_account,
)
from .reuse import clone
from .server_packages import installed, missing

__all__ = ["InstallError", "build"]


@dataclass(frozen=True)
class Building:
    """The making of one release's virtual environment."""

    engine: Engine
    release: str
    python: str
    wheels: Path | None

    @property
    def venv(self) -> Path:
        """Where it lies."""
        return self.engine.layout.virtualenv(self.release)

    @property
    def settings(self) -> dict[str, Any]:
        """The application's `install`."""
        found: dict[str, Any] = self.engine.settings.entry["install"]
        return found

    @property
    def project(self) -> Project:
        """What is installed."""
        return Project(self.engine.layout.source(self.release), self.engine.settings.entry["subdir"])

    @property
    def scratch(self) -> Path:
        """Lists that are only needed meanwhile."""
        return self.engine.layout.release(self.release) / "install"

    @property
    def installing(self) -> Installing:
        """How it is installed."""
        interpreter = str(self.venv / "bin/python")
        return Installing(self.project, self.settings, interpreter, self.scratch, self.wheels)

    def anew(self) -> None:
        """Make it from nothing. It names its interpreter by version, as /usr/bin/python3.13."""
        interpreter = f"/usr/bin/python{self.python}"
        self.run([UV, "venv", "--quiet", "--no-project", "--python", interpreter, str(self.venv)])
        write(
            self.scratch / CONSTRAINTS, "".join(f"{text}\n" for text in self.settings["constraints"]), 0o600
        )
        for argv in self.installing.commands():
            self.run(argv)
        self.add()

    def add(self) -> None:
        """Add further packages and the server, and change no version that is there."""
        have = installed(self.venv)
        more = [*self.settings["packages"], *missing(self.engine.settings.entry["server"], have)]
        if not more:
            return
        pins = self.scratch / PINS
        write(pins, "".join(f"{name}=={version}\n" for name, version in sorted(have.items())), 0o600)
        installing = self.installing
        try:
            self.run([*installing.pip, *installing.limits, "-c", str(pins), *more])
        except InstallError as error:
            if "unsatisfiable" not in str(error):
                raise
            name = self.engine.settings.name
            raise InstallError(
                f"{', '.join(more)} cannot be added to what the application has pinned; pin versions that "
                f"fit "
                f"in its own lock, or others in `apps.{name}.install.packages` in group_vars/all/apps.yml.\n"
                f"{error}"
            ) from error

    def from_donor(self, donor: str, same_source: bool) -> None:
        """Take over what another release has, and install what the source itself holds."""
        layout = self.engine.layout
        clone(layout.virtualenv(donor), self.venv)
        # What was installed from this very source is there already.
        for argv in () if same_source else self.installing.own():
            self.run(argv)

    def run(self, argv: list[str]) -> None:
        """Run a command of uv in the project's directory."""
        # Both settings only matter to `uv sync`, which would else look for `.venv` or fetch an interpreter.
        env = {"UV_PROJECT_ENVIRONMENT": str(self.venv), "UV_PYTHON_DOWNLOADS": "never"}
        index = with_account(self.settings)
        if index:
            env["UV_DEFAULT_INDEX"] = index
        try:
            done = self.engine.machine.run(argv, self.project.directory, env)
        except FileNotFoundError as error:
            raise InstallError(
                f"{error.filename} is missing on this machine; run playbooks/site.yml first, whose role "
                "python installs it"
            ) from error
        if done.status == 0:
            return
        printed = without_account(done.text.strip(), self.settings)
        why = sentence_for(printed, self.engine.settings.name, self.settings, self.python)
        tail = "\n".join(printed.splitlines()[-LAST_LINES:])
        how = f"`{' '.join(argv[:3])}` ended with status {done.status}:\n{tail}"
        raise InstallError(f"{why}. {how}" if why else how)


def build(
    engine: Engine, release_id: str, python: str, donor: str | None, wheels: Path | None = None
) -> None:
    """Make a release's virtual environment, if there is a donor from its own."""
    building = Building(engine, release_id, python, wheels)
    directory(building.scratch, 0o700)
    if donor:
        record = engine.store.read(donor)
        same_source = record is not None and record.identity.get("source") == engine.settings.source.digest
        building.from_donor(donor, same_source)
    else:
        building.anew()
    remove(building.scratch)
