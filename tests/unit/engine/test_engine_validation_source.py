"""A wrong source, and a wrong setting of its installation, is refused before any machine is touched."""

from pathlib import Path
from typing import Any

import pytest
from fastapi_metal.apps.validation import problems

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n"
SHA = f"sha256:{'a' * 64}"
GIT = {"git": "git@git.example.org:team/shop.git", "version": "v1.4.2"}
URL = "https://files.example.org/shop-1.4.2.tar.gz"
PACKAGE = {"package": "shop==1.4.2"}
INDEX = "https://pypi.example.org/simple"


def refused(**entry: Any) -> list[str]:
    """Return what is wrong with an application."""
    return problems({"shop": {"domain": "shop.example.org", "module": "shop.main:app", **entry}})


@pytest.mark.parametrize(
    "entry",
    [
        {"source": {**GIT, "deploy_key": KEY, "known_hosts": "git.example.org ssh-ed25519 AAAA"}},
        {"source": {"git": "https://me:pw@git.example.org/shop.git", "version": "feature/a-b"}},
        {"source": {"git": "/srv/git/shop.git", "version": "main"}, "subdir": "backend/api"},
        {"source": {"archive": URL, "checksum": SHA}, "install": {"build": ["npm ci && npm run build"]}},
        {
            "source": PACKAGE,
            "install": {"extras": ["redis"], "constraints": ["sqlalchemy<2.1"], "offline": True},
        },
        {
            "source": PACKAGE,
            "install": {"index": INDEX, "index_username": "deploy", "index_password": "s3cret-value"},
        },
    ],
)
def test_a_right_source_passes(entry: dict[str, Any]) -> None:
    """No false alarm."""
    assert refused(**entry) == []


@pytest.mark.parametrize(
    ("entry", "variable", "words"),
    [
        ({"source": {"git": "x"}}, "source.version", "is missing; name a tag, a branch or a commit"),
        ({"source": {"git": "x", "version": 1.1}}, "source.version", 'quote it, as in `version: "1.10"`'),
        ({"source": {"git": "x", "version": "--upload-pack=x"}}, "source.version", "as in `v1.4.2`"),
        (
            {"source": {"git": "--upload-pack=x", "version": "v1"}},
            "source.git",
            "is no address of a repository",
        ),
        ({"source": {"git": "ext::sh -c x", "version": "v1"}}, "source.git", "is no address of a repository"),
        ({"source": {**GIT, "deploy_key": "ssh-ed25519 AAAA"}}, "source.deploy_key", "is no private key"),
        (
            {"source": {"git": "https://git.example.org/shop.git", "version": "v1", "deploy_key": KEY}},
            "source.deploy_key",
            "is a key for SSH",
        ),
        (
            {"source": {**PACKAGE, "version": "v1"}},
            "source.version",
            "belongs to `git`, and the source is a `package`",
        ),
        ({"source": {**GIT, "checksum": SHA}}, "source.checksum", "belongs to `archive`"),
        (
            {"source": {"package": "shop"}},
            "source.package",
            "use name and version, as in `package: shop==1.4.2`",
        ),
        ({"source": {"package": "shop>=1"}}, "source.package", "is no pinned package"),
        ({"source": {"package": "shop[redis]==1"}}, "source.package", "`install.extras`"),
        ({"source": {"archive": URL}}, "source.checksum", "set it to the output of `sha256sum`"),
        ({"source": {"archive": URL, "checksum": "md5:0"}}, "source.checksum", "64 hexadecimal digits"),
        (
            {"source": {"archive": "https://files.example.org/shop.rar", "checksum": SHA}},
            "source.archive",
            ".tar.gz",
        ),
        ({"source": {"archive": "/nowhere/shop.zip"}}, "source.archive", "is no file on the controller"),
        ({"source": {"gti": "x", **GIT}}, "source.gti", "did you mean `git`?"),
        ({"source": GIT, "subdir": "../x"}, "subdir", "leads elsewhere; use a relative directory"),
        ({"source": PACKAGE, "subdir": "backend"}, "subdir", "has no directory to work in"),
        ({"source": PACKAGE, "install": {"build": ["make"]}}, "install.build", "has no directory to work in"),
        ({"source": GIT, "install": {"build": [" "]}}, "install.build", "holds an empty command"),
        ({"source": GIT, "install": {"extras": ["a,b"]}}, "install.extras", 'holds "a,b", which is no extra'),
        (
            {"source": GIT, "install": {"packages": ["--pre"]}},
            "install.packages",
            "use for example `sentry-sdk==2.49.0`",
        ),
        ({"source": GIT, "install": {"constraints": ["a b"]}}, "install.constraints", "`sqlalchemy<2.1`"),
        (
            {"source": GIT, "install": {"index": "pypi.example.org"}},
            "install.index",
            "is no address of a package index",
        ),
        (
            {"source": GIT, "install": {"index": "https://me:s3cret@pypi.example.org/simple"}},
            "install.index",
            "set `index_username` and `index_password`",
        ),
        ({"source": GIT, "install": {"index_username": "me"}}, "install.index_username", "`index` is not"),
        (
            {"source": GIT, "install": {"index": INDEX, "index_password": "s3cret-value"}},
            "install.index_username",
            "set both or none",
        ),
        ({"source": GIT, "install": {"ofline": True}}, "install.ofline", "did you mean `offline`?"),
    ],
)
def test_a_wrong_source_gets_one_sentence(entry: dict[str, Any], variable: str, words: str) -> None:
    """It names the variable, the file, and a value that works; a secret is in none."""
    (found,) = refused(**entry)
    assert found.startswith(f"`apps.shop.{variable}` in group_vars/all/apps.yml ")
    assert words in found
    assert "s3cret" not in found
    assert "BEGIN" not in found


def test_a_wheel_on_the_controller_is_a_source(tmp_path: Path) -> None:
    """Without a checksum: whoever wrote the inventory has it in hand."""
    wheel = tmp_path / "shop-1.4.2-py3-none-any.whl"
    wheel.touch()
    assert refused(source={"archive": str(wheel)}) == []
    assert "`apps.shop.subdir`" in refused(source={"archive": str(wheel)}, subdir="a")[0]
