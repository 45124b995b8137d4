"""The same five steps for pyinfra. Its data: action, archive, digest, stable."""

import time

from pyinfra import host
from pyinfra.facts.server import Command
from pyinfra.operations import files, server

HOME = "/srv/bench-pyinfra"
DATA = host.data
ACTION, DIGEST, STABLE = DATA.action, DATA.digest, int(DATA.stable)
HEALTHY = (
    "ask() {{ curl --silent --fail --max-time 2 --output /dev/null --unix-socket {socket} "
    "http://bench/health/ready; }}; "
    "tries=0; until ask; do tries=$((tries + 1)); [ $tries -lt 600 ] || exit 1; sleep 0.05; done; "
    "end=$(($(date +%s%N) + {stable} * 1000000000)); "
    "while [ $(date +%s%N) -lt $end ]; do sleep 0.2; ask || exit 1; done"
)

seen = host.get_fact(
    Command,
    f"cd {HOME}; echo $(readlink current | xargs -r basename):$(cat current/digest):$(cat previous)",
    _sudo=True,
)
old, live_digest, previous = (seen or "::").split(":")


def go_live(new: str) -> None:
    """Start a release, wait, rename, end the one before."""
    healthy = HEALTHY.format(socket=f"{HOME}/releases/{new}/app.sock", stable=STABLE)
    server.shell(
        name="Start it and wait", commands=[f"systemctl start bench-pyinfra@{new}", healthy], _sudo=True
    )
    commands = [f"ln -sfn releases/{new} {HOME}/.current && mv -T {HOME}/.current {HOME}/current"]
    if old and old != new:
        commands += [f"echo {old} > {HOME}/previous", f"systemctl stop bench-pyinfra@{old}"]
    server.shell(name="Rename, and end the one before", commands=commands, _sudo=True)


if ACTION == "rollback":
    go_live(previous)
elif live_digest != DIGEST:
    release = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{DIGEST[:6]}"
    path = f"{HOME}/releases/{release}"
    files.put(name="Copy", src=DATA.archive, dest=f"/tmp/bench-{DIGEST[:12]}.tar.gz")  # noqa: S108
    server.shell(
        name="Install",
        commands=[
            f"mkdir -p {path}/src && tar -xzf /tmp/bench-{DIGEST[:12]}.tar.gz -C {path}/src",
            f"uv venv --quiet --python /usr/bin/python3 {path}/venv",
            "uv pip install --quiet --compile-bytecode --require-hashes "
            f"--python {path}/venv/bin/python --requirements {path}/src/requirements.txt",
            f"echo {DIGEST} > {path}/digest && chown bench:www-data {path}",
        ],
        _sudo=True,
    )
    go_live(release)
