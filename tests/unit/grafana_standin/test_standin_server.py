"""The stand-in runs as its unit runs it, and answers as Grafana answers."""

from __future__ import annotations

import base64
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from grafana_standin import VERSION
from standin_tree import PASSWORD, SHARED, SOURCE, Tree, dashboard

CHANGED = "changed"


def command(*words: str) -> list[str]:
    """Return the command line of the stand-in."""
    return [sys.executable, "-m", "grafana_standin.server", *words]


def environment() -> dict[str, str]:
    """Return an environment that finds the stand-in and nothing of the project's."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(SHARED)}


@contextmanager
def served(tree: Tree) -> Iterator[subprocess.Popen[str]]:
    """Run the server until it answers; end it afterwards."""
    process = subprocess.Popen(
        command("server", "--config", str(tree.config)),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _attempt in range(200):
            if process.poll() is not None:
                break
            try:
                if ask(tree, "/api/health", password=None)[0] == 200:
                    break
            except OSError:
                time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)


def ask(tree: Tree, path: str, password: str | None = PASSWORD, data: bytes | None = None) -> tuple[int, Any]:
    """Return status and content of an answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{tree.port}{path}", data=data)
    if password is not None:
        token = base64.b64encode(f"admin:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - the address is the test's own
            assert answer.headers["X-Grafana-Stand-In"] == VERSION
            text = answer.read().decode()
            return answer.status, json.loads(text) if "json" in answer.headers["Content-Type"] else text
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_it_says_that_it_is_a_standin(tree: Tree) -> None:
    """Nobody can take it for Grafana: not by its version, its answers or its page."""
    assert "standin" in VERSION
    with served(tree):
        assert "stand-in" in ask(tree, "/api/health", password=None)[1]["commit"]
        assert "stand-in for Grafana" in ask(tree, "/login", password=None)[1]
    shown = subprocess.run(
        command("--version"), env=environment(), capture_output=True, text=True, check=True
    )
    assert "not Grafana" in shown.stdout


def test_only_the_administrator_is_let_in(tree: Tree) -> None:
    """The password of the file opens the API; nothing, another one or a made-up account does not."""
    with served(tree):
        for password in (None, "admin", ""):
            assert ask(tree, "/api/datasources", password=password)[0] == 401
        assert ask(tree, "/api/datasources")[0] == 200
        right = json.dumps({"user": "admin", "password": PASSWORD}).encode()
        wrong = json.dumps({"user": "admin", "password": "x"}).encode()
        assert ask(tree, "/login", password=None, data=right)[0] == 200
        assert ask(tree, "/login", password=None, data=wrong)[0] == 401
        assert ask(tree, "/api/user/signup", password=None, data=b"{}")[0] == 401


def test_it_shows_what_was_provisioned(tree: Tree) -> None:
    """Datasources and dashboards are those of the files; a new file is seen without a restart."""
    with served(tree):
        assert ask(tree, "/api/datasources")[1][0]["url"] == SOURCE["url"]
        assert [found["uid"] for found in ask(tree, "/api/search")[1]] == ["shop"]
        assert ask(tree, "/api/dashboards/uid/shop")[1]["dashboard"]["title"] == "Shop"
        assert ask(tree, "/api/dashboards/uid/nope")[0] == 404
        tree.write("dashboards/other.json", dashboard(uid="other", title="Other"))
        assert ask(tree, "/api/search?query=oth")[1][0]["uid"] == "other"
        tree.write("dashboards/other.json", "{")
        assert ask(tree, "/api/dashboards/uid/other")[0] == 200, "a broken file took a dashboard away"


class Prometheus(http.server.BaseHTTPRequestHandler):
    """Answers with the path that it was asked for."""

    def do_GET(self) -> None:
        """Answer."""
        body = json.dumps({"asked": self.path}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Be quiet."""


def test_it_hands_queries_to_the_datasource(tree: Tree) -> None:
    """A panel's query reaches Prometheus and its answer comes back, by uid and by number."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Prometheus) as prometheus:
        threading.Thread(target=prometheus.serve_forever, daemon=True).start()
        tree.sources(SOURCE | {"url": f"http://127.0.0.1:{prometheus.server_address[1]}"})
        with served(tree):
            for name in ("uid/prometheus", "1"):
                answer = ask(tree, f"/api/datasources/proxy/{name}/api/v1/query?query=up")
                assert answer == (200, {"asked": "/api/v1/query?query=up"})
            assert ask(tree, "/api/datasources/proxy/uid/nope/x")[0] == 404
        prometheus.shutdown()


def test_it_does_not_start_with_a_broken_file(tree: Tree) -> None:
    """It ends with 1 and says which file is broken; the unit fails, and so does the play."""
    tree.write("dashboards/shop.json", "{")
    done = subprocess.run(
        command("server", "--config", str(tree.config)),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "shop.json: is not readable JSON" in done.stderr


def reset(tree: Tree, password: str) -> int:
    """Change the password as an administrator would."""
    words = ["cli", "--config", str(tree.config), "admin", "reset-admin-password", "--password-from-stdin"]
    return subprocess.run(
        command(*words), env=environment(), input=password, capture_output=True, text=True, check=False
    ).returncode


def test_a_changed_setting_does_not_change_the_password(tree: Tree) -> None:
    """As with Grafana: the setting counts at the first start alone, later the command line changes it."""
    assert reset(tree, "too early") == 1
    with served(tree):
        pass
    tree.write("password", f"{CHANGED}\n")
    with served(tree):
        assert ask(tree, "/api/org", password=CHANGED)[0] == 401
        assert reset(tree, "1234") == 1, "Grafana refuses a password this short"
        assert reset(tree, CHANGED) == 0
        assert ask(tree, "/api/org", password=CHANGED)[0] == 200
        assert ask(tree, "/api/org")[0] == 401
