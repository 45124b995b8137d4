"""What makes a source the same source, and what of it reaches a server."""

import io
import os
import tarfile
from pathlib import Path

import pytest
from fastapi_metal.source.tree import SourceError, SourceTree


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    """Return a small project with things that are not part of it."""
    for name in (
        "shop/main.py",
        "requirements.txt",
        ".env",
        ".git/HEAD",
        "shop/__pycache__/main.pyc",
        "venv/bin/x",
        ".coverage.web1.4711",
        ".schemathesis/crashes/get.json",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return SourceTree(tmp_path)


def test_only_the_project_is_released(tree: SourceTree) -> None:
    """History, caches, environments and a committed .env stay behind."""
    assert tree.names() == ["requirements.txt", "shop/main.py"]
    with tarfile.open(fileobj=io.BytesIO(tree.pack())) as tar:
        assert {(info.name, info.uid, oct(info.mode)) for info in tar} == {
            ("requirements.txt", 0, "0o644"),
            ("shop/main.py", 0, "0o644"),
        }


def test_age_and_place_make_no_new_release(tree: SourceTree) -> None:
    """A checkout elsewhere, or a touched file, is the same source."""
    before = tree.digests()
    os.utime(tree.path / "shop/main.py", (1, 1))
    (tree.path / ".env").write_text("changed")
    assert tree.digests() == before


@pytest.mark.parametrize(
    ("name", "changed"), [("shop/main.py", "source"), ("requirements.txt", "lock"), ("shop/new.py", "source")]
)
def test_content_makes_a_new_release(tree: SourceTree, name: str, changed: str) -> None:
    """Code and lock are told apart, so that the report can say which it was."""
    before = dict(zip(("source", "lock"), tree.digests(), strict=True))
    (tree.path / name).write_text("something else")
    after = dict(zip(("source", "lock"), tree.digests(), strict=True))
    assert [part for part in before if before[part] != after[part]] == [changed]


def test_a_program_is_another_file_than_a_text(tree: SourceTree) -> None:
    """The executable bit reaches the server."""
    before = tree.digests()
    (tree.path / "shop/main.py").chmod(0o755)
    assert tree.digests() != before


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside"])
def test_a_link_out_of_the_source_is_refused(tree: SourceTree, target: str) -> None:
    """What it points to would not be on the server; the message names it."""
    (tree.path / "link").symlink_to(target)
    with pytest.raises(SourceError, match=r"link is a link to .*outside of the source; copy the file"):
        tree.digests()


def test_a_link_inside_is_kept(tree: SourceTree) -> None:
    """A relative link stays one."""
    (tree.path / "link.py").symlink_to("shop/main.py")
    with tarfile.open(fileobj=io.BytesIO(tree.pack())) as tar:
        assert tar.getmember("link.py").linkname == "shop/main.py"


def test_the_lock_of_the_project_counts(tree: SourceTree) -> None:
    """In a monorepo the project's own lock is the one."""
    (tree.path / "backend").mkdir()
    (tree.path / "backend/pyproject.toml").write_text("[project]")
    assert SourceTree(tree.path, "backend").project.lock() == "backend/pyproject.toml"
