"""Packages are installed as the project's own lock says, and nothing that it pinned is changed."""

from pathlib import Path
from typing import Any

import pytest
from fastapi_metal.apps.specs import complete
from fastapi_metal.packages.install_failure import sentence_for
from fastapi_metal.packages.installing import (
    InstallError,
    Installing,
    own_packages,
    source_decides,
    with_account,
    without_account,
)
from fastapi_metal.packages.server_packages import installed, missing
from fastapi_metal.packages.versions import allows
from fastapi_metal.source.project import Project
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

BUILT = '[build-system]\nrequires = ["hatchling"]\n[project]\nname = "shop"\n'
ENTRY = {"domain": "shop.example.org", "source": {}, "module": "shop.main:app"}


def settings(**install: Any) -> dict[str, Any]:
    """Return a completed `install`."""
    found: dict[str, Any] = complete({**ENTRY, "install": install})["install"]
    return found


def commands(root: Path, files: dict[str, str], wheels: Path | None = None, **install: Any) -> list[str]:
    """Return the commands for a project of these files."""
    for name, content in files.items():
        (root / name).write_text(content)
    installing = Installing(Project(root), settings(**install), "venv/bin/python", Path("/scratch"), wheels)
    return [" ".join(argv) for argv in installing.commands()]


@pytest.mark.parametrize(
    ("files", "install", "words"),
    [
        ({"uv.lock": "", "requirements.txt": "x"}, {}, ["sync --quiet --frozen"]),
        ({"uv.lock": ""}, {"extras": ["redis"]}, ["--compile-bytecode --extra redis --python"]),
        (
            {"uv.lock": ""},
            {"index": "https://pypi.example.org/simple"},
            ["export --quiet --frozen", "-r /scratch/exported.txt"],
        ),
        ({"requirements.txt": "x==1 --hash=sha256:0"}, {}, ["--require-hashes -r requirements.txt"]),
        ({"requirements.txt": "x==1"}, {}, ["venv/bin/python -r requirements.txt"]),
        (
            {"requirements.txt": "x"},
            {"constraints": ["x<2"]},
            ["-c /scratch/constraints.txt -r requirements"],
        ),
        (
            {"requirements.txt": "x==1", "pyproject.toml": BUILT},
            {},
            ["-r requirements.txt", "--no-deps --reinstall"],
        ),
        ({"pyproject.toml": BUILT}, {}, ["venv/bin/python ."]),
        ({"pyproject.toml": BUILT}, {"extras": ["a", "b"]}, ["venv/bin/python .[a,b]"]),
        ({"pyproject.toml": "[project]\n"}, {"extras": ["a"]}, ["--extra a -r pyproject.toml"]),
        ({"package.txt": "shop==1.4.2\n"}, {"extras": ["redis"]}, ["shop[redis]==1.4.2"]),
        ({"shop-1.4.2-py3-none-any.whl": ""}, {}, ["/shop-1.4.2-py3-none-any.whl"]),
    ],
)
def test_packages_are_installed_as_the_lock_says(
    tmp_path: Path, files: dict[str, str], install: dict[str, Any], words: list[str]
) -> None:
    """uv.lock before requirements.txt before pyproject.toml; hashes are enforced where there are any."""
    found = commands(tmp_path, files, **install)
    assert len(found) == len(words), found
    assert all(word in command for command, word in zip(found, words, strict=True)), found


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"requirements.txt": "x==1", "pyproject.toml": BUILT}, ["-r requirements.txt", "--reinstall shop"]),
        ({"pyproject.toml": BUILT}, ["venv/bin/python shop"]),
    ],
)
def test_shipped_wheels_are_all_that_is_asked(
    tmp_path: Path, files: dict[str, str], words: list[str]
) -> None:
    """A machine without a way out asks no index, for no package and no build tool."""
    found = commands(tmp_path, files, wheels=Path("/wheels"), offline=True)
    assert all(word in command for command, word in zip(found, words, strict=True)), found
    assert all("--no-index --find-links /wheels" in command for command in found)


def test_a_source_without_a_list_of_packages_is_refused(tmp_path: Path) -> None:
    """The message says which files are looked for, and how to make one."""
    with pytest.raises(
        InstallError, match=r"neither uv\.lock nor requirements\.txt.*`subdir`.*uv pip compile"
    ):
        commands(tmp_path, {})


def test_the_account_of_an_index_is_in_its_address_and_in_no_message() -> None:
    """Also a password that an address must quote."""
    install = settings(
        **{"index": "https://pypi.example.org/simple", "index_username": "me@x", "index_password": "a/b c"}
    )
    assert with_account(install) == "https://me%40x:a%2Fb%20c@pypi.example.org/simple"
    assert without_account("a/b c and a%2Fb%20c", install) == "*** and ***"
    argv = Installing(Project(Path()), install, "python", Path()).pip
    assert not any("pypi" in word for word in argv)


@pytest.mark.parametrize(
    ("server", "have", "wanted"),
    [
        ({}, {}, ["gunicorn>=25", "uvicorn", "uvicorn-worker"]),
        ({}, {"gunicorn": "27.0.1", "uvicorn-worker": "0.4.0", "uvicorn": "0.54.0"}, []),
        ({}, {"uvicorn": "0.30.0"}, ["gunicorn>=25", "uvicorn-worker"]),
        ({"worker_class": "asgi"}, {}, ["gunicorn>=25"]),
        ({"worker_class": "shop.workers.Mine"}, {"gunicorn": "20.1"}, []),
        ({"command": "granian --uds $SOCKET shop:app"}, {}, []),
    ],
)
def test_the_server_is_added_where_the_application_does_not_pin_it(
    server: dict[str, Any], have: dict[str, str], wanted: list[str]
) -> None:
    """The worker decides which packages; what is there stays, whatever its version."""
    complete_server = {**complete(ENTRY)["server"], **server}
    assert missing(complete_server, have) == wanted


def test_installed_packages_are_read_from_disk(tmp_path: Path) -> None:
    """Under the names by which every index compares them."""
    for name in ("Flask_Thing-1.0+local.1", "zope.interface-7.2", "uvicorn-0.30.0"):
        (tmp_path / f"lib/python3.13/site-packages/{name}.dist-info").mkdir(parents=True)
    assert installed(tmp_path) == {"flask-thing": "1.0+local.1", "zope-interface": "7.2", "uvicorn": "0.30.0"}


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("error: Hash mismatch for `idna==3.20`", "has another hash than the lock names"),
        ("Caused by: tcp connect error: Connection refused (os error 111)", "`apps.shop.install.index`"),
        ("cause: error resolving DNS\n  cause: failed to lookup address information", "does not answer"),
        ("cause: Network is unreachable (os error 101)", "does not answer"),
        ("HTTP status client error (401 Unauthorized) for url", "`apps.shop.install.index_username`"),
        (
            "Because the current Python version (3.11.2) does not satisfy\n  Python>=3.12 and shop==1",
            "a package asks for Python >=3.12 and this machine has 3.11",
        ),
        ("idna was not found in the provided package locations", "`apps.shop.install.offline`"),
    ],
)
def test_a_failed_installation_says_what_to_do(printed: str, words: str) -> None:
    """One sentence with the variable stands before what uv printed."""
    said = sentence_for(printed, "shop", settings(), "3.11")
    assert said is not None
    assert words in said


WORKSPACE = '[tool.uv.workspace]\nmembers = ["packages/*"]\nexclude = ["packages/old"]\n'
LOCK = """
version = 1
[[package]]
name = "api"
source = { editable = "packages/api" }
dependencies = [{ name = "lib" }, { name = "idna" }]
[[package]]
name = "idna"
source = { registry = "https://pypi.example.org/simple" }
[[package]]
name = "lib"
source = { editable = "packages/lib" }
[[package]]
name = "other"
source = { virtual = "packages/other" }
dependencies = [{ name = "api" }]
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a repository with a uv workspace: `api` needs `lib`, `other` needs both, `old` is none of it."""
    for name in ("api", "lib", "other", "old"):
        place = tmp_path / "packages" / name
        place.mkdir(parents=True)
        (place / "pyproject.toml").write_text(BUILT.replace("shop", name))
    (tmp_path / "pyproject.toml").write_text(WORKSPACE)
    (tmp_path / "uv.lock").write_text(LOCK)
    return tmp_path


def test_the_lock_of_a_workspace_further_up_is_found(workspace: Path) -> None:
    """And of the workspace only what the project needs is released with it."""
    project = Project(workspace, "packages/api")
    assert project.lock() == "uv.lock"
    assert project.parts() == ["packages/api", "packages/lib", "pyproject.toml", "uv.lock"]
    assert [name for name, _ in own_packages(project)] == ["api", "lib"]


def test_a_directory_that_is_no_member_has_its_own_lock(workspace: Path) -> None:
    """A lock further up that does not speak of it says nothing about it."""
    assert Project(workspace, "packages/old").lock() == "packages/old/pyproject.toml"


@pytest.mark.parametrize(
    ("files", "decides"),
    [
        ({"uv.lock": ""}, False),
        ({"requirements.txt": "-r base.txt\n", "base.txt": "idna\n"}, False),
        ({"requirements.txt": "-r base.txt\n", "base.txt": "-e .\n"}, True),
        ({"requirements.txt": "./lib\n"}, True),
        ({"pyproject.toml": BUILT}, False),
        ({"pyproject.toml": f'{BUILT}dynamic = ["dependencies"]\n'}, True),
        ({"package.txt": "shop==1\n"}, True),
    ],
)
def test_packages_are_only_taken_over_where_the_lock_alone_decides(
    tmp_path: Path, files: dict[str, str], decides: bool
) -> None:
    """What is built from a list in the source, or is the source, changes with it."""
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert source_decides(Project(tmp_path)) is decides


VERSION = st.builds("3.{}{}".format, st.integers(7, 16), st.sampled_from(["", ".0", ".4", ".*"]))
OPERATORS = st.sampled_from([">=", ">", "<=", "<", "==", "!=", "~="])


@given(st.lists(st.tuples(OPERATORS, VERSION), max_size=3), st.integers(8, 15))
def test_requires_python_is_read_as_installers_do(wanted: list[tuple[str, str]], minor: int) -> None:
    """A minor version is let in exactly where one of its patch versions is let in by each specifier."""
    pairs = [
        (operator, want) for operator, want in wanted if operator in {"==", "!="} or not want.endswith("*")
    ]
    patches = [Version(f"3.{minor}.{patch}") for patch in range(30)]
    expected = all(
        any(patch in SpecifierSet(f"{operator}{want}") for patch in patches) for operator, want in pairs
    )
    assert allows(",".join(f"{operator}{want}" for operator, want in pairs), f"3.{minor}") is expected


def test_what_is_not_understood_is_left_to_the_installer() -> None:
    """A Python is not refused for a specifier that only newer tools know."""
    assert allows("@weird", "3.13")
    assert allows("", "3.11")
