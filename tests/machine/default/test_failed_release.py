"""A release that cannot work is refused, says why, and what served before still serves."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from client import Site
from conftest import Lab
from played import why

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the reference application that a test may break."""
    copy = tmp_path / "app"
    shutil.copytree(
        ROOT / "app", copy, ignore=shutil.ignore_patterns(".venv", "__pycache__", "tests", ".*cache")
    )
    return copy


def import_error(source: Path) -> dict[str, Any]:
    """Break the module that the server imports."""
    main = source / "catalog/main.py"
    main.write_text("import a_module_that_is_not_there\n" + main.read_text())
    return {}


def migration_fails(source: Path) -> dict[str, Any]:
    """Let the command before the start end with an error."""
    return {"before_start": ["alembic upgrade a_revision_that_is_not_there"]}


def never_healthy(source: Path) -> dict[str, Any]:
    """Ask for health at a path that is not there, and do not wait long for it."""
    return {"health": {"path": "/health/nowhere", "timeout": 8}}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (import_error, "a_module_that_is_not_there"),
        (migration_fails, "a_revision_that_is_not_there"),
        (never_healthy, "404"),
    ],
    ids=["import error", "migration fails", "never healthy"],
)
def test_a_broken_release_leaves_the_old_one_serving(
    lab: Lab, site: Site, source: Path, spoil: Any, reason: str
) -> None:
    """The play fails and prints the reason; the release that served goes on, untouched.

    Red when the switch comes before the gate, or when the play ends with exit code 0.
    """
    before = site.get("/version").json()["release"]
    changes = spoil(source)
    done = lab.deploy("catalog", source={"path": str(source)}, **changes)
    print(done.stdout[-3000:])
    assert done.returncode != 0
    assert reason in done.stdout
    assert site.get("/version").json()["release"] == before
    assert site.is_well()


def test_the_next_good_deploy_is_an_unchanged_one(lab: Lab, site: Site) -> None:
    """After failed deploys, deploying what is live changes nothing.

    Red when a failure leaves half a state.
    """
    before = site.get("/version").json()["release"]
    done = lab.deploy("catalog")
    assert done.returncode == 0, why(done)
    assert "changed=0" in done.stdout
    assert site.get("/version").json()["release"] == before
