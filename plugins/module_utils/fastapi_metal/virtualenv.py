"""The packages of a release, installed as the source's own lock says."""

import re
import tomllib
from pathlib import Path

from .engine import Engine
from .rendering import working_directory

UV = "/usr/local/bin/uv"
LAST_LINES = 20


class InstallError(Exception):
    """The packages cannot be installed; the message says why."""


def is_built(project: Path) -> bool:
    """Tell whether a project is a package of its own, rather than code that runs where it lies."""
    return project.is_file() and "build-system" in tomllib.loads(project.read_text())


def plan(directory: Path, interpreter: str) -> list[list[str]]:
    """Return the commands of uv that install what the source asks for."""
    project = directory / "pyproject.toml"
    pip = [UV, "pip", "install", "--quiet", "--compile-bytecode", "--python", interpreter]
    if (directory / "uv.lock").is_file():
        sync = [UV, "sync", "--quiet", "--frozen", "--no-dev", "--no-editable", "--compile-bytecode"]
        return [[*sync, "--python", interpreter]]
    requirements = directory / "requirements.txt"
    if requirements.is_file():
        hashed = re.search(r"--hash[= ]", requirements.read_text()) is not None
        commands = [[*pip, *(["--require-hashes"] if hashed else []), "-r", "requirements.txt"]]
        if is_built(project):
            commands.append([*pip, "--no-deps", "."])
        return commands
    if project.is_file():
        return [[*pip, "."]] if is_built(project) else [[*pip, "-r", "pyproject.toml"]]
    raise InstallError(
        "the source has neither uv.lock nor requirements.txt nor pyproject.toml, so its needs are unknown; "
        "add one, for example with `uv pip compile --generate-hashes requirements.in -o requirements.txt`"
    )


def build(engine: Engine, release_id: str, python: str) -> None:
    """Make a release's virtual environment. It names its interpreter by version, as /usr/bin/python3.13."""
    venv = engine.layout.virtualenv(release_id)
    directory = Path(working_directory(engine.settings, release_id))
    interpreter = f"/usr/bin/python{python}"
    # Both settings only matter to `uv sync`, which would else look for `.venv` or fetch an interpreter.
    env = {"UV_PROJECT_ENVIRONMENT": str(venv), "UV_PYTHON_DOWNLOADS": "never"}
    make = [UV, "venv", "--quiet", "--no-project", "--python", interpreter, str(venv)]
    for argv in [make, *plan(directory, str(venv / "bin/python"))]:
        try:
            done = engine.machine.run(argv, directory, env)
        except FileNotFoundError as error:
            raise InstallError(
                f"{error.filename} is missing on this machine; run playbooks/site.yml first, whose role "
                "python installs it"
            ) from error
        if done.status != 0:
            tail = "\n".join(done.text.strip().splitlines()[-LAST_LINES:])
            raise InstallError(f"`{' '.join(argv[:3])}` ended with status {done.status}:\n{tail}")
    server = venv / "bin/gunicorn"
    if not server.is_file() and not engine.settings.own_server:
        raise InstallError(
            "gunicorn is not among the application's packages; add `gunicorn` and `uvicorn-worker` to them"
        )
