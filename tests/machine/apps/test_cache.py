"""Valkey keeps applications apart; the micro-cache shows what may be shown, of the live release alone."""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from urllib.parse import quote, urlencode

import pytest
from client import Answer, Site, wait_until
from conftest import Lab, first
from played import why
from testinfra.host import Host

PUBLIC = "public, max-age=60"
UNIT = "valkey-server.service"
SOCKET = "/run/valkey/valkey.sock"
# The application counts for as long as it runs, and tests may come to it again.
TURN = time.time_ns()
# A file's time is the kernel's last tick, 10 ms ago at most: of 300 renames all bore a time before the call,
# by up to 5.5 ms.
TICK = 0.01


@pytest.fixture(scope="module", autouse=True)
def _deployed(lab: Lab) -> None:
    for app in ("left", "right"):
        done = lab.deploy(app)
        assert done.returncode == 0, why(done)


@pytest.fixture
def site(lab: Lab) -> Site:
    """Return the site that has a micro-cache."""
    return lab.site("right")


def valkey(lab: Lab, app: str, *words: str) -> str:
    """Return what an application is answered by its cache."""
    prefix = "/kept" if app == "left" else ""
    query = "&".join(f"word={quote(word)}" for word in words)
    answer: str = lab.site(app).get(f"{prefix}/valkey?{query}").json()["answer"]
    return answer


def kept(name: str, control: str = PUBLIC, seconds: float = 0, **headers: str) -> str:
    """Return the path of an answer that says this of itself."""
    asked_for = {"name": f"{name}-{TURN}", "cache-control": control, "seconds": seconds, **headers}
    return f"/kept?{urlencode(asked_for)}"


def status(answer: Answer) -> str:
    """Return what the micro-cache says of an answer; nothing where it was not asked."""
    assert answer.status == 200
    return answer.headers.get("x-cache-status", "")


def asked(answer: Answer) -> int:
    """Return how often the application had been asked when it gave this answer."""
    return int(answer.json()["asked"])


def test_an_application_has_a_cache_of_its_own(lab: Lab, host: Host) -> None:
    """It reads what it wrote; another one reads, lists and spoils none of it, and a third does not get near.

    Red when a user has more than its own keys, or when the way to the socket is open to all.
    """
    assert valkey(lab, "right", "SET", "right:secret", "of right") == "+OK"
    assert valkey(lab, "right", "GET", "right:secret") == "of right"
    for words in (
        ("GET", "right:secret"),
        ("DEL", "right:secret"),
        ("SCAN", "0"),
        ("KEYS", "*"),
        ("FLUSHALL",),
    ):
        assert valkey(lab, "left", *words).startswith("-NOPERM"), words
    assert "Permission denied" in host.run(f"runuser -u nobody -- valkey-cli -s {SOCKET} ping 2>&1").stdout
    assert "NOAUTH" in host.run(f"valkey-cli -s {SOCKET} get right:secret").stdout
    assert host.run("ss -Hltn 'sport = :6379'").stdout == ""


def test_the_address_is_a_secret(lab: Lab, host: Host) -> None:
    """The password is in the credential and nowhere else that others see: no argument, log or open file.

    Red when the address is a variable, or when the file of the users is open.
    """
    password = lab.variable("apps")["right"]["secrets"]["cache_password"]
    process = lab.site("right").get("/process").json()
    assert process["credentials"] == {"cache_url": f"unix://right:{password}@{SOCKET}"}
    assert password not in str(process["environ"]) + host.check_output(
        "ps axww -o args; systemctl show 'right@*'"
    )
    # sudo logs the command itself.
    assert password not in host.check_output(
        "journalctl -b -o cat -u 'right@*' -u 'valkey*' -u nginx -n 5000"
    )
    places = "/etc/valkey /etc/systemd/system /srv/right /etc/right"
    assert host.run(f"find {places} -type f -perm /o+r -exec grep -lF {password} {{}} +").stdout == ""
    assert host.run("find /etc/valkey -type f -perm /o+r -name 'fastapi*'").stdout == ""


def passwords(host: Host, app: str) -> int:
    """Return how many passwords let an application in."""
    line = host.check_output(f"grep '^user {app} ' /etc/valkey/fastapi-metal.acl")
    return sum(word.startswith("#") for word in line.split())


@pytest.mark.full
def test_a_new_password_is_a_release_through_the_gate(lab: Lab, host: Host) -> None:
    """Until the release that has it serves, the one before keeps its cache; then the old password is gone.

    The server is not restarted for it. Red when the server forgets at once, or never.
    """
    apps = lab.variable("apps")
    changed = {"cache_password": f"another-{time.time_ns()}-of-the-lab"}
    apps = {**apps, "left": {**apps["left"], "secrets": changed}}
    begun = host.check_output("systemctl show --value -p MainPID %s", UNIT)
    done = lab.playbook("site", "--tags=valkey", "--diff", apps=apps)
    assert done.returncode == 0, why(done)
    assert passwords(host, "left") == 2
    assert valkey(lab, "left", "SET", "left:a", "1") == "+OK", "the release before has lost its cache"
    done = lab.playbook("site", "--diff", apps=apps, app="left")
    assert done.returncode == 0, why(done)
    assert (passwords(host, "left"), valkey(lab, "left", "SET", "left:a", "1")) == (1, "+OK")
    assert host.check_output("systemctl show --value -p MainPID %s", UNIT) == begun
    assert changed["cache_password"] not in done.stdout
    # As the other tests find it.
    assert lab.playbook("site", "--tags=valkey").returncode == 0
    assert lab.deploy("left").returncode == 0


@pytest.mark.full
def test_another_server_comes_over_tls(lab: Lab, host: Host) -> None:
    """Where addresses are named there is a port with a certificate for them, and none without TLS.

    Red when the port is a plain one, or the certificate is for another name.
    """
    address, password = lab.address(first()), lab.variable("apps")["right"]["secrets"]["cache_password"]
    own = {"valkey_listen_addresses": [address], "valkey_client_networks": [lab.info["gateway"]]}
    done = lab.playbook("site", "--tags=valkey", **own)
    assert done.returncode == 0, why(done)
    trusted = ssl.create_default_context(cadata=host.check_output("cat /etc/valkey/tls/self-signed-*.crt"))
    with (
        socket.create_connection((address, 6379), 10) as plain,
        trusted.wrap_socket(plain, server_hostname=address) as connection,
    ):
        connection.sendall(f"AUTH right {password}\r\nSET right:a 1\r\nGET left:a\r\n".encode())
        time.sleep(0.5)
        assert connection.recv(4096).startswith(b"+OK\r\n+OK\r\n-NOPERM")
    with socket.create_connection((address, 6379), 10) as plain:
        plain.sendall(b"PING\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"PONG" not in plain.recv(4096)
    done = lab.playbook("site", "--tags=valkey")
    assert done.returncode == 0, why(done)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, 6379), 10)


def test_a_full_cache_lets_go_of_the_old(lab: Lab, host: Host) -> None:
    """Who writes more than there is room for is not refused: what was asked for the longest ago goes.

    Red with the policy `noeviction`, which is the server's own.
    """
    filled = (
        "for i = 1, 4 do redis.call('set', KEYS[1] .. ARGV[1] .. i, string.rep('x', 1048576)) end return 1"
    )
    for turn in range(8):
        assert valkey(lab, "left", "EVAL", filled, "1", "left:big:", f"{turn}-") == ":1"
    assert valkey(lab, "left", "SET", "left:last", "here") == "+OK"
    info = host.check_output("cache-cli info stats; cache-cli info memory").replace("\r", "")
    found = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    assert int(found["evicted_keys"]) > 0
    assert int(found["maxmemory"]) == 16 * 1024 * 1024
    assert int(found["used_memory"]) < 24 * 1024 * 1024


def test_a_killed_cache_comes_back_empty(lab: Lab, host: Host) -> None:
    """It is there again at once, and shows nothing of before: what it kept may have changed meanwhile.

    Red without `Restart=`, or with a copy on disk.
    """
    assert valkey(lab, "left", "SET", "left:before", "old") == "+OK"
    host.check_output("systemctl kill --kill-whom=main --signal=KILL %s", UNIT)
    wait_until("the cache again", lambda: host.run("cache-cli ping").stdout == "PONG\n", 20)
    assert valkey(lab, "left", "GET", "left:before") == ""
    assert host.check_output("find /var/lib/valkey -type f -name 'fastapi*'") == ""


def test_what_is_public_is_kept(site: Site, host: Host) -> None:
    """The second visitor gets the answer of the first; header and log say so. HEAD is answered from it too.

    Red with `proxy_cache off`.
    """
    path = kept("public")
    answers = [site.get(path), site.get(path)]
    assert [status(answer) for answer in answers] == ["MISS", "HIT"]
    head = site.request("HEAD", path)  # the application itself has no HEAD
    assert (status(head), head.body, asked(answers[1])) == ("HIT", b"", 1)
    assert answers[1].headers["x-request-id"] != answers[0].headers["x-request-id"]
    assert status(site.get(f"{path}&other=1")) == "MISS"
    assert [status(site.get(path, Host=f"right.lab.test:{port}")) for port in (1, 1)] == ["MISS", "HIT"]
    assert '"cache":"HIT"' in host.check_output("tail -n 20 /var/log/nginx/access.log")


def test_what_is_private_is_never_kept(site: Site) -> None:
    """Who shows who they are is answered by the application itself, and what is private goes to one alone.

    Red when cookies are left out of what leads past the cache.
    """
    site.get(kept("mine"))
    for headers in (
        {"Authorization": "Bearer x"},
        {"Cookie": "a=b"},
        {"X_API_Key": "x"},
        {"Range": "bytes=0-1"},
    ):
        answers = [site.get(kept("mine"), **headers) for _ in range(2)]
        assert [status(answer) for answer in answers] == ["", ""], headers
        assert asked(answers[1]) == asked(answers[0]) + 1
    assert [asked(site.request("POST", kept("mine"), {})) for _ in range(2)] == [10, 11]
    for name, control in (
        ("a", "private, max-age=60"),
        ("b", "no-store"),
        ("c", "public, no-cache"),
        ("d", ""),
    ):
        assert [asked(site.get(kept(name, control))) for _ in range(2)] == [1, 2], control
    assert [asked(site.get(kept("e", PUBLIC, 0, **{"set-cookie": "a=b"}))) for _ in range(2)] == [1, 2]
    languages = [
        site.get(kept("f", vary="Accept-Language"), Accept_Language=each) for each in ("de", "fr", "de")
    ]
    assert [asked(answer) for answer in languages] == [1, 2, 1]


def test_many_who_ask_at_once_are_one_request(site: Site) -> None:
    """Of twenty who ask for what is not there yet, one reaches the application.

    Red without `proxy_cache_lock`.
    """
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(site.get, [kept("many", seconds=1)] * 20))
    assert {asked(answer) for answer in answers} == {1}
    assert asked(site.get(f"{kept('many', 'no-store')}")) == 2


def test_what_is_too_old_is_shown_while_it_is_renewed(site: Site, host: Host) -> None:
    """Nobody waits for a renewal, and nobody is turned away while the application is gone.

    Red without `proxy_cache_use_stale`.
    """
    path = kept("old", "public, max-age=1", seconds=1)
    assert status(site.get(path)) == "MISS"
    time.sleep(2.2)  # Nginx counts whole seconds
    begun = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(site.get, [path] * 8))
    assert time.monotonic() - begun < 0.9
    assert {status(answer) for answer in answers} <= {"STALE", "UPDATING"}
    wait_until("the renewed answer", lambda: asked(site.get(path)) == 2, 5)
    release = host.check_output("basename $(readlink /srv/right/current)")
    units = f"right@{release}.service right@{release}.socket"
    host.check_output(f"systemctl stop {units}")
    try:
        time.sleep(2.2)
        assert (status(site.get(path)), asked(site.get(path))) == ("STALE", 2)
        assert site.get("/health").status == 502
    finally:
        host.check_output(f"systemctl start {units}")
    wait_until("the application again", lambda: site.get("/health").status == 200, 20)


def visit(site: Site, ended: Event) -> Iterator[tuple[float, str, str]]:
    """Ask again and again; yield when that was, whose answer came, and whether it had been kept."""
    while not ended.is_set():
        begun = time.time()
        answer = site.get(kept("switch"))
        yield begun, answer.json()["release"], status(answer)


def test_a_release_shows_nothing_of_the_one_before(lab: Lab, site: Site, host: Host) -> None:
    """From the instant of the switch nobody gets what the old release answered, though it is kept.

    Red when the key of the micro-cache does not hold the release.
    """
    ended = Event()
    with ThreadPoolExecutor(3) as pool:
        visits = [pool.submit(lambda: list(visit(site, ended))) for _ in range(2)]
        before = host.check_output("basename $(readlink /srv/right/current)")
        done = lab.deploy("right", env={"TURN": str(time.time())})
        # Machines of a lab share the clock of their host, and a rename sets the link's time of change.
        renamed = float(host.check_output("stat -c %.Z /srv/right/current"))
        after = host.check_output("basename $(readlink /srv/right/current)")
        ended.set()
        seen = [each for visitor in visits for each in visitor.result()]
    assert done.returncode == 0, why(done)
    assert before != after
    begun = [when - renamed for when, _, _ in seen]
    near = sum(-1 <= each < 0 for each in begun), sum(0 <= each <= 1 for each in begun)
    hits = sum(state == "HIT" for _, _, state in seen)
    print(
        f"{near[0]} and {near[1]} requests a second before and after the rename, {hits} of {len(seen)} kept"
    )
    assert {release for when, release, _ in seen if when >= renamed + TICK} == {after}
    assert {release for when, release, _ in seen if when < renamed - 1} == {before}
    assert min(near) >= 10
    assert "HIT" in {state for when, release, state in seen if release == before}
    assert "HIT" in {state for when, release, state in seen if release == after}
