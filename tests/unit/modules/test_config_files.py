"""Files land together, checked, or not at all."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from host_changes import files

ME = pwd.getpwuid(os.geteuid()).pw_name
MINE = grp.getgrgid(os.getegid()).gr_name


@pytest.fixture(scope="module")
def config_files() -> ModuleType:
    """Return what the module config_files lands files with."""
    return files


def land(module: ModuleType, *wanted: dict[str, Any], check_mode: bool = False) -> list[str]:
    """Land the files; return the paths that were written."""
    rest = {"owner": ME, "group": MINE, "mode": "0644", "keep": False, "validate": None}
    files = [module.File(rest | entry) for entry in wanted]
    return [diff["after_header"] for diff in module.land(files, check_mode)]


def test_a_file_lands_once(config_files: ModuleType, tmp_path: Path) -> None:
    """Text, mode and the way to it are made; a second run writes nothing."""
    file = {"path": tmp_path / "a/b/c.conf", "content": "x = 1\n\n", "mode": "0640"}
    assert land(config_files, file) == [str(file["path"])]
    assert (tmp_path / "a/b/c.conf").read_text() == "x = 1\n"
    assert (tmp_path / "a/b/c.conf").stat().st_mode & 0o7777 == 0o640
    assert (tmp_path / "a/b").stat().st_mode & 0o7777 == 0o755
    assert land(config_files, file) == []
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["c.conf"], "a draft was left"


@pytest.mark.parametrize("spoilt", ["text", "mode", "link", "gone"])
def test_what_was_spoilt_is_mended(config_files: ModuleType, tmp_path: Path, spoilt: str) -> None:
    """Whatever differs is seen with --check, and mended without it; what a link led to stays as it is."""
    path = tmp_path / "a.conf"
    file = {"path": path, "content": "right"}
    land(config_files, file)
    (tmp_path / "other").write_text("right\n")
    if spoilt == "text":
        path.write_text("wrong\n")
    elif spoilt == "mode":
        path.chmod(0o666)
    else:
        path.unlink()
    if spoilt == "link":
        path.symlink_to("other")
    assert land(config_files, file, check_mode=True) == [str(path)]
    assert land(config_files, file) == [str(path)]
    assert land(config_files, file) == []
    assert not path.is_symlink()
    assert (tmp_path / "other").read_text() == "right\n"


def test_check_mode_writes_nothing(config_files: ModuleType, tmp_path: Path) -> None:
    """It says what would be written, and makes no directory."""
    assert land(config_files, {"path": tmp_path / "a/b.conf", "content": "x"}, check_mode=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("check_mode", [False, True])
def test_one_refused_file_keeps_all_from_landing(
    config_files: ModuleType, tmp_path: Path, check_mode: bool
) -> None:
    """The check's words reach the user, with the name of the file that was meant."""
    good = {"path": tmp_path / "good.conf", "content": "good", "validate": "grep -q good %s"}
    bad = {"path": tmp_path / "bad.conf", "content": "bad", "validate": "sh -c 'echo no good: $0; exit 1' %s"}
    with pytest.raises(config_files.RefusedError) as refused:
        land(config_files, good, bad, check_mode=check_mode)
    assert str(refused.value).endswith(f"nothing was changed: no good: {tmp_path}/bad.conf")
    assert list(tmp_path.iterdir()) == []


def test_a_check_that_is_not_installed_yet(config_files: ModuleType, tmp_path: Path) -> None:
    """With --check on an untouched machine there is nobody to ask; in earnest that is a failure."""
    file = {"path": tmp_path / "a.conf", "content": "x", "validate": "no-such-command %s"}
    assert land(config_files, file, check_mode=True) == [str(file["path"])]
    with pytest.raises(FileNotFoundError):
        land(config_files, file)
    assert not (tmp_path / "a.conf").exists()


def test_a_kept_file_keeps_its_text(config_files: ModuleType, tmp_path: Path) -> None:
    """What a machine made for itself stays, however it was spelled; who may read it is mended."""
    file = {"path": tmp_path / "secret", "content": "first", "mode": "0600", "keep": True}
    assert land(config_files, file) == [str(file["path"])]
    assert land(config_files, file | {"content": "second"}) == []
    (tmp_path / "secret").chmod(0o644)
    assert land(config_files, file | {"content": "third"}) == [str(file["path"])]
    assert (tmp_path / "secret").read_text() == "first\n"
    assert (tmp_path / "secret").stat().st_mode & 0o7777 == 0o600


def test_an_unchanged_file_is_not_checked_again(config_files: ModuleType, tmp_path: Path) -> None:
    """A second run costs nothing."""
    file = {"path": tmp_path / "a.conf", "content": "x"}
    land(config_files, file)
    assert land(config_files, file | {"validate": "false %s"}) == []
