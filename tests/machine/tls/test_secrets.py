"""Strings that occur nowhere else are given as secrets, and are looked for everywhere they must not be."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from conftest import Lab, first, say
from machinery import machine, put
from played import why
from testinfra.host import Host

LOOKER = Path(__file__).with_name("looker.py")
# Where they must be, and there for root alone. Those of a release are encrypted.
KEPT = ("/etc/nginx/tls/.own/", "/etc/letsencrypt/fastapi-metal-settings.json")
# What systemd shows to the processes of a release, and to them alone.
SHOWN = "/run/credentials/"
PLACES = "/etc /srv /var /usr/local /opt /home /root /tmp /run /dev/shm"
QUESTION = "planted-question-"


@dataclass
class Played:
    """What was planted, and what was seen of it while it came to the machine."""

    words: dict[str, str]
    printed: str = ""
    watched: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def web() -> Host:
    """Return the machine with the applications."""
    return machine(first())


def changed(lab: Lab, words: dict[str, str], key: str, certificate: str, root: Path) -> dict[str, Any]:
    """Return the applications, with what was planted."""
    apps: dict[str, Any] = lab.variable("apps")
    tls = {"mode": "own", "certificate": certificate, "key": key, "authority": str(root)}
    return {
        **apps,
        "mirror": {**apps["mirror"], "secrets": {"api_key": words["secret"]}},
        "own": {**apps["own"], "web": {"tls": tls}},
    }


@pytest.fixture(scope="module")
def played(lab: Lab, web: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """Release and configure with them, as loud as Ansible can be.

    Meanwhile every command line and every environment of the machine is read, over and over.
    """
    authority = Authority(tmp_path_factory.mktemp("planted"))
    pair = authority.issue("planted", "own.lab.test")
    words = {name: f"planted-{name}-{secrets.token_hex(12)}" for name in ("secret", "account")}
    words |= {"key": pair.key.splitlines()[1], "question": QUESTION + secrets.token_hex(12)}
    seen = Played(words)
    put(web, "/root/planted-backwards", "\n".join(word[::-1] for word in words.values()))
    put(web, "/root/looker.py", LOOKER.read_text())
    web.check_output(
        "rm -f /root/planted-enough; systemd-run --quiet --unit=looker --property=RuntimeMaxSec=600 "
        "--property=StandardOutput=file:/root/watched.json python3 /root/looker.py watch"
    )
    apps = changed(lab, words, pair.key, pair.certificate, authority.root)
    account = {"certbot_eab_key_id": "planted", "certbot_eab_hmac_key": words["account"]}
    for name, options, more in (
        ("site", ["--tags", "nginx,certbot"], account),
        ("deploy", ["--check"], {"app": "mirror"}),
        ("deploy", [], {"app": "mirror"}),
    ):
        done = lab.playbook(name, *options, "-vvv", "--diff", apps=apps, **more)
        assert done.returncode == 0, why(done)
        seen.printed += done.stdout + done.stderr
    site = lab.site("mirror")
    for path in ("/process", f"/request?token={words['question']}"):
        assert site.get(path, Referer=f"https://other.example.org/?t={words['question']}").status == 200
    web.check_output("touch /root/planted-enough; while systemctl -q is-active looker; do sleep 0.1; done")
    seen.watched = json.loads(web.check_output("cat /root/watched.json"))
    yield seen
    web.check_output("rm -f /root/planted-* /root/watched.json /root/looker.py")


def test_nothing_is_printed(played: Played) -> None:
    """Neither with -vvv nor with --diff.

    Red without `no_log`, or when a module tells what it was given.
    """
    assert len(played.printed) > 50_000
    assert [name for name, word in played.words.items() if word in played.printed] == []


def test_nothing_is_in_a_command_line_or_an_environment(played: Played) -> None:
    """Of no process of the machine, while they come and after.

    Red when a secret is an argument of a command, or when credentials are variables.
    """
    say(f"planted strings: {played.watched['looks']} looks at all processes' arguments and environments")
    assert played.watched["looks"] > 50
    assert played.watched["found"] == {}


def test_the_application_has_its_secret(played: Played, lab: Lab) -> None:
    """Otherwise nothing is proved: it reads what was planted from a file, and has no variable of it."""
    told = lab.site("mirror").get("/process").json()
    assert told["credentials"] == {"api_key": played.words["secret"]}
    assert played.words["secret"] not in json.dumps(told["environ"])


def test_files_that_hold_one_are_of_root_alone(played: Played, web: Host) -> None:
    """Each file of the machine is read: logs, journal, releases, temporary files, figures for Prometheus.

    Red when one holds a secret that is none of those places, or when one of those may be read by others.
    """
    web.check_output("journalctl --sync")
    told = json.loads(web.check_output(f"python3 /root/looker.py search {PLACES}"))
    found: dict[str, str] = told["found"]
    say(f"planted strings: {told['read']} files read, {len(found)} hold one, each of root's alone")
    assert told["read"] > 1000
    assert all(any(path.startswith(kept) for path in found) for kept in KEPT), found
    shown = {path for path in found if path.startswith(SHOWN)}
    assert {path for path in found if not path.startswith(KEPT)} == shown
    modes = {path: mode for path, mode in found.items() if path not in shown}
    assert set(modes.values()) <= {"400 0", "600 0"}, modes


def test_nothing_is_said_in_the_journal(played: Played, web: Host) -> None:
    """It is kept compressed, so reading its files proves little: it is asked.

    Red when a process prints a secret, or when sudo notes a command that holds one.
    """
    lines = web.check_output(
        "journalctl --no-pager --output=export --since=-30min | python3 -c '"
        'import sys; sys.path.insert(0, "/root"); import looker; text = sys.stdin.buffer.read(); '
        "print(len(text), [word in text for word in looker.planted()].count(True))'"
    ).split()
    assert int(lines[0]) > 10_000
    assert lines[1] == "0"


def test_nothing_is_shown_to_prometheus(played: Played, web: Host) -> None:
    """No label of any figure holds one.

    Red when an exporter shows the arguments of a process, or an address with a password.
    """
    figures = web.check_output("curl -sS --max-time 20 http://127.0.0.1:9100/metrics")
    assert "node_" in figures
    assert [name for name, word in played.words.items() if word in figures] == []
