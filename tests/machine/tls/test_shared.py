"""Two machines behind one name: one asks and brings what it gets to the other, by a key for nothing else."""

import hashlib
import json
import re
import shlex
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from client import wait_until
from conftest import Lab, say
from machinery import machine, put
from testinfra.host import Host
from timers import soon
from traffic import Plan, traffic
from wire import Said, said

ISSUER, OTHER = "web1", "web2"
KEY = "/etc/fastapi-metal/certificates/key"
SHARED = "/etc/nginx/tls/.shared"
REFUSED = "refused: this is no message of a machine that shares certificates"
RENEWAL = "/etc/letsencrypt/renewal/shop.conf"
TAIL = "tail -n 15 /var/log/letsencrypt/letsencrypt.log"
KNOWN = f"/etc/fastapi-metal/certificates/known_hosts/{OTHER}"
CHALLENGES = "/.well-known/acme-challenge"
# Seconds in which ten thousand requests come to both.
LONG = 80


@pytest.fixture(scope="module")
def issuer() -> Host:
    """Return the machine that asks."""
    return machine(ISSUER)


@pytest.fixture(scope="module")
def other() -> Host:
    """Return the machine that takes."""
    return machine(OTHER)


def shown(lab: Lab, name: str, where: str) -> tuple[str, set[str]]:
    """Return digest and names of the certificate that a machine shows, the chain verified."""
    context = ssl.create_default_context(cafile=str(lab.acme_root))
    with (
        socket.create_connection((lab.address(where), 443), 10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        digest = hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()
        names: Any = (secured.getpeercert() or {}).get("subjectAltName", ())
        return digest, {str(value) for _, value in names}


def asked_plainly(address: str, path: str) -> Said:
    """Ask for a path of the shop over HTTP, as an authority would."""
    with socket.create_connection((address, 80), 10) as wire:
        wire.sendall(f"GET {path} HTTP/1.1\r\nHost: shop.lab.test\r\nConnection: close\r\n\r\n".encode())
        return said(wire)


def tried(host: Host, command: str) -> tuple[int, str]:
    """Return status and words of a command that may fail; 255 would be taken for the test's own ssh."""
    text, _, status = host.check_output(f"({command}) 2>&1; echo status $?").rpartition("status ")
    return int(status), text.strip()


@dataclass
class Door:
    """What the key is let in for, tried as root of the machine that has it."""

    issuer: Host
    address: str

    def command(self, *options: str, words: str = "", level: str = "ERROR") -> str:
        """Return the command line."""
        common = (
            f"-F none -i {KEY} -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel={level} "
            f"-o ConnectTimeout=5 -o HostKeyAlias={OTHER} -o UserKnownHostsFile={KNOWN}"
        )
        return f"timeout 20 ssh {common} {' '.join(options)} certificates@{self.address} {words}"

    def tell(self, message: str, *options: str, words: str = "") -> str:
        """Say something and return all that comes back."""
        put(self.issuer, "/root/said", message)
        return tried(self.issuer, f"{self.command(*options, words=words)} < /root/said")[1]


@pytest.fixture(scope="module")
def door(lab: Lab, issuer: Host) -> Iterator[Door]:
    """Return the door of the other machine."""
    yield Door(issuer, lab.address(OTHER))
    issuer.check_output("rm -f /root/said")


def test_names_that_lead_to_either_machine_have_one_certificate(lab: Lab, issuer: Host) -> None:
    """The first issue: a name of both machines, one of the first and one of the second, asked for once.

    Red when the second machine does not pass the authority's question on, or when each asks for itself.
    """
    found = {
        name: set(issuer.check_output(f"getent ahostsv4 {name} | cut -d' ' -f1 | sort -u").split())
        for name in ("shop.lab.test", "mirror.lab.test", "second.lab.test")
    }
    first, second = lab.address(ISSUER), lab.address(OTHER)
    assert found["shop.lab.test"] == {first, second}
    # Its own names are in /etc/hosts of no machine, so this is what the authority sees too.
    assert found["mirror.lab.test"] == {first}
    assert found["second.lab.test"] == {second}
    assert shown(lab, "shop.lab.test", ISSUER) == shown(lab, "shop.lab.test", OTHER)
    digest, names = shown(lab, "second.lab.test", OTHER)
    assert names == {"mirror.lab.test", "second.lab.test"}
    assert shown(lab, "mirror.lab.test", ISSUER)[0] == digest
    assert machine(OTHER).run("command -v certbot").rc != 0


def test_the_other_machine_passes_on_questions_and_nothing_else(lab: Lab, issuer: Host) -> None:
    """What lies in the webroot of the first is answered by the second, over IPv4 and IPv6; nothing beside it.

    Red when it answers from a webroot of its own, or when more than the challenges can be reached through it.
    """
    home = "/var/www/acme/.well-known/acme-challenge"
    issuer.check_output(f"mkdir -p {home}; echo from-the-issuer | tee {home}/drill > {home}/../../beside")
    try:
        for address in (lab.address(OTHER), lab.info["machines6"][OTHER]):
            answer = asked_plainly(address, f"{CHALLENGES}/drill")
            assert (answer.statuses, b"from-the-issuer" in answer.text) == ([200], True)
            for path in ("/beside", f"{CHALLENGES}/../../beside", f"{CHALLENGES}/%2e%2e/%2e%2e/beside"):
                assert b"from-the-issuer" not in asked_plainly(address, path).text, path
    finally:
        issuer.check_output(f"rm {home}/drill {home}/../../beside")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ""),
        ([], "id"),
        ([], "sh -c 'id; cat /etc/shadow'"),
        (["-tt"], ""),
        (["-tt"], "bash -i"),
        (["-s"], "sftp"),
        ([], "scp -t /tmp"),
        ([], "python3 -m fastapi_metal.certificates.receiving /dev/null"),
        (["-o", "SetEnv=LD_PRELOAD=/tmp/x", "-o", "SetEnv=PYTHONPATH=/tmp"], "id"),
        (["-A"], "ssh-add -l"),
        (["-X"], "xterm"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value else value or "nothing",
)
def test_whatever_is_asked_for_one_program_answers(door: Door, options: list[str], words: str) -> None:
    """Shell, other commands, sftp, scp, variables, an agent: the answer is always the same. No terminal.

    Red when the command is not forced, or a terminal is given.
    """
    answer = door.tell("id", *options, words=shlex.quote(words) if words else "").splitlines()[-1]
    assert answer == ("PTY allocation request failed on channel 0" if "-tt" in options else REFUSED)


def test_files_cannot_be_copied(door: Door, issuer: Host, other: Host) -> None:
    """With scp by either of its ways, both directions.

    Red when a file comes over.
    """
    options = door.command().removeprefix("timeout 20 ssh ").split(" certificates@")[0]
    there, copied = f"certificates@{door.address}", "/dev/shm/copied"  # noqa: S108 - nothing comes there
    for way in ("", "-O"):
        assert tried(issuer, f"timeout 20 scp {way} {options} /etc/hostname {there}:{copied}")[0]
        assert tried(issuer, f"timeout 20 scp {way} {options} {there}:/etc/hostname {copied}")[0]
    assert not other.file(copied).exists
    assert not issuer.file(copied).exists


def test_no_port_is_forwarded(door: Door, issuer: Host, other: Host) -> None:
    """Neither to a port of the other machine's loopback, nor back, nor to a socket.

    Red without `restrict`: whoever takes the first machine would reach what the second hides.
    """
    status, words = tried(issuer, door.command("-W", "127.0.0.1:9145"))
    assert status
    assert "forwarding failed" in words
    for forward in ("-L 127.0.0.1:9777:127.0.0.1:9145", "-L 127.0.0.1:9777:/run/certificate-receive.sock"):
        ask = "curl -sS --max-time 3 http://127.0.0.1:9777/nginx_status"
        begun = f"timeout 5 {door.command('-N', forward, level='INFO')} & sleep 2; {ask}; wait"
        status, words = tried(issuer, f"bash -c {shlex.quote(begun)}")
        assert "Active connections" not in words
        assert "open failed" in words, "it was not asked at all"
    back = "-R 127.0.0.1:9778:127.0.0.1:80 -o ExitOnForwardFailure=yes -N"
    status, words = tried(issuer, door.command(back))
    assert status == 255
    assert "remote port forwarding failed" in words
    assert other.run("ss -Htln sport = 9778").stdout == ""


def test_the_key_opens_from_one_machine_alone(door: Door, other: Host, issuer: Host) -> None:
    """Taken elsewhere it is worth nothing, the firewall apart: tried over the other machine's own loopback.

    Red without `from=`.
    """
    put(other, "/root/taken", issuer.check_output(f"cat {KEY}"))
    try:
        status, words = tried(
            other,
            "timeout 20 ssh -F none -i /root/taken -o BatchMode=yes -o StrictHostKeyChecking=no "
            "-o UserKnownHostsFile=/dev/null certificates@127.0.0.1 id < /dev/null",
        )
    finally:
        other.check_output("rm /root/taken")
    assert status == 255
    assert "Permission denied (publickey" in words


def test_the_firewall_lets_in_that_machine_alone(lab: Lab, door: Door) -> None:
    """Port 22 of the other machine is open to the issuing one, and closed to a third.

    Red when SSH is open to all, or closed to the one that brings certificates.
    """
    knock = f"timeout 4 bash -c 'exec 3<>/dev/tcp/{lab.address(OTHER)}/22 && head -c 4 <&3'"
    assert door.issuer.run(knock).stdout == "SSH-"
    assert machine("out1").run(knock).rc != 0


def test_its_user_owns_nothing(other: Host) -> None:
    """As that user: no key can be read, nothing written, not even who may log in as it; no sudo.

    Red when the program that the key runs could do more than reach a socket.
    """
    attempts = (
        f"cat {SHARED}/*/privkey.pem; echo x >> ~/.ssh/authorized_keys; touch ~/x; touch /etc/nginx/tls/x; "
        "sudo -n id; kill -HUP $(cat /run/nginx.pid)"
    )
    done = other.run(f"runuser -u certificates -- sh -c {shlex.quote(attempts)}")
    assert "PRIVATE KEY" not in done.stdout
    assert "uid=0" not in done.stdout
    refusals = re.findall(r"[Pp]ermission denied|not permitted|password is required", done.stderr)
    assert len(refusals) >= 5, done.stderr
    keys = "/var/lib/fastapi-metal-certificates/.ssh/authorized_keys"
    assert other.check_output(f"stat -c '%U %a' {keys}") == "root 644"
    writable = other.check_output("find / -xdev -user certificates -not -path '/proc/*' 2>/dev/null || true")
    assert writable == ""


def test_what_no_visitor_would_believe_does_not_land(
    lab: Lab, door: Door, other: Host, tmp_path: Path
) -> None:
    """From the right machine: another name, the key of another pair, a locked one, what is none, too much.

    Red when what comes over SSH is believed because it comes over SSH.
    """
    made = Authority(tmp_path)
    right, strange = made.issue("right", "shop.lab.test"), made.issue("strange", "stranger.lab.test")
    before = other.check_output("readlink /etc/nginx/tls/shop"), shown(lab, "shop.lab.test", OTHER)

    def bring(site: str, certificate: str, key: str) -> str:
        message = {"site": site, "digest": "0", "certificate": certificate, "key": key}
        return door.tell(json.dumps(message))

    answers = {
        "no site of this machine": bring("behind", right.certificate, right.key),
        "is called '../own'": bring("../own", right.certificate, right.key),
        "not for shop.lab.test": bring("shop", strange.certificate, strange.key),
        "do not belong together": bring("shop", right.certificate, strange.key),
        "privkey.pem is none": bring("shop", right.certificate, made.with_passphrase(right)),
        "fullchain.pem is none": bring("shop", right.certificate + "load_module x;", right.key),
        "more than 200000 bytes": tried(door.issuer, f"head -c 220000 /dev/zero | {door.command()}")[1],
    }  # fmt: skip
    for words, answer in answers.items():
        assert words in answer, answer
    assert (other.check_output("readlink /etc/nginx/tls/shop"), shown(lab, "shop.lab.test", OTHER)) == before
    assert other.check_output(f"ls {SHARED} | wc -l") == "2"


def test_what_nginx_would_not_read_is_taken_back(lab: Lab, door: Door, other: Host, tmp_path: Path) -> None:
    """A configuration that is broken on the other machine: the newer pair does not land, the older stays.

    Red when Nginx is told to load without `nginx -t`, or when the link stays.
    """
    pair = Authority(tmp_path).issue("right", "shop.lab.test")
    before = other.check_output("readlink /etc/nginx/tls/shop"), shown(lab, "shop.lab.test", OTHER)
    message = json.dumps({"site": "shop", "digest": "0", "certificate": pair.certificate, "key": pair.key})
    put(other, "/etc/nginx/sites-enabled/broken.conf", "nonsense;")
    try:
        answer = door.tell(message)
    finally:
        other.check_output("rm /etc/nginx/sites-enabled/broken.conf")
    assert answer.startswith("refused: Nginx would not serve it: ")
    assert (other.check_output("readlink /etc/nginx/tls/shop"), shown(lab, "shop.lab.test", OTHER)) == before
    assert other.check_output(f"ls {SHARED} | wc -l") == "2"


def test_a_machine_that_was_away_gets_it_later(lab: Lab, issuer: Host) -> None:
    """Not reached while Certbot renews: the first serves the new one, the timer brings it to the second.

    Red when what is brought is brought once, or when one that is away keeps the first from its own.
    """
    before, _ = shown(lab, "mirror.lab.test", OTHER)
    issuer.check_output(
        "systemctl stop certificates-again.timer; nft add table inet drill && "
        "nft add chain inet drill out '{ type filter hook output priority 0; }' && "
        f"nft add rule inet drill out ip daddr {lab.address(OTHER)} tcp dport 22 reject with tcp reset"
    )
    try:
        done = issuer.run("certbot renew --cert-name mirror --force-renewal --no-random-sleep-on-renew")
        assert done.rc == 0
        words = f"{OTHER} ({lab.address(OTHER)}) did not take the certificate of mirror"
        assert words in done.stdout + done.stderr
        wait_until("the first shows it", lambda: shown(lab, "mirror.lab.test", ISSUER)[0] != before, 10)
        assert shown(lab, "mirror.lab.test", OTHER)[0] == before
    finally:
        issuer.check_output("nft delete table inet drill; systemctl start certificates-again.timer")
    now, _ = shown(lab, "mirror.lab.test", ISSUER)
    with soon(issuer):
        seconds = wait_until(
            "the second shows it", lambda: shown(lab, "mirror.lab.test", OTHER)[0] == now, 40
        )
    say(f"a machine that was away had the certificate {seconds:.0f} s after it was back, with a timer of 5 s")


def test_a_renewal_reaches_both_without_a_controller(lab: Lab, issuer: Host, tmp_path: Path) -> None:
    """Certbot's own unit renews, as its timer starts it; both show it, of ten thousand requests none fails.

    Red when the hook does not bring it, or when either Nginx is restarted. No controller takes part: what is
    run is the unit of the machine.
    """
    before, _ = shown(lab, "shop.lab.test", OTHER)
    # A certificate of the lab's lasts for years, and is due from its first day with this. Certbot's own first
    # line is the same setting, commented out: one sed would end with deleting it.
    issuer.check_output(f"sed -i /renew_before_expiry/d {RENEWAL}")
    issuer.check_output(f"sed -i '1i renew_before_expiry = 9999 days' {RENEWAL}")
    plan = Plan(
        "shop.lab.test", str(lab.acme_root), {name: lab.address(name) for name in (ISSUER, OTHER)},
        kept=0, new=6, pace=0.04, slow=2, slow_seconds=6, uploads=1, websockets=1,
    )  # fmt: skip
    try:
        with traffic(plan, tmp_path) as seen:
            begun = time.monotonic()
            time.sleep(2)
            issuer.check_output("systemctl start certbot.service")
            told = issuer.check_output(f"journalctl -q -o cat -u certbot.service --since -60s; {TAIL}")
            # A process of before may answer for a moment.
            wait_until(
                f"the first shows it: {told}", lambda: shown(lab, "shop.lab.test", ISSUER)[0] != before, 30
            )
            now, _ = shown(lab, "shop.lab.test", ISSUER)
            seconds = wait_until("both show it", lambda: shown(lab, "shop.lab.test", OTHER)[0] == now, 30)
            time.sleep(max(0.0, begun + LONG - time.monotonic()))
    finally:
        issuer.check_output(f"sed -i '/renew_before_expiry/d' {RENEWAL}")
    for name in (ISSUER, OTHER):
        say(f"renewal without a controller, {name}: {seen.of(name).summary()}")
    say(f"the second machine showed the new certificate {seconds:.1f} s after the first had it")
    assert len(seen.requests) >= 10_000
    assert not seen.failed(), seen.failed()[:5]


def test_what_takes_certificates_is_shut_in(issuer: Host, other: Host) -> None:
    """3.0 or below by systemd-analyze, as every unit that is installed here.

    Red when the sandbox of what reads a stranger's message is loosened.
    """
    for host, unit in ((issuer, "certificates-again"), (other, "certificate-receive@x")):
        printed = host.check_output(f"systemd-analyze security --no-pager {unit}.service | tail -1")
        found = re.search(r"level for .*: ([0-9.]+)", printed)
        assert found, printed
        say(f"systemd-analyze security {unit}: {found[1]}")
        assert float(found[1]) <= 3.0
