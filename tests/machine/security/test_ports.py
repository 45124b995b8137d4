"""What another machine reaches: what is offered, and nothing else."""

import json
import re
from collections.abc import Iterator

import pytest
from conftest import Lab, say
from guards import GUARDED, OUTSIDE, address6, machine
from testinfra.host import Host

# A port that no role and no inventory names, and one of UDP.
UNNAMED = 8099
LISTENER = f"python3 -m http.server --bind :: --directory /usr/share/doc {UNNAMED}"
ECHO = """\
import socket
door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
door.bind(('0.0.0.0', 5353))
while True:
    door.sendto(b'x', door.recvfrom(999)[1])
"""


@pytest.fixture
def listener(lab: Lab) -> Iterator[Host]:
    """Return the guarded machine while somebody's service listens on all its addresses."""
    host = machine(lab)
    host.check_output(f"systemd-run --quiet --collect --unit=unnamed {LISTENER}")
    host.check_output("systemd-run --quiet --collect --unit=unnamed-udp python3 -c %s", ECHO)
    host.check_output(
        f"curl -sS --retry 20 --retry-connrefused --retry-delay 1 -o /dev/null http://127.0.0.1:{UNNAMED}/"
    )
    yield host
    host.run("systemctl stop unnamed.service unnamed-udp.service")


def scan(lab: Lab, *options: str) -> dict[int, str]:
    """Return the state of each port that is not simply filtered or closed."""
    command = "nmap -n -Pn --max-retries 2 --min-rate 4000 -oG - " + " ".join(options)
    printed = machine(lab, OUTSIDE).check_output(command)
    assert "Host:" in printed, printed
    return {int(port): state for port, state in re.findall(r"[ ,](\d+)/(open|unfiltered)/", printed)}


@pytest.mark.parametrize("version", ["IPv4", "IPv6"])
def test_three_ports_are_open(lab: Lab, listener: Host, version: str) -> None:
    """All 65,535 ports, though a service that nobody has named listens on one more.

    Red when the firewall does not run, or lets in what nobody has named.
    """
    where = [lab.address(GUARDED)] if version == "IPv4" else ["-6", address6(lab)]
    found = scan(lab, "-sS", "-p-", *where)
    say(f"nmap -p- over {version}: open are {', '.join(map(str, sorted(found))) or 'none'}")
    assert sorted(found) == [22, 80, 443]


def test_nothing_answers_over_udp(lab: Lab, listener: Host) -> None:
    """Names, time, DHCP, SNMP and HTTP/3 are not offered, though somebody's service listens for one of them.

    Red when the firewall does not run, or lets in what nobody has named.
    """
    ports = "53,67,68,69,111,123,137,161,443,500,514,546,547,1900,4500,5353,5355"
    assert scan(lab, "-sU", "-p", ports, lab.address(GUARDED)) == {}


def test_private_ports_are_open_for_those_who_need_them(lab: Lab) -> None:
    """Prometheus on one machine asks the other for its figures; the host of both is refused there.

    Red when the rule for the group `monitoring` is missing, or is one for everybody.
    """
    host = machine(lab)
    url = f"http://127.0.0.1:9090/api/v1/query?query=up%7Bhost%3D%22{OUTSIDE}%22%7D"
    rows = json.loads(host.check_output(f"curl -fsS '{url}'"))["data"]["result"]
    assert {row["value"][1] for row in rows} == {"1"}, rows
    rules = machine(lab, OUTSIDE).check_output("nft list chain inet fastapi_metal input")
    lines = [line.strip() for line in rules.splitlines() if "9101" in line]
    assert len(lines) == 2, lines
    assert all(re.match(r"ip6? saddr ", line) for line in lines), lines
    stranger = lab.run("curl", "-ksS", "--max-time", "3", f"https://{lab.address(OUTSIDE)}:9101/node")
    assert stranger.returncode == 28, stranger.stdout + stranger.stderr


def test_other_tables_are_left_alone(lab: Lab) -> None:
    """A table of somebody else is there after our rules have changed.

    Red when the set of rules begins with `flush ruleset`.
    """
    host = machine(lab)
    host.check_output("nft add table inet somebody_else")
    try:
        host.check_output("systemctl reload host-firewall.service")
        assert "table inet somebody_else" in host.check_output("nft list tables")
        assert "table inet fastapi_metal" in host.check_output("nft list tables")
    finally:
        host.check_output("nft delete table inet somebody_else")


def test_the_metadata_service_is_roots(lab: Lab) -> None:
    """An application's user is refused at once, before anything is asked.

    Red without the rule: the user's packet would leave the machine too.
    """
    host = machine(lab)
    knock = "timeout 2 bash -c '</dev/tcp/169.254.169.254/80'"
    refused = host.run(f"runuser -u catalog -- {knock}")
    assert refused.rc == 1, refused.stderr
    assert "Connection refused" in refused.stderr
    counters = host.check_output("nft list chain inet fastapi_metal output")
    assert re.search(r"169\.254\.169\.254.*packets [1-9]", counters), counters
