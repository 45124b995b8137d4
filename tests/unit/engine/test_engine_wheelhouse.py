"""Machines that reach no index get wheels for their Python and architecture from the controller."""

import base64
import http.server
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi_metal.apps.specs import complete
from fastapi_metal.packages.wheelhouse import Wheelhouse, pack
from fastapi_metal.source.tree import SourceError

ENTRY = {"domain": "shop.example.org", "source": {}, "module": "shop.main:app"}
ANY = "py3-none-any"
ALLOWED = "Basic " + base64.b64encode(b"deploy:a/b c").decode()

# Builds a wheel without any tool, so that no network is needed.
BACKEND = """\
import zipfile


def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "shop-1-{tag}.whl"
    with zipfile.ZipFile(f"{{directory}}/{{name}}", "w") as wheel:
        wheel.writestr("shop-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: shop\\nVersion: 1\\n")
        wheel.writestr("shop-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: {tag}\\n")
        wheel.writestr("shop-1.dist-info/RECORD", "")
    return name
"""
BUILT = """\
[project]
name = "shop"
version = "1"
requires-python = ">=3.11"
dependencies = ["fast>=1"]
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def wheel(name: str, version: str, tag: str = ANY, *needs: str) -> tuple[str, bytes]:
    """Return a wheel's name and content."""
    buffer = io.BytesIO()
    meta = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {need}" for need in needs]
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{meta}/METADATA", "\n".join(lines) + "\n")
        archive.writestr(f"{meta}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{meta}/RECORD", "")
    return f"{name}-{version}-{tag}.whl", buffer.getvalue()


# `fast` is compiled for each Python, needs `old` on old ones alone; each uvicorn-worker fits other uvicorns.
OLD_ALONE = 'old; python_version < "3.13"'
WHEELS = dict(
    [
        *(
            wheel(
                "fast", version, f"{python}-{python}-manylinux_2_28_{machine}", 'old; python_version < "3.13"'
            )
            for version in ("1.0", "2.0")
            for python in ("cp311", "cp313")
            for machine in ("x86_64", "aarch64")
        ),
        wheel("old", "1.0"),
        wheel("gunicorn", "27.0"),
        wheel("uvicorn", "0.30.0"),
        wheel("uvicorn", "0.54.0"),
        wheel("uvicorn_worker", "0.3.0", ANY, "uvicorn>=0.14"),
        wheel("uvicorn_worker", "0.4.0", ANY, "uvicorn>=0.36"),
    ]
)


class Index(http.server.BaseHTTPRequestHandler):
    """A package index that asks for an account."""

    def do_GET(self) -> None:
        """Answer with a page or a wheel."""
        parts = self.path.strip("/").split("/")
        content = WHEELS.get(parts[-1], b"")
        if self.headers["Authorization"] != ALLOWED:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
        elif len(parts) == 2:
            names = [name for name in WHEELS if name.partition("-")[0].replace("_", "-") == parts[1]]
            content = "".join(f'<a href="/simple/{parts[1]}/{name}">{name}</a>' for name in names).encode()
            self.send_response(200 if names else 404)
            self.send_header("Content-Type", "text/html")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815 - the name that the server looks for

    def log_message(self, *_: Any) -> None:
        """Be silent."""


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Serve on a port of loopback, and return the settings that let in."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/simple"
        yield {"index": url, "index_username": "deploy", "index_password": "a/b c"}
        server.shutdown()
        thread.join()


def collected(
    root: Path, files: dict[str, str], install: dict[str, Any], python: str = "3.13", **entry: Any
) -> list[str]:
    """Return the names of what is shipped for a project of these files."""
    project = root / "project"
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    place = root / "wheels"
    place.mkdir()
    machine = entry.pop("machine", "x86_64")
    whole = bool(entry.pop("whole", True))
    settings = complete({**ENTRY, "install": {"offline": True, **install}, **entry})
    Wheelhouse("shop", project, settings, python, machine).collect(place, with_dependencies=whole)
    with tarfile.open(fileobj=io.BytesIO(pack(place))) as tar:
        return tar.getnames()


@pytest.mark.parametrize(
    ("python", "machine", "tag", "more"),
    [
        ("3.13", "x86_64", "cp313-cp313-manylinux_2_28_x86_64", []),
        ("3.11", "aarch64", "cp311-cp311-manylinux_2_28_aarch64", [f"old-1.0-{ANY}.whl"]),
    ],
)
def test_wheels_fit_the_machine_and_not_the_controller(
    tmp_path: Path, index: dict[str, str], python: str, machine: str, tag: str, more: list[str]
) -> None:
    """Also what only that Python needs; the server's packages follow what the project pins."""
    files = {"requirements.txt": "fast==1.0\nuvicorn==0.30.0\n"}
    assert collected(tmp_path, files, index, python, machine=machine) == sorted(
        [
            f"fast-1.0-{tag}.whl",
            f"gunicorn-27.0-{ANY}.whl",
            f"uvicorn-0.30.0-{ANY}.whl",
            f"uvicorn_worker-0.3.0-{ANY}.whl",
            *more,
        ]
    )


def test_constraints_and_further_packages_come_along(tmp_path: Path, index: dict[str, str]) -> None:
    """A package of an index is resolved as the machine would."""
    install = {**index, "constraints": ["fast<2"], "packages": ["old"]}
    found = collected(tmp_path, {"requirements.txt": "fast\n"}, install, server={"worker_class": "asgi"})
    fast = "fast-1.0-cp313-cp313-manylinux_2_28_x86_64.whl"
    assert found == [fast, f"gunicorn-27.0-{ANY}.whl", f"old-1.0-{ANY}.whl"]


def test_a_project_that_is_built_is_a_wheel_too(tmp_path: Path, index: dict[str, str]) -> None:
    """The machine has no build tools and asks nobody for them."""
    files = {"pyproject.toml": BUILT, "backend.py": BACKEND.format(tag=ANY)}
    found = collected(tmp_path, files, index, server={"worker_class": "asgi"})
    fast = "fast-2.0-cp313-cp313-manylinux_2_28_x86_64.whl"
    assert found == [fast, f"gunicorn-27.0-{ANY}.whl", f"shop-1-{ANY}.whl"]


def test_a_machine_that_has_the_packages_gets_the_project_alone(tmp_path: Path) -> None:
    """No index is asked at all."""
    files = {"pyproject.toml": BUILT, "backend.py": BACKEND.format(tag=ANY)}
    assert collected(tmp_path, files, {}, whole=False) == [f"shop-1-{ANY}.whl"]


def test_a_project_that_compiles_code_is_refused(tmp_path: Path) -> None:
    """What was compiled on the controller fits no server; the sentence names the setting."""
    files = {"pyproject.toml": BUILT, "backend.py": BACKEND.format(tag="cp311-cp311-linux_x86_64")}
    with pytest.raises(SourceError, match=r"shop-1-cp311.*compiled code.*`apps\.shop\.install\.offline`"):
        collected(tmp_path, files, {}, whole=False)


def test_a_package_without_a_wheel_is_named(tmp_path: Path, index: dict[str, str]) -> None:
    """With the setting, what the tool said, and no password."""
    with pytest.raises(
        SourceError, match=r"`apps\.shop\.install\.offline`\): every one needs a wheel"
    ) as caught:
        collected(tmp_path, {"requirements.txt": "nowhere==1\n"}, index)
    assert "nowhere" in str(caught.value)
    assert "a/b c" not in str(caught.value)
    assert "a%2Fb" not in str(caught.value)
