"""The HTTP side: the few calls of Grafana's API that tests and operators make."""

import base64
import binascii
import json
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .. import VERSION
from . import provisioning
from .accounts import Accounts
from .provisioning import Provisioned, ProvisioningError
from .settings import Settings

Answer = tuple[int, Any]
UNAUTHORIZED: Answer = (401, {"message": "Unauthorized"})
NOT_FOUND: Answer = (404, {"message": "Not found"})
PAGE = "<!DOCTYPE html><title>Stand-in</title><h1>This is a stand-in for Grafana, for tests only</h1>"
LONGEST_BODY = 1_000_000


@dataclass
class Application:
    """Settings, accounts and what is provisioned; shared by all requests."""

    settings: Settings
    accounts: Accounts
    provisioned: Provisioned
    sessions: set[str] = field(default_factory=set)

    def reload(self) -> None:
        """Read changed files; keep what was there when they are broken, as Grafana does while it runs."""
        try:
            self.provisioned = provisioning.load(self.settings.provisioning)
        except ProvisioningError as error:
            print(f"stand-in: kept the former dashboards: {error}", file=sys.stderr, flush=True)

    def datasource(self, key: str, value: str) -> dict[str, Any] | None:
        """Return the datasource whose `key` is `value`."""
        return next((found for found in self.provisioned.datasources if str(found[key]) == value), None)


class Server(ThreadingHTTPServer):
    """Listens where the settings say."""

    daemon_threads = True

    def __init__(self, application: Application) -> None:
        self.application = application
        super().__init__((application.settings.http_addr, application.settings.http_port), Handler)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    server_version = f"grafana-standin/{VERSION}"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answer a POST."""
        self._answer(self._post)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Keep requests out of the journal, as Grafana does by default."""

    def _answer(self, method: Callable[[list[str], bytes], Answer]) -> None:
        self.extra_headers: dict[str, str] = {}
        path = [part for part in urlsplit(self.path).path.split("/") if part]
        length = int(self.headers.get("Content-Length") or 0)
        if length > LONGEST_BODY:
            self.close_connection = True
            status, content = 413, {"message": "Body too large"}
        else:
            status, content = method(path, self.rfile.read(length))
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(content, str) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Grafana-Stand-In", VERSION)
        for name, value in self.extra_headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _get(self, path: list[str], body: bytes) -> Answer:
        match path:
            case ["api", "health"]:
                return 200, {"database": "ok", "version": VERSION, "commit": "stand-in, not Grafana"}
            case ["login"]:
                return 200, PAGE
            case ["api", *rest]:
                return self._api(rest, body) if self._is_allowed() else UNAUTHORIZED
            case []:
                return (200, PAGE) if self._is_allowed() else UNAUTHORIZED
        return NOT_FOUND

    def _post(self, path: list[str], body: bytes) -> Answer:
        match path:
            case ["login"]:
                return self._login(body)
            case ["api", "user", "signup"]:
                if not self._app.settings.allow_sign_up:
                    return 401, {"message": "User signup is disabled"}
                return 501, {"message": "The stand-in signs nobody up"}
            case ["api", "datasources", "proxy", *rest]:
                return self._proxy(rest, body) if self._is_allowed() else UNAUTHORIZED
        return NOT_FOUND

    def _api(self, path: list[str], body: bytes) -> Answer:
        self._app.reload()
        provisioned = self._app.provisioned
        match path:
            case ["org"]:
                return 200, {"id": 1, "name": "Main Org."}
            case ["user"]:
                return 200, {"id": 1, "login": self._app.settings.admin_user, "isGrafanaAdmin": True}
            case ["datasources"]:
                return 200, [_public(source) for source in provisioned.datasources]
            case ["datasources", "uid", uid]:
                source = self._app.datasource("uid", uid)
                return (200, _public(source)) if source else NOT_FOUND
            case ["datasources", "proxy", *rest]:
                return self._proxy(rest, body)
            case ["search"]:
                return 200, self._search()
            case ["dashboards", "uid", uid] if uid in provisioned.dashboards:
                found = provisioned.dashboards[uid]
                meta = {"provisioned": True, "folderTitle": found["folder"], "slug": uid}
                return 200, {"meta": meta, "dashboard": found["dashboard"]}
        return NOT_FOUND

    def _search(self) -> list[dict[str, Any]]:
        wanted = "".join(parse_qs(urlsplit(self.path).query).get("query", [])).lower()
        return [
            {"uid": uid, "title": found["dashboard"]["title"], "type": "dash-db", "url": f"/d/{uid}"}
            for uid, found in self._app.provisioned.dashboards.items()
            if wanted in found["dashboard"]["title"].lower()
        ]

    def _proxy(self, path: list[str], body: bytes) -> Answer:
        """Ask the datasource (`uid/<uid>/…` or `<id>/…`) and hand its answer on."""
        source = None
        match path:
            case ["uid", uid, *rest]:
                source = self._app.datasource("uid", uid)
            case [number, *rest]:
                source = self._app.datasource("id", number)
            case _:
                rest = []
        if source is None:
            return 404, {"message": "Unable to find datasource"}
        query = urlsplit(self.path).query
        address = f"{str(source['url']).rstrip('/')}/{'/'.join(rest)}" + (f"?{query}" if query else "")
        headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
        # S310: provisioning accepts http and https addresses only.
        request = urllib.request.Request(  # noqa: S310
            address, data=body or None, headers=headers, method=self.command
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, {"message": error.read().decode(errors="replace")}
        except (OSError, ValueError) as error:
            return 502, {"message": f"Bad gateway: {error}"}

    def _login(self, body: bytes) -> Answer:
        try:
            form = json.loads(body)
            user, password = str(form["user"]), str(form["password"])
        except (ValueError, KeyError, TypeError):
            return 400, {"message": "bad login data"}
        if not self._app.accounts.accepts(user, password):
            return 401, {"message": "Invalid username or password"}
        session = secrets.token_hex(16)
        self._app.sessions.add(session)
        self.extra_headers = {"Set-Cookie": f"grafana_session={session}; Path=/; HttpOnly; SameSite=Lax"}
        return 200, {"message": "Logged in", "redirectUrl": "/"}

    def _is_allowed(self) -> bool:
        if self._app.settings.anonymous:
            return True
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get("grafana_session")
        except CookieError:
            cookie = None
        if cookie is not None and cookie.value in self._app.sessions:
            return True
        scheme, _, credentials = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            login, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return self._app.accounts.accepts(login, password)

    @property
    def _app(self) -> Application:
        return self.server.application


def _public(source: dict[str, Any]) -> dict[str, Any]:
    """Return what the API shows of a datasource: everything but its secrets."""
    return {"access": "proxy", **{key: value for key, value in source.items() if key != "secureJsonData"}}
