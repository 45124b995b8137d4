"""Prefixes, static files, streams, large bodies and long requests: what Nginx is told by `web`."""

import contextlib
import http.client
import shutil
import ssl
import time
from pathlib import Path

import pytest
from client import Site, _Connection
from conftest import ROOT, Lab
from played import why
from testinfra.host import Host


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    """Return the application that lives under /shop."""
    done = lab.deploy("prefix")
    assert done.returncode == 0, why(done)
    return lab.site("prefix")


def test_an_application_can_live_under_a_path(site: Site) -> None:
    """Routes, redirects and documentation are right, though the application does not know the path.

    Red when the application is not told of the path, or when it is served beside it too.
    """
    seen = site.get("/shop/request").json()
    assert seen["url"] == "https://prefix.lab.test/shop/request"
    assert seen["url_for"] == "https://prefix.lab.test/shop/health"
    assert seen["root_path"] == "/shop"
    assert b"/shop/openapi.json" in site.get("/shop/docs").body
    assert site.get("/shop/openapi.json").json()["servers"] == [{"url": "/shop"}]
    assert site.get("/shop").headers["location"] == "https://prefix.lab.test/shop/"
    assert [site.get(path).status for path in ("/", "/request", "/shopping", "/shop/metrics")] == [404] * 4


def test_static_files_survive_a_switch_and_show_nothing_else(
    lab: Lab, host: Host, site: Site, tmp_path: Path
) -> None:
    """A page of the release before finds its files, a new file needs no reload, and code stays code.

    Red when Nginx may read the source, when it must be reloaded, or when only the live release is asked.
    """
    reloaded = "systemctl show --property=ExecMainPID,InvocationID nginx; ls /proc/$(cat /run/nginx.pid)/task"
    workers = host.check_output(f"{reloaded}; pgrep -P $(cat /run/nginx.pid)")
    copy = tmp_path / "mirror"
    shutil.copytree(ROOT / "tests/apps/mirror", copy)
    # A name of its own, so that the test can be repeated.
    new = f"app-{time.time_ns()}.js"
    (copy / "public/assets/app-1.js").rename(copy / "public/assets" / new)
    assert (
        site.get("/shop/assets/app-1.js")
        .headers["content-type"]
        .startswith(("text/javascript", "application/j"))
    )
    assert site.get(f"/shop/assets/{new}").status == 404
    done = lab.deploy("prefix", source={"path": str(copy)})
    assert done.returncode == 0, why(done)
    for name in ("app-1.js", new):
        assert site.get(f"/shop/assets/{name}").body == b'console.log("mirror");\n'
    assert site.get("/shop/assets/app-3.js").status == 404
    for name in ("../../requirements.txt", "%2e%2e/%2e%2e/requirements.txt", "..%2f..%2fmirror/main.py"):
        assert site.get(f"/shop/assets/{name}").status in {400, 404}
    assert host.check_output(f"{reloaded}; pgrep -P $(cat /run/nginx.pid)") == workers
    for path in ("src/requirements.txt", "env", "gunicorn.conf.py"):
        assert host.run(f"runuser -u www-data -- cat /srv/prefix/current/{path}").rc != 0


def test_events_arrive_when_they_are_sent(site: Site) -> None:
    """Server-sent events come one by one, with buffering as it is by default.

    Red when Nginx collects a stream before it passes it on.
    """
    context = ssl.create_default_context(cafile=str(site.authority))
    connection = _Connection(site.domain, site.address, context, 30)
    connection.request("GET", "/shop/events?number=4&pause=1")
    response = connection.getresponse()
    late = []
    while line := response.readline():
        if line.startswith(b"data: "):
            late.append(time.time() - float(line.removeprefix(b"data: ")))
    connection.close()
    print(f"seconds from sending to arriving: {[f'{seconds:.3f}' for seconds in late]}")
    assert len(late) == 4
    assert max(late) < 0.8


def test_limits_are_those_of_the_application(site: Site) -> None:
    """A body of max_body passes, a larger one gets 413, and an answer may take as long as read_timeout.

    It may take longer than server.timeout, which is no limit of a request. Red when either is Nginx's own.
    """

    def upload(size: int) -> tuple[int, bytes]:
        context = ssl.create_default_context(cafile=str(site.authority))
        connection = _Connection(site.domain, site.address, context, 60)
        # A body that is too large is refused by its length, before all of it was sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            connection.request("POST", "/shop/upload", b"x" * size)
        try:
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            return 413, str(error).encode()
        finally:
            connection.close()

    status, body = upload(3 * 1024 * 1024)
    assert (status, b'"size":3145728' in body) == (200, True)
    assert upload(3 * 1024 * 1024 + 1)[0] == 413
    assert site.get("/shop/slow?seconds=4").status == 200
    late = site.request("GET", "/shop/slow?seconds=8", timeout=30)
    assert (late.status, late.body) == (504, b"prefix did not answer in time.\n")


def test_two_applications_may_have_packages_of_one_name(lab: Lab, host: Host, tmp_path: Path) -> None:
    """Each has its own code, user, directory and packages, though both are called `mirror`.

    The first has its path in its own routes, and gets it as it was asked for. Red when code comes from a
    place that releases share.
    """
    copy = tmp_path / "mirror"
    shutil.copytree(ROOT / "tests/apps/mirror", copy)
    (copy / ".env").write_text("APP_NAME=from-a-file\n")
    main = copy / "mirror/main.py"
    main.write_text(main.read_text().replace('title: str = "mirror"', 'title: str = "another"'))
    for name, changes in (("left", {}), ("right", {"source": {"path": str(copy)}})):
        done = lab.deploy(name, **changes)
        assert done.returncode == 0, why(done)
    left = lab.site("left").get("/kept/process").json()
    right = lab.site("right").get("/process").json()
    assert (left["title"], right["title"]) == ("left", "another")
    for name, process in (("left", left), ("right", right)):
        for key in ("file", "prefix", "directory"):
            assert process[key].startswith(f"/srv/{name}/releases/")
        assert host.check_output(f"stat -c %U /proc/{process['pid']}") == name
        assert process["environ"]["APP_NAME"] == name
    seen = lab.site("left").get("/kept/request").json()
    assert (seen["path"], seen["root_path"]) == ("/kept/request", "")
    assert lab.site("left").get("/request").status == 404
    # What somebody has committed by mistake never wins over `env`: it is not there.
    assert host.run("ls /srv/right/current/src/.env").rc != 0
    assert host.run("runuser -u left -- ls /srv/right/current/src /var/lib/right").rc != 0
