"""The repository is one that apt can trust, and the package one that stands where Grafana's stands."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from grafana_standin import VERSION
from grafana_standin.build import POOL, build
from standin_tree import SHARED


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the repository once."""
    made = tmp_path_factory.mktemp("apt") / "repository"
    assert build(made)
    return made


def contents(repository: Path) -> str:
    """Return the list of what the package holds."""
    done = subprocess.run(["dpkg-deb", "-c", repository / POOL], capture_output=True, text=True, check=True)
    return done.stdout


def test_a_second_build_keeps_the_first(repository: Path) -> None:
    """Nothing is built again while the sources stay the same, so a machine's key stays good."""
    before = (repository / "key.asc").read_bytes()
    assert not build(repository)
    assert (repository / "key.asc").read_bytes() == before


def test_the_same_sources_give_the_same_package(repository: Path, tmp_path: Path) -> None:
    """The package is the same byte for byte wherever it is built; each build has its own key."""
    build(tmp_path / "again")
    assert (tmp_path / "again" / POOL).read_bytes() == (repository / POOL).read_bytes()
    assert (tmp_path / "again/key.asc").read_bytes() != (repository / "key.asc").read_bytes()


def test_the_signature_is_of_the_key(repository: Path, tmp_path: Path) -> None:
    """A keyring with `key.asc` alone accepts InRelease, as apt does with Signed-By."""
    ring = tmp_path / "ring.gpg"
    subprocess.run(["gpg", "--batch", "--quiet", "--dearmor", "-o", ring, repository / "key.asc"], check=True)
    subprocess.run(
        ["gpgv", "--keyring", ring, repository / "dists/stable/InRelease"], check=True, capture_output=True
    )


def test_the_indexes_are_those_of_the_release(repository: Path) -> None:
    """Every digest in Release is that of its file, and the package's digest is in the index."""
    suite = repository / "dists/stable"
    listed = re.findall(r"^ ([0-9a-f]{64}) +(\d+) (\S+)$", (suite / "Release").read_text(), re.MULTILINE)
    assert {name for _digest, _size, name in listed} >= {
        "main/binary-amd64/Packages.gz",
        "main/binary-arm64/Packages",
    }
    for digest, size, name in listed:
        content = (suite / name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (digest, int(size))
    packages = (suite / "main/binary-amd64/Packages").read_text()
    assert f"Filename: {POOL}" in packages
    assert hashlib.sha256((repository / POOL).read_bytes()).hexdigest() in packages


def test_no_private_key_is_left(repository: Path) -> None:
    """What is served could sign nothing."""
    for path in repository.rglob("*"):
        if path.is_file():
            assert b"PRIVATE KEY" not in path.read_bytes(), path


def test_the_package_says_what_it_is(repository: Path) -> None:
    """Name and paths are Grafana's, version and description are not."""
    fields = subprocess.run(
        ["dpkg-deb", "--field", repository / POOL], capture_output=True, text=True, check=True
    ).stdout
    assert "Package: grafana\n" in fields
    assert f"Version: {VERSION}\n" in fields
    assert "Description: Stand-in for Grafana" in fields
    assert "python3-yaml" in fields
    listing = contents(repository)
    for path in (
        "./usr/share/grafana/bin/grafana",
        "./usr/lib/systemd/system/grafana-server.service",
        "./etc/default/grafana-server",
        "./usr/share/grafana/standin/grafana_standin/server/__main__.py",
    ):
        assert re.search(rf"root/root .* {re.escape(path)}$", listing, re.MULTILINE), path
    assert "build.py" not in listing


def test_the_server_needs_nothing_of_the_project(repository: Path, tmp_path: Path) -> None:
    """Unpacked somewhere else, without the project and its environment, the command answers."""
    subprocess.run(["dpkg-deb", "-x", repository / POOL, tmp_path], check=True)
    python = shutil.which("python3", path="/usr/bin") or pytest.fail("Debian's python3 is missing")
    done = subprocess.run(
        [python, "-m", "grafana_standin.server", "--version"],
        env={"PYTHONPATH": str(tmp_path / "usr/share/grafana/standin")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert VERSION in done.stdout


def test_the_standin_imports_nothing_of_the_role() -> None:
    """It is a second opinion: what it accepts is not decided by what the role writes."""
    for path in (SHARED / "grafana_standin/server").glob("*.py"):
        for module in re.findall(r"^(?:from|import) +([\w.]+)", path.read_text(), re.MULTILINE):
            assert module.startswith(".") or module.partition(".")[0] not in (
                "fastapi_metal",
                "ansible",
                "plugins",
            )
