"""Any ASGI server serves a release, and the application sees the same whichever it is."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from client import Site
from conftest import Lab
from played import why
from testinfra.host import Host
from websocket import WebSocket

# With quotes of both kinds and a value that is no text.
FACTORY = "mirror.main:create_app('it\\'s \"here\" $HOME %i', debug=False)"

SERVERS: dict[str, dict[str, Any]] = {
    "uvicorn worker": {"workers": 2, "threads": 3},
    "asgi worker": {"workers": 2, "worker_class": "asgi", "threads": 3},
    "uvicorn": {"workers": 2, "threads": 3, "command": "uvicorn {app} --fd 3 --workers {workers}"},
    "hypercorn": {"workers": 2, "command": "hypercorn {app} --bind fd://3 --workers {workers}"},
    "granian": {
        "workers": 2,
        "command": "granian {app} --interface asgi --uds {socket} --workers {workers}",
    },
}


def at_once(site: Site) -> int:
    """Return how many calls that block one worker has run at once at most, when many were asked for."""
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: site.get("/busy?seconds=0.5").json(), range(32)))
    return max(int(answer["most"]) for answer in answers)


@pytest.mark.parametrize("name", SERVERS)
def test_every_server_shows_the_same_request(lab: Lab, host: Host, name: str) -> None:
    """Scheme, host, client, redirects and websockets are right, and so is the factory's argument.

    Red when a server is not told what Nginx knows, or when the shell reads the factory's quotes.
    """
    done = lab.deploy("mirror", module=FACTORY, server=SERVERS[name])
    assert done.returncode == 0, why(done)
    site = lab.site("mirror")
    process, seen = site.get("/process").json(), site.get("/request").json()
    assert process["title"] == 'it\'s "here" $HOME %i'
    assert seen["url"] == "https://mirror.lab.test/request"
    assert seen["client"] == lab.info["gateway"]
    assert site.get("/away").headers["location"] == "https://mirror.lab.test/health"
    with WebSocket(site, "/ws") as socket:
        assert socket.status == 101
        assert socket.receive() == "wss://mirror.lab.test/ws"
        socket.send("déjà vu")
        assert socket.receive() == "déjà vu"
    if threads := SERVERS[name].get("threads"):
        assert at_once(site) == threads
    own = "command" in SERVERS[name]
    assert ("nobody counts or watches them" in done.stdout) is own
    serving = host.check_output("systemctl show --property=ExecStart --value 'mirror@*.service'")
    assert ("serving/command" in serving) is own
