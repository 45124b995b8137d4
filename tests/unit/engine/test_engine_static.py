"""Nginx gets the directories that were named, and nothing else of a release."""

from pathlib import Path

import pytest
from engine_fake import Host
from fastapi_metal.steps.static import StaticError, publish


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source with built files, and with code that is nobody's business."""
    assets = tmp_path / "src/dist/assets"
    (assets / "deep").mkdir(parents=True)
    (assets / "app.js").write_text("js")
    (assets / "deep/a.css").write_text("css")
    (assets / "app.js").chmod(0o600)
    (tmp_path / "src/main.py").write_text("code")
    (tmp_path / "secret").write_text("secret")
    return tmp_path / "src"


def test_files_lie_where_their_path_says(source: Path, tmp_path: Path) -> None:
    """Readable for everybody, at any depth; doing it again changes nothing."""
    for _ in range(2):
        assert publish(source, tmp_path / "static", {"/shop/assets": "dist/assets"}, "apps.shop.web.static")
    published = tmp_path / "static/shop/assets"
    assert (published / "deep/a.css").read_text() == "css"
    assert (published / "app.js").stat().st_mode & 0o777 == 0o644
    assert not list((tmp_path / "static").rglob("*.py"))


def test_a_link_that_leads_out_is_left_out(source: Path, tmp_path: Path) -> None:
    """Nobody can publish what is beside the source; a link within it is the file that it names."""
    (source / "dist/assets/out").symlink_to("../../../secret")
    (source / "dist/assets/in.js").symlink_to("app.js")
    publish(source, tmp_path / "static", {"/a": "dist/assets"}, "apps.shop.web.static")
    assert not (tmp_path / "static/a/out").exists()
    assert (tmp_path / "static/a/in.js").read_text() == "js"


def test_a_directory_that_was_not_built_is_told(source: Path, tmp_path: Path) -> None:
    """The sentence names the key, and where it stands."""
    with pytest.raises(StaticError, match=r"`dist/none`.*apps\.shop\.web\.static\./a in group_vars"):
        publish(source, tmp_path / "static", {"/a": "dist/none"}, "apps.shop.web.static")


def test_a_release_without_its_static_files_is_refused(host: Host) -> None:
    """It is a problem of the stage, so that the old one serves on."""
    done = host.deploy("one", web={"static": {"/assets": "nowhere"}})
    assert "no directory `nowhere`" in done["problem"]
    assert not host.layout.current.exists()


def test_the_release_before_is_kept_for_its_static_files(host: Host) -> None:
    """`previous` names what had the traffic until the last switch, whichever way it went."""
    first, second = host.deploy("one")["release"], host.deploy("two")["release"]
    assert host.layout.before.readlink().name == first
    host.deploy("one")
    assert host.layout.before.readlink().name == second
