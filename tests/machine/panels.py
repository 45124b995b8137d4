"""What dashboards ask, and Grafana's way to the answers."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from testinfra.host import Host

FOLDER = Path(__file__).resolve().parents[2] / "roles/grafana/files/dashboards"
ANYTHING = {
    "$environment": ".*",
    "$app": ".*",
    "$host": ".*",
    "$__rate_interval": "1m",
    "$__interval": "15s",
    "$__range": "1h",
}


@cache
def shipped() -> list[dict[str, Any]]:
    """Return every dashboard that the role ships."""
    found = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]
    assert found, f"no dashboards in {FOLDER}"
    return found


def questions() -> Iterator[tuple[str, str, str]]:
    """Yield dashboard, title of the panel and query, for each query that a dashboard makes."""
    for dashboard in shipped():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                yield dashboard["title"], panel["title"], target["expr"]
        for mark in dashboard.get("annotations", {}).get("list", []):
            yield dashboard["title"], mark["name"], mark["expr"]


def filled(expr: str, variables: Mapping[str, str] = ANYTHING) -> str:
    """Return a query with values for its variables, as Grafana sends it."""
    for name, value in sorted(variables.items(), reverse=True):
        expr = expr.replace(name, value)
    assert "$" not in expr, f"a variable is left: {expr}"
    return expr


# Asks many questions on the machine itself: one connection over SSH instead of hundreds. What it reads is
# JSON with the password, so that this stands on no command line.
ASK = """
import base64, json, sys, urllib.error, urllib.parse, urllib.request
from concurrent.futures import ThreadPoolExecutor
given = json.load(sys.stdin)
def ask(expr):
    request = urllib.request.Request(given["url"], urllib.parse.urlencode({"query": expr}).encode())
    login = base64.b64encode(("admin:" + given["password"]).encode()).decode()
    request.add_header("Authorization", "Basic " + login)
    try:
        return len(json.load(urllib.request.urlopen(request, timeout=60))["data"]["result"])
    except urllib.error.HTTPError as error:
        return error.read().decode()
with ThreadPoolExecutor(4) as pool:
    print(json.dumps(dict(zip(given["asked"], pool.map(ask, given["asked"])))))
"""


# Keeps asking on the machine itself, as somebody who has logged in. What it reads is as above; it prints how
# often it was answered, and what else it met.
KEEP_ASKING = """
import collections, json, sys, time, urllib.error, urllib.request
given = json.load(sys.stdin)
login = urllib.request.Request(given["url"] + "/login", json.dumps(
    {"user": "admin", "password": given["password"]}).encode(), {"Content-Type": "application/json"})
cookie = urllib.request.urlopen(login, timeout=10).headers["Set-Cookie"].split(";")[0]
met, end = collections.Counter(), time.monotonic() + given["seconds"]
while time.monotonic() < end:
    for path in ("/api/health", "/api/search", "/api/user"):
        try:
            request = urllib.request.Request(given["url"] + path, headers={"Cookie": cookie})
            met[urllib.request.urlopen(request, timeout=10).status] += 1
        except OSError as error:
            met[str(error)] += 1
    time.sleep(0.02)
print(json.dumps(met))
"""


class Grafana:
    """Grafana's API, asked on its machine as admin."""

    def __init__(self, host: Host, password: str) -> None:
        self._host = host
        self._password = password
        # It travels on standard input, not on a command line.
        self._netrc = f"machine 127.0.0.1 login admin password {password}"

    def get(self, path: str, *arguments: str) -> Any:
        """Return the answer to a GET."""
        command = " ".join(["curl -fsS --netrc-file /dev/stdin --get", *["%s"] * len(arguments)])
        url = f"http://127.0.0.1:3000{path}"
        return json.loads(self._host.check_output(f"printf %s | {command} %s", self._netrc, *arguments, url))

    def dashboard(self, uid: str) -> dict[str, Any]:
        """Return a provisioned dashboard as Grafana gives it out."""
        found: dict[str, Any] = self.get(f"/api/dashboards/uid/{uid}")["dashboard"]
        return found

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return what Prometheus answers to a query that Grafana passes on."""
        path = "/api/datasources/proxy/uid/prometheus/api/v1/query"
        found: list[dict[str, Any]] = self.get(path, "--data-urlencode", f"query={expr}")["data"]["result"]
        return found

    def status(self) -> int:
        """Return with which status it answers who has this password."""
        asked = (
            "curl -s -o /dev/null -w '%%{http_code}' --netrc-file /dev/stdin http://127.0.0.1:3000/api/user"
        )
        return int(self._host.check_output(f"printf %s | {asked}", self._netrc))

    def keep_asking(self, seconds: float) -> dict[str, int]:
        """Log in once and ask for so many seconds; return how often it answered with which status."""
        given = json.dumps({"url": "http://127.0.0.1:3000", "password": self._password, "seconds": seconds})
        met: dict[str, int] = json.loads(
            self._host.check_output("printf %%s %s | python3 -c %s", given, KEEP_ASKING)
        )
        return met

    def rows(self, asked: list[str]) -> dict[str, int | str]:
        """Return for each query how many rows the answer has, or what Prometheus has against it."""
        url = "http://127.0.0.1:3000/api/datasources/proxy/uid/prometheus/api/v1/query"
        given = json.dumps({"url": url, "password": self._password, "asked": asked})
        found: dict[str, int | str] = json.loads(
            self._host.check_output("printf %%s %s | python3 -c %s", given, ASK)
        )
        return found
