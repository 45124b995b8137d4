"""Finds what is wrong with the way an application is served, and with what it is given."""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..release.settings import secret_variable
from .sentences import sentence, shown

MODULE = re.compile(r"[^\s:]+:[A-Za-z_][\w.]*(\(.*\))?", re.DOTALL)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
PLACEHOLDERS = {"", "changeme", "change-me", "change_me", "example", "secret", "password", "todo", "xxx"}
# Set by the engine or by systemd for every process of a release.
OURS = {"APP_NAME", "APP_RELEASE", "CREDENTIALS_DIRECTORY", "PROMETHEUS_MULTIPROC_DIR", "PATH"}

# Linux takes no variable of more than 128 KiB, name and all.
LONGEST_VALUE = 120 * 1024
# Gunicorn's workers for the older interface, which has no websockets and no async.
WSGI_WORKERS = {"sync", "gthread", "gevent", "eventlet", "tornado", "gevent_wsgi", "gevent_pywsgi"}
WORKER_CLASS = re.compile(r"asgi|[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
URL_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
DIRECTORY = re.compile(r"(?!.*\.\.)[A-Za-z0-9_.][A-Za-z0-9_./-]*")


def of_module(variable: str, module: Any) -> Iterator[str]:
    """Find a target that no server could load."""
    works = "use `module:attribute` as in `shop.main:app` or a factory as in `shop.main:create_app()`"
    if not isinstance(module, str):
        return
    if not MODULE.fullmatch(module):
        yield sentence(f"{variable}.module", f"is {shown(module)}, which names no ASGI application", works)
    elif not has_literal_arguments(module.partition(":")[2]):
        yield sentence(
            f"{variable}.module",
            f"is {shown(module)}, whose arguments are no plain values",
            'write texts, numbers, True, False or None, as in `shop.main:create_app("eu", debug=False)`',
        )


def has_literal_arguments(expression: str) -> bool:
    """Tell whether a factory is called with values that are written out."""
    try:
        wanted = ast.parse(expression.strip(), mode="eval").body
        if isinstance(wanted, ast.Call):
            for value in [*wanted.args, *(option.value for option in wanted.keywords)]:
                ast.literal_eval(value)
            return all(option.arg for option in wanted.keywords)
    except (SyntaxError, ValueError):
        return False
    return isinstance(wanted, ast.Name | ast.Attribute)


def of_server(variable: str, server: Any) -> Iterator[str]:
    """Find a way to serve that cannot work."""
    if not isinstance(server, Mapping):
        return
    worker_class, command = server.get("worker_class"), server.get("command")
    if isinstance(worker_class, str) and worker_class in WSGI_WORKERS:
        yield sentence(
            f"{variable}.worker_class",
            f"is {worker_class}, which serves WSGI and no ASGI application",
            "use `uvicorn_worker.UvicornWorker` or `asgi`",
        )
    elif isinstance(worker_class, str) and not WORKER_CLASS.fullmatch(worker_class):
        yield sentence(
            f"{variable}.worker_class",
            f"is {shown(worker_class)}, which names no class",
            "use `uvicorn_worker.UvicornWorker` or `asgi`",
        )
    if isinstance(command, str) and command.strip():
        yield from of_command(variable, command, server)


def of_command(variable: str, command: str, server: Mapping[str, Any]) -> Iterator[str]:
    """Find a command that would serve something else, somewhere else, or whose other settings are lost."""
    works = "as in `uvicorn {app} --fd 3 --workers {workers}`"
    if "\n" in command.strip():
        yield sentence(f"{variable}.command", "is more than one line", f"write one command, {works}")
    if "{app}" not in command:
        yield sentence(
            f"{variable}.command",
            "does not hold `{app}`",
            f"write it where the server expects `module:attribute`, {works}",
        )
    if not re.search(r"fd\S{0,3}\s*[= ]?\s*3\b|fd://3\b|\{socket\}", command):
        yield sentence(
            f"{variable}.command",
            "serves no socket that Nginx asks",
            "let it serve file descriptor 3, as in `uvicorn {app} --fd 3`, or else the path `{socket}`, "
            "as in `granian {app} --interface asgi --uds {socket}`",
        )
    for key in ("worker_class", "preload", "timeout"):
        if key in server:
            yield sentence(
                f"{variable}.{key}",
                "is for Gunicorn, and server.command is another server",
                "take one of the two out, or write its own option into the command",
            )


def of_values(variable: str, value: str) -> Iterator[str]:
    """Find a value that no environment can hold: systemd would leave the variable out."""
    if re.search("[\0\ud800-\udfff\ufdd0-\ufdef]", value) or any(
        ord(each) & 0xFFFE == 0xFFFE for each in value
    ):
        yield sentence(
            variable, "holds a character that no environment can hold", "encode it, as with base64"
        )
    elif len(value.encode()) > LONGEST_VALUE:
        yield sentence(
            variable,
            f"is longer than the {LONGEST_VALUE // 1024} KiB that Linux takes in one variable",
            "put it into a file of the source, or into `secrets` with `secrets_as: files`",
        )


def of_secrets(variable: str, app: Mapping[str, Any]) -> Iterator[str]:
    """Find secrets that are placeholders, empty, no texts, or no variables where they shall be."""
    secrets = app.get("secrets")
    for name, value in secrets.items() if isinstance(secrets, Mapping) else ():
        path = f"{variable}.secrets.{name}"
        works = f'give it a value in the vault, as in `{name}: "{{{{ vault_{name} }}}}"`'
        if not SECRET.fullmatch(str(name)):
            yield sentence(path, "cannot be a file name", "use letters, digits, `_`, `-` and `.`")
        elif isinstance(value, Mapping | list | tuple):
            yield sentence(path, "is no text", works)
        elif value is None or str(value).strip().lower() in PLACEHOLDERS:
            yield sentence(path, "is empty or a placeholder", works)
        elif app.get("secrets_as") == "env":
            yield from of_secret_variable(path, str(name), str(value), app)


def of_secret_variable(path: str, name: str, value: str, app: Mapping[str, Any]) -> Iterator[str]:
    """Find a secret that cannot be the environment variable it shall be."""
    wanted, env = secret_variable(name), app.get("env")
    others = sorted(str(other) for other in app["secrets"] if str(other) != name)
    if not VARIABLE.fullmatch(wanted):
        yield sentence(
            path, f"would be the variable {wanted}, which is no name of one", "begin it with a letter"
        )
    elif wanted in OURS:
        yield sentence(
            path, f"would be the variable {wanted}, which is set by the release itself", "rename it"
        )
    elif isinstance(env, Mapping) and wanted in env:
        yield sentence(
            path, f"would be the variable {wanted}, which `env` has too", "take it out of one of the two"
        )
    elif any(secret_variable(other) == wanted and other < name for other in others):
        yield sentence(path, f"would be the variable {wanted}, as another secret", "rename one of them")
    else:
        yield from of_values(path, value)


def of_web(variable: str, web: Any) -> Iterator[str]:
    """Find paths that Nginx cannot serve."""
    if not isinstance(web, Mapping):
        return
    path = web.get("path", "/")
    if isinstance(path, str) and path != "/" and not URL_PATH.fullmatch(path):
        yield sentence(
            f"{variable}.path",
            f"is {shown(path)}, which is no path",
            "begin it with `/` and use letters, digits, `.`, `_`, `~` and `-`, as in `/shop`",
        )
    if path == "/" and web.get("strip_path") is True:
        yield sentence(
            f"{variable}.strip_path",
            "is true and there is no path to take off",
            "set `path`, as in `path: /shop`",
        )
    static = web.get("static")
    for url, place in static.items() if isinstance(static, Mapping) else ():
        yield from of_static(f"{variable}.static.{url}", str(url), place)


def of_static(variable: str, url: str, place: Any) -> Iterator[str]:
    """Find static files that could not be found, or that show what is no public file."""
    works = "as in `/assets: frontend/dist/assets`"
    if not URL_PATH.fullmatch(url):
        yield sentence(variable, "is no path", f"begin it with `/` and leave out the last `/`, {works}")
    if not isinstance(place, str) or not DIRECTORY.fullmatch(place) or place.strip("./") == "":
        yield sentence(
            variable, f"is {shown(place)}, which is no directory within the source", f"name one, {works}"
        )
