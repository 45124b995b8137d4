"""A change of code costs no installation, and two releases that share files stay two."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from engine_fake import Host
from fastapi_metal.machine.interface import Output
from fastapi_metal.packages.reuse import clone, keep_bytecode

UV = Path(sys.executable).with_name("uv")


def tree(root: Path) -> dict[str, tuple[str, bytes]]:
    """Return everything in a directory: what it is, and what is in it."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(root))] = ("link", str(path.readlink()).encode())
        elif path.is_file():
            found[str(path.relative_to(root))] = (oct(path.stat().st_mode), path.read_bytes())
    return found


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Return a wheel with a module and a program."""
    project = tmp_path / "project"
    (project / "shop").mkdir(parents=True)
    (project / "shop/__init__.py").write_text('WORD = "old"\n\n\ndef main():\n    print(WORD)\n')
    meta = project / "shop-1.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1\n")
    (meta / "WHEEL").write_text(
        "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    (meta / "entry_points.txt").write_text("[console_scripts]\nshop = shop:main\n")
    (meta / "RECORD").write_text(
        "".join(f"{path.relative_to(project)},,\n" for path in project.rglob("*") if path.is_file())
    )
    archive = shutil.make_archive(str(tmp_path / "shop"), "zip", project)
    return Path(archive).rename(tmp_path / "shop-1-py3-none-any.whl")


@pytest.fixture
def venv(tmp_path: Path, wheel: Path) -> Path:
    """Return a real virtual environment with that wheel in it."""
    path = tmp_path / "old/venv"
    run(UV, "venv", "--quiet", "--no-project", "--python", sys.executable, path)
    install(path, wheel)
    return path


def run(*argv: str | Path) -> str:
    """Run a program and return what it printed."""
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True).stdout


def install(venv: Path, wheel: Path) -> None:
    """Install a wheel again, as a new release of the same packages does."""
    python = venv / "bin/python"
    how = ("--no-deps", "--reinstall", "--compile-bytecode", "--offline", "--no-cache")
    run(UV, "pip", "install", "--quiet", *how, "--python", python, wheel)


def test_a_clone_is_a_virtual_environment_of_its_own(venv: Path, tmp_path: Path) -> None:
    """Its prefix and its programs are the new release's, and the old one is as it was."""
    new = tmp_path / "new/venv"
    new.parent.mkdir()
    before = tree(venv)
    clone(venv, new)
    assert run(new / "bin/python", "-c", "import sys; print(sys.prefix)").strip() == str(new)
    imported = run(new / "bin/python", "-c", "import shop; print(shop.__file__)").strip()
    assert imported.startswith(str(new))
    assert (new / "bin/shop").read_text().startswith(f"#!{new}/bin/python")
    assert run(new / "bin/shop").strip() == "old"
    named = [path for path in new.rglob("*") if path.is_file() and str(venv).encode() in path.read_bytes()]
    # Bytecode holds where it was compiled; Python corrects it when it loads it.
    assert not [path for path in named if path.suffix != ".pyc"]
    assert tree(venv) == before


def test_an_installation_in_one_never_reaches_the_other(venv: Path, tmp_path: Path, wheel: Path) -> None:
    """uv writes files anew and not into shared ones; removing one release leaves the other whole."""
    new = tmp_path / "new/venv"
    new.parent.mkdir()
    clone(venv, new)
    module = "lib/python3.11/site-packages/shop/__init__.py".replace(
        "3.11", f"{sys.version_info[0]}.{sys.version_info[1]}"
    )
    assert (new / module).stat().st_ino == (venv / module).stat().st_ino, "nothing is shared"
    before = tree(venv)
    project = tmp_path / "project"
    (project / "shop/__init__.py").write_text('WORD = "new"\n\n\ndef main():\n    print(WORD)\n')
    archive = Path(shutil.make_archive(str(tmp_path / "again"), "zip", project))
    (tmp_path / "again").mkdir()
    install(new, archive.rename(tmp_path / "again" / wheel.name))
    assert run(new / "bin/shop").strip() == "new"
    assert tree(venv) == before
    whole = tree(new)
    shutil.rmtree(venv)
    assert tree(new) == whole
    assert run(new / "bin/shop").strip() == "new"


def test_bytecode_of_files_that_did_not_change_is_kept(tmp_path: Path) -> None:
    """Only what is new is compiled, and a file that changed never gets the old one's bytecode."""
    old, new = tmp_path / "old", tmp_path / "new"
    for root, word in ((old, "a"), (new, "b")):
        (root / "shop").mkdir(parents=True)
        (root / "shop/same.py").write_text("WORD = 1\n")
        (root / "shop/other.py").write_text(f"WORD = '{word}'\n")
    run(sys.executable, "-m", "compileall", "-q", old)
    keep_bytecode(old, new)
    kept = [path.name.partition(".")[0] for path in new.rglob("*.pyc")]
    assert kept == ["same"]
    inode = next(new.rglob("*.pyc")).stat().st_ino
    run(sys.executable, "-m", "compileall", "-q", new)
    assert next(new.rglob("same.*.pyc")).stat().st_ino == inode, "it was compiled again"
    assert (
        run(
            sys.executable,
            "-c",
            f"import sys; sys.path[:0] = ['{new}/shop']; import other; print(other.WORD)",
        )
        == "b\n"
    )


@pytest.fixture
def installations(host: Host, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count what uv is asked to do."""
    asked: list[str] = []
    real = host.machine.run

    def noted(argv: list[str], directory: Path, env: dict[str, str]) -> Output:
        if argv[0].endswith("/uv"):
            asked.append(" ".join(argv[1:3]))
        return real(argv, directory, env)

    monkeypatch.setattr(host.machine, "run", noted)
    return asked


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({}, False),
        ({"server": {"timeout": 99}}, False),
        ({"install": {"build": ["true"]}}, False),
        ({"install": {"offline": True}}, False),
        ({"install": {"packages": ["sentry-sdk"]}}, True),
        ({"install": {"extras": ["redis"]}}, True),
        ({"server": {"worker_class": "asgi"}}, True),
    ],
)
def test_packages_are_installed_again_only_where_they_may_differ(
    host: Host, installations: list[str], change: dict[str, Any], anew: bool
) -> None:
    """Code, settings and secrets change without an installation; what says which packages does not."""
    host.deploy("one")
    assert "venv --quiet" in installations
    installations.clear()
    assert host.deploy("two", **change)["problem"] is None
    assert ("venv --quiet" in installations) is anew
    assert host.live_word() == "two"


def test_packages_are_installed_anew_for_another_lock_or_interpreter(
    host: Host, installations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was resolved and compiled for one fits no other."""
    host.deploy("one")
    installations.clear()
    host.machine.version = "3.11"
    host.deploy("two")
    assert "venv --quiet" in installations
    installations.clear()
    real = host.request

    def other_lock(word: str, **entry: Any) -> dict[str, Any]:
        request = real(word, **entry)
        return {**request, "source": {**request["source"], "lock": "another"}}

    monkeypatch.setattr(host, "request", other_lock)
    host.deploy("three")
    assert "venv --quiet" in installations


def test_the_giver_may_be_pruned(host: Host, installations: list[str]) -> None:
    """A chain of releases that took over from each other does not depend on the first."""
    for word in ("a", "b", "c", "d", "e"):
        host.deploy(word, keep_releases=2)
    assert installations.count("venv --quiet") == 1
    live = host.layout.current.readlink().name
    assert (host.layout.virtualenv(live) / "bin/gunicorn").is_file()
    assert len(list(host.layout.releases.iterdir())) == 2
