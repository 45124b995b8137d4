"""Whoever means harm is refused or let go, and a visitor's requests are all answered meanwhile."""

import contextlib
import resource
import selectors
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from client import Site
from conftest import Lab, first, say
from machinery import machine
from traffic import Plan, Traffic, traffic
from wire import Said, secured, told

IDLE = 10_000
SLOW = 300
# `nginx_client_timeout`, and what a busy lab may take longer.
PATIENCE = 15 + 10


@pytest.fixture
def where() -> str:
    """Return the machine that is looked at."""
    return first()


@pytest.fixture
def shop(lab: Lab) -> Site:
    """Return the site that visitors come to."""
    return lab.site("shop")


@pytest.fixture
def mirror(lab: Lab) -> Site:
    """Return a site that tells what reached the application, and counts it."""
    return lab.site("mirror")


@contextlib.contextmanager
def a_normal_client(site: Site, directory: Path) -> Iterator[Traffic]:
    """Let a few visitors come, each request of whom must be answered."""
    plan = Plan(
        site.domain, str(site.authority), {first(): site.address},
        kept=2, new=1, pace=0.2, slow=0, uploads=0, websockets=0,
    )  # fmt: skip
    with traffic(plan, directory) as seen:
        yield seen
    assert len(seen.requests) > 50
    assert not seen.failed(), seen.failed()[:5]


def test_who_dribbles_is_let_go(shop: Site, tmp_path: Path) -> None:
    """Heads and bodies that come a letter at a time end after `nginx_client_timeout`, and nobody notices.

    Red when a slow client may hold its connection as long as it likes.
    """
    context = ssl.create_default_context(cafile=str(shop.authority))
    begun = time.monotonic()
    open_since: dict[ssl.SSLSocket, float] = {}
    lasted: list[float] = []
    with contextlib.ExitStack() as stack, a_normal_client(shop, tmp_path):
        for number in range(SLOW):
            plain = stack.enter_context(socket.create_connection((shop.address, 443), 10))
            wire = stack.enter_context(context.wrap_socket(plain, server_hostname=shop.domain))
            head = f"GET /version HTTP/1.1\r\nHost: {shop.domain}\r\nX-Slow: "
            body = f"POST /echo HTTP/1.1\r\nHost: {shop.domain}\r\nContent-Length: 1000\r\n\r\nx"
            wire.sendall((head if number % 2 else body).encode())
            wire.setblocking(False)
            open_since[wire] = time.monotonic()
        while open_since and time.monotonic() - begun < 3 * PATIENCE:
            time.sleep(1)
            for number, (wire, since) in enumerate(list(open_since.items())):
                try:
                    # The bodies stop after their first letter; the heads go on.
                    if number % 2:
                        wire.send(b"x")
                    ended = wire.recv(1000) == b""
                except (ssl.SSLWantReadError, BlockingIOError):
                    ended = False
                except OSError:
                    ended = True
                if ended:
                    lasted.append(time.monotonic() - since)
                    del open_since[wire]
    say(f"slow clients: {len(lasted)} of {SLOW} let go, the last after {max(lasted, default=0):.0f} s")
    assert not open_since
    assert max(lasted) < PATIENCE


def test_idle_connections_keep_nobody_out(shop: Site, where: str, tmp_path: Path) -> None:
    """Ten thousand connections that say nothing: a visitor is answered all the while.

    Red when idle connections use up what Nginx may open, and it closes none of them for those that come.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, IDLE + 2000), hard))
    host = machine(where)
    before = host.check_output("pgrep -c nginx")
    opened: list[socket.socket] = []
    try:
        with a_normal_client(shop, tmp_path):
            for number in range(IDLE):
                opened.append(socket.create_connection((shop.address, 443), 30))
                if number % 500 == 0:
                    time.sleep(0.2)
            time.sleep(20)
        alive = still_open(opened)
    finally:
        for each in opened:
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    say(f"idle connections: {len(opened)} opened, {alive} still open after 20 s")
    assert len(opened) == IDLE
    assert host.check_output("pgrep -c nginx") == before


def still_open(connections: list[socket.socket]) -> int:
    """Return how many of them the server has not closed."""
    with selectors.DefaultSelector() as selector:
        for each in connections:
            selector.register(each, selectors.EVENT_READ)
        return len(connections) - len(selector.select(0))


@pytest.mark.parametrize(
    ("parts", "statuses"),
    [
        pytest.param([b"GET /", b"a" * 40_000, b" HTTP/1.1\r\nHost: %s\r\n\r\n"], [414], id="line"),
        pytest.param([b"GET / HTTP/1.1\r\nHost: %s\r\nX-A: ", b"a" * 40_000, b"\r\n\r\n"], [400], id="head"),
        pytest.param(
            [b"GET / HTTP/1.1\r\nHost: %s\r\n", *([b"X-A: " + b"a" * 8000 + b"\r\n"] * 20), b"\r\n"],
            [400],
            id="headers",
        ),
        pytest.param(
            [b"POST /kept?name=large HTTP/1.1\r\nHost: %s\r\nContent-Length: 9999999999\r\n\r\n"],
            [413],
            id="length",
        ),
        pytest.param(
            [
                b"POST /kept?name=large HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n",
                *([b"20000\r\n" + b"a" * 0x20000 + b"\r\n"] * 16),
            ],
            [413],
            id="chunks",
        ),
    ],
)
def test_what_is_too_large_is_refused(mirror: Site, parts: list[bytes], statuses: list[int]) -> None:
    """A line, a header, many headers, a body that is announced, and one that just goes on.

    Red when a limit is missing: whoever sends it fills memory or disk.
    """
    domain, before = mirror.domain.encode(), reached(mirror, "large")
    answer = told(mirror, *(part.replace(b"%s", domain) for part in parts))
    assert answer.statuses == statuses, answer.text[:300]
    assert reached(mirror, "large") == before + 1, "more than the question for the count"


def reached(site: Site, name: str) -> int:
    """Return how often the application was asked by that name, before this question."""
    return int(site.get(f"/kept?name={name}").json()["asked"]) - 1


METRICS = [
    *("/metrics", "/metrics/", "//metrics", "/./metrics", "/x/../metrics", "/%6detrics", "/metrics?a=b"),
    *("/%2e/metrics", "/metrics%2f", "/x/%2e%2e/metrics", "/metrics/../metrics", "/;/../metrics"),
]
OUTWARDS = [
    *("/../etc/passwd", "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd"),
    *(
        "/.%00/etc/passwd",
        "/%c0%ae%c0%ae/etc/passwd",
        "/assets/../../../etc/passwd",
        "/assets..%2fetc/passwd",
    ),
    *("/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/assets../release.json", "/assets/../release.json"),
    *("/.env", "/.git/config", "/assets/..\\..\\etc\\passwd"),
]


def raw(site: Site, path: str) -> Said:
    """Ask for a path as it is written."""
    return told(
        site, f"GET {path} HTTP/1.1\r\nHost: {site.domain}\r\nConnection: close\r\n\r\n".encode("latin-1")
    )


def test_no_spelling_of_a_path_leads_to_the_metrics(mirror: Site) -> None:
    """Dots, double slashes and percent signs are the same path to Nginx and to the application.

    Red when Nginx hides one spelling and the application answers another. It counts what it is asked for.
    """
    for path in METRICS:
        answer = raw(mirror, path)
        assert answer.statuses in ([404], [400]), (path, answer.text[:300])
        assert b"metrics_seen" not in answer.text, path


def test_no_path_leads_out_of_the_files(mirror: Site) -> None:
    """Neither the machine's files nor those of the release beside the public ones are shown.

    Red when a static directory can be left upwards.
    """
    assert raw(mirror, "/assets/app-1.js").statuses == [200]
    for path in OUTWARDS:
        answer = raw(mirror, path)
        assert answer.statuses in ([404], [400], [403]), (path, answer.text[:300])
        assert b"root:" not in answer.text
        assert b"digest" not in answer.text


SMUGGLED = b"GET /kept?name=smuggled HTTP/1.1\r\nHost: %s\r\nX-A: b\r\n\r\n"
CHUNKED_END = b"0\r\n\r\n"
PROBES = {
    "both lengths": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 0\r\n",
    "two lengths in one": b"Content-Length: 5, 0\r\n",
    "a length with a sign": b"Content-Length: +5\r\n",
    "a length that is none": b"Content-Length: 0x5\r\n",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n",
    "two codings": b"Transfer-Encoding: chunked, identity\r\n",
    "the coding twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "the coding with a blank": b"Transfer-Encoding : chunked\r\n",
    "the coding folded": b"Transfer-Encoding:\r\n chunked\r\n",
    "the coding with a tab": b"Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n",
    "the coding in another letter": b"Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n",
    "a line of its own": b"X-A: b\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "a bare return": b"X-A: b\rContent-Length: 0\r\nContent-Length: 5\r\n",
}


@pytest.mark.parametrize("name", sorted(PROBES))
def test_no_request_hides_in_another(mirror: Site, name: str) -> None:
    """What Nginx and the application could count differently ends the connection; nothing hides behind it.

    Red when Nginx passes on what it reads in another way than the server behind it.
    """
    domain = mirror.domain.encode()
    head = b"POST /kept?name=probe HTTP/1.1\r\nHost: " + domain + b"\r\n" + PROBES[name] + b"\r\n"
    before = reached(mirror, "smuggled")
    answer = told(mirror, head + CHUNKED_END + SMUGGLED.replace(b"%s", domain))
    assert answer.statuses[:1] in ([400], [501], []), answer.text[:300]
    assert len(answer.statuses) <= 1
    assert answer.closed
    assert reached(mirror, "smuggled") == before + 1


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        (b"GET /request HTTP/1.1\r\nHost: other.example.org\r\n\r\n", []),
        (b"GET /request HTTP/1.1\r\nHost: 198.18.0.1\r\n\r\n", []),
        (b"GET /request HTTP/1.1\r\n\r\n", [400]),
        (b"GET /request HTTP/1.1\r\nHost: %s\r\nHost: other.example.org\r\n\r\n", [400]),
        (b"GET /request HTTP/1.1\r\nHost: %s/../x\r\n\r\n", [400]),
        (b"GET /request HTTP/1.1\r\nHost: a b\r\n\r\n", [400]),
        (b"GET http://other.example.org/request HTTP/1.1\r\nHost: %s\r\n\r\n", []),
        (b"CONNECT other.example.org:443 HTTP/1.1\r\nHost: %s\r\n\r\n", [400, 405]),
        (b"GET /request\r\n\r\n", None),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
        (b"\x16\x03\x01\x00\x05hello", [400]),
    ],
)
def test_another_host_is_nobody_here(mirror: Site, head: bytes, statuses: list[int] | None) -> None:
    """Unknown names get no answer, senseless ones a refusal; neither reaches an application.

    Red when the first site answers for every name: links in mails would then lead where a stranger wishes.
    """
    answer = told(mirror, head.replace(b"%s", mirror.domain.encode()))
    assert b"root_path" not in answer.text
    if statuses is not None:
        assert answer.statuses in ([[]] if not statuses else [[status] for status in statuses]), answer.text[
            :300
        ]
    assert answer.closed


def test_a_client_that_sends_too_much_is_told(mirror: Site) -> None:
    """Beyond `web.rate_limit` a client gets 429, and what it sent before is answered.

    Red when the limit counts all clients together, or none.
    """
    with secured(mirror) as wire:
        request = f"GET /health HTTP/1.1\r\nHost: {mirror.domain}\r\n\r\n".encode()
        wire.sendall(request * 200)
        wire.settimeout(3)
        text = b""
        with contextlib.suppress(OSError):
            while text.count(b"HTTP/1.1 ") < 200 and (more := wire.recv(65536)):
                text += more
    assert text.count(b" 200 OK") >= 20
    assert text.count(b" 429 ") >= 20
