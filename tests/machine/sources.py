"""What tests of sources need: a small project, an index that asks for an account, a look at a release."""

import base64
import http.server
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testinfra.host import Host

UV = Path(sys.executable).with_name("uv")
USER, PASSWORD = "deploy", "s3cret-of-the-index"

# Plain ASGI: what runs it is added by the engine. `idna` shows that the project's own packages are there.
MAIN = """\
import sys

import idna

WORD = {word!r}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({{"type": message["type"] + ".complete"}})
            if message["type"] == "lifespan.shutdown":
                return
    text = f"{{WORD}} {{idna.__version__}} {{sys.prefix}}".encode()
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": text}})
"""

PYPROJECT = """\
[project]
name = "depot"
version = {version!r}
requires-python = {python!r}
dependencies = {needs}

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""


def write(root: Path, files: dict[str, str]) -> Path:
    """Write a project and return its directory."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def pyproject(version: str = "1", python: str = ">=3.11", needs: tuple[str, ...] = ("idna",)) -> str:
    """Return a pyproject.toml of a project that is built."""
    return PYPROJECT.format(version=version, python=python, needs=json.dumps(needs))


def run(*argv: str | Path, cwd: Path | None = None) -> str:
    """Run a program on the controller and return what it printed."""
    command = [str(word) for word in argv]
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def release(host: Host) -> str:
    """Return the directory of the live release."""
    return str(host.check_output("readlink -f /srv/depot/current"))


def answer(host: Host) -> list[str]:
    """Ask the live release: its word, the version of its package, and where its packages are."""
    asked = (
        "curl --fail --silent --show-error --unix-socket /srv/depot/current/app.sock http://depot.lab.test/"
    )
    return str(host.check_output(asked)).split()


def holders(host: Host, secret: str) -> str:
    """Return where a secret is: files, and lines of the journal, though not the one about this search."""
    pattern = f"[{secret[0]}]{secret[1:]}"
    places = "/srv /etc /var/lib/depot /var/log /usr/local /root /tmp /var/tmp"
    return str(
        host.check_output(
            f"grep -rl '{pattern}' {places} || true; journalctl --no-pager | grep '{pattern}' || true"
        )
    )


def wheel(place: Path, word: str, version: str) -> Path:
    """Make a wheel of the project."""
    path = place / f"depot-{version}-py3-none-any.whl"
    meta = f"depot-{version}.dist-info"
    files = {
        "depot/__init__.py": "",
        "depot/main.py": MAIN.format(word=word),
        f"{meta}/METADATA": f"Metadata-Version: 2.1\nName: depot\nVersion: {version}\nRequires-Dist: idna\n",
        f"{meta}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{meta}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{meta}/RECORD"]))
    return path


def download(place: Path) -> None:
    """Put the wheels of what an application without a lock gets into a directory."""
    wanted = ["gunicorn", "uvicorn", "uvicorn-worker", "idna"]
    run(
        sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--dest", place, *wanted
    )


class Files(http.server.BaseHTTPRequestHandler):
    """Serves the files of a directory, and the wheels among them as an index to whoever has the account."""

    directory: Path
    allowed: str = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    def do_GET(self) -> None:
        """Answer with a file, or with a page of an index."""
        parts = self.path.strip("/").split("/")
        if parts[0] == "simple" and self.headers["Authorization"] != self.allowed:
            self.reply(401, b"", {"WWW-Authenticate": "Basic"})
            return
        path = self.directory / parts[-1]
        if parts[0] == "simple" and len(parts) == 2:
            names = [file.name for file in self.directory.glob("*.whl") if distribution(file) == parts[1]]
            links = "".join(f'<a href="/simple/{parts[1]}/{name}">{name}</a>' for name in sorted(names))
            self.reply(200 if names else 404, links.encode(), {"Content-Type": "text/html"})
        elif path.is_file():
            self.reply(200, path.read_bytes(), {})
        else:
            self.reply(404, b"", {})

    do_HEAD = do_GET  # noqa: N815 - the name that the server looks for

    def reply(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        """Send one answer."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Be silent."""


def distribution(file: Path) -> str:
    """Return the name of a wheel's package, as an index spells it."""
    return file.name.partition("-")[0].replace("_", "-").lower()


@contextmanager
def served(directory: Path, address: str) -> Iterator[str]:
    """Serve a directory on the lab's own network and give its address."""
    handler = type("Handler", (Files,), {"directory": directory})
    with http.server.ThreadingHTTPServer((address, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{address}:{server.server_port}"
        server.shutdown()
        thread.join()
