"""The texts by which a release's server runs: Gunicorn's configuration, or a command of the user's own."""

import inspect

from . import target
from .settings import Settings

GUNICORN = '''\
"""How Gunicorn runs this release. Written by the release engine; systemd holds the socket."""

import itertools

wsgi_app = "release_target:app"  # {module}
pythonpath = {serving!r}
chdir = {directory!r}
workers = {workers}
worker_class = {worker_class!r}
worker_tmp_dir = {runtime!r}
preload_app = {preload}
timeout = {timeout}
graceful_timeout = {graceful_timeout}
forwarded_allow_ips = "*"
proc_name = {proc_name!r}
control_socket_disable = True

# A worker's place; the master has none. Metrics are kept by it and not by process id: who comes after a
# worker that has ended goes on with its files, so there are never more of them than workers.
place = 0


def pre_fork(server, worker):
    """Give a worker the first place that is free."""
    taken = [other.place for other in server.WORKERS.values()]
    worker.place = next(number for number in itertools.count(1) if number not in taken)


def post_fork(server, worker):
    """Take the place."""
    global place
    place = worker.place


def child_exit(server, worker):
    """Forget the gauges of a worker that has ended."""
    try:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.place)
    except (ImportError, ValueError):
        pass


try:
    from prometheus_client import values

    # Before the application makes its first metric.
    values.ValueClass = values.MultiProcessValue(lambda: place)
except (ImportError, AttributeError):
    pass
'''

# `exec`: systemd's signals must reach the server, and the socket is given to this process.
COMMAND = """\
# How server.command runs this release. Written by the release engine.
export PYTHONPATH="{serving}${{PYTHONPATH:+:$PYTHONPATH}}"
cd '{directory}'
exec {command}
"""

# A server that takes no socket from systemd makes its own, and lets the web server in.
LET_IN = (
    "until [ -S {socket} ]; do sleep 0.1; done; "
    "setfacl --modify group:{group}:x {runtime}; setfacl --modify group:{group}:rw {socket}"
)

# What a user gives up with a server that only they know; the report of a run says it.
OWN_SERVER = (
    "for {workers} of server.command: nobody counts or watches them, a dead one leaves its gauges in the "
    "metrics, and the memory of an import is not shared"
)

# Where the texts lie in a release; those that it does not have are left out.
FILES = ("gunicorn.conf.py", "serving/release_target.py", "serving/command", "serving/static")


def serving_directory(settings: Settings, release_id: str) -> str:
    """Return the directory of what only the server reads."""
    return f"{settings.layout.release(release_id)}/serving"


def runtime_directory(settings: Settings, release_id: str) -> str:
    """Return the directory that is empty at each start."""
    return f"/run/{settings.name}/{release_id}"


def own_socket(settings: Settings, release_id: str) -> str:
    """Return the socket that a server makes itself."""
    return f"{runtime_directory(settings, release_id)}/server.sock"


def makes_socket(settings: Settings) -> bool:
    """Tell whether the server makes its own socket, because it cannot take one."""
    return "{socket}" in settings.entry["server"]["command"]


def root_path(settings: Settings) -> str:
    """Return the prefix that Nginx takes off and that the application must know of to make addresses."""
    web = settings.entry["web"]
    return str(web["path"]).rstrip("/") if web["strip_path"] else ""


def target_text(settings: Settings) -> str:
    """Return the module `release_target`."""
    entry = settings.entry
    made = f"load({entry['module']!r}), {root_path(settings)!r}, {entry['server']['threads']!r}"
    return f"{inspect.getsource(target)}\n\napp = Target({made})\n"


def gunicorn(settings: Settings, release_id: str, workers: int, directory: str) -> str:
    """Return Gunicorn's configuration."""
    server = settings.entry["server"]
    return GUNICORN.format(
        module=" ".join(settings.entry["module"].split()),
        serving=serving_directory(settings, release_id),
        directory=directory,
        workers=workers,
        worker_class=server["worker_class"],
        runtime=runtime_directory(settings, release_id),
        preload=server["preload"],
        timeout=server["timeout"],
        graceful_timeout=server["graceful_timeout"],
        proc_name=f"{settings.name}@{release_id}",
    )


def command(settings: Settings, release_id: str, workers: int, directory: str) -> str:
    """Return the script that becomes the user's own server."""
    text = settings.entry["server"]["command"].strip()
    for word, value in (
        ("{app}", "release_target:app"),
        ("{workers}", str(workers)),
        ("{socket}", own_socket(settings, release_id)),
    ):
        text = text.replace(word, value)
    serving = serving_directory(settings, release_id)
    return COMMAND.format(serving=serving, directory=directory, command=text)


def static_text(settings: Settings) -> str:
    """Return which directories are Nginx's, one per line."""
    return "".join(f"{url} {place}\n" for url, place in sorted(settings.entry["web"]["static"].items()))


def texts(settings: Settings, release_id: str, workers: int, directory: str) -> dict[str, str]:
    """Return the files by which the server runs, by their place in the release."""
    how = command if settings.own_server else gunicorn
    name = "serving/command" if settings.own_server else "gunicorn.conf.py"
    return {
        name: how(settings, release_id, workers, directory),
        "serving/release_target.py": target_text(settings),
        # Left out where there is none, so that this key made no new release of every application.
        **({"serving/static": static_text(settings)} if settings.entry["web"]["static"] else {}),
    }


def service(settings: Settings, release_id: str) -> list[str]:
    """Return the lines of the unit that say how the server starts."""
    release = settings.layout.release(release_id)
    if not settings.own_server:
        return [f"ExecStart={release}/venv/bin/gunicorn --config {release}/gunicorn.conf.py"]
    lines = ["Type=exec", f"ExecStart=/bin/sh -e {release}/serving/command"]
    if makes_socket(settings):
        let_in = LET_IN.format(
            socket=own_socket(settings, release_id),
            runtime=runtime_directory(settings, release_id),
            group=settings.socket_group,
        )
        lines.append(f'ExecStartPost=/bin/sh -ec "{let_in}"')
    return lines


def listener(settings: Settings, release_id: str) -> str:
    """Return what systemd must know of the release's socket: nothing, unless the server makes its own."""
    if not makes_socket(settings):
        return ""
    held = settings.layout.release(release_id) / "held.sock"
    return (
        "# Written by the release engine: the server makes its own socket, this one takes its place.\n"
        f"[Socket]\nListenStream=\nListenStream={held}\n"
    )
