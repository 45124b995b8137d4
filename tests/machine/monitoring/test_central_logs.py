"""A copy of every machine's journal on one machine, over TLS, from nobody else."""

import uuid
from collections.abc import Iterator

import pytest
import testinfra
from client import wait_until
from conftest import Lab
from testinfra.host import Host

CENTRAL = "web1"
COPIES = "journalctl --quiet --directory=/var/log/journal/remote --output=cat"


def machine(lab: Lab, name: str) -> Host:
    """Return one machine; commands run as root."""
    return testinfra.get_host(f"ssh://{name}", ssh_config=lab.info["ssh_config"], sudo=True)


@pytest.fixture(scope="module")
def sender(lab: Lab) -> Iterator[Host]:
    """Return a machine that sends its journal to the central one, for as long as the tests need it."""
    done = lab.playbook("site", "--tags", "journal", journal_central=CENTRAL)
    assert done.returncode == 0, done.stdout + done.stderr
    yield machine(lab, "mon1")
    done = lab.playbook("site", "--tags", "journal", journal_central="")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def central(lab: Lab) -> Host:
    """Return the machine that takes the copies."""
    return machine(lab, CENTRAL)


def arrived(central: Host, word: str) -> bool:
    """Tell whether the copies hold a word."""
    return word in central.run(f"{COPIES} --identifier=copied").stdout


def test_what_one_machine_says_is_on_the_central_one(sender: Host, central: Host) -> None:
    """Also what was said while the central one took nothing.

    Red when the machines do not know each other's certificates, or lines are lost meanwhile.
    """
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    sender.check_output("logger --tag copied %s", first)
    wait_until("the first line", lambda: arrived(central, first), 30)
    central.check_output("systemctl stop journal-gateway.service")
    sender.check_output("logger --tag copied %s", second)
    central.check_output("systemctl start journal-gateway.service")
    wait_until("the line of meanwhile", lambda: arrived(central, second), 60)


def test_a_stranger_sends_nothing(sender: Host, central: Host, lab: Lab) -> None:
    """Neither without a certificate nor with one that says another machine's name.

    Red when the gateway takes a certificate on its word.
    """
    word = uuid.uuid4().hex
    line = f"__REALTIME_TIMESTAMP=1795330000000000\\nMESSAGE={word}\\nSYSLOG_IDENTIFIER=copied\\n\\n"
    sender.check_output(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=web2 "
        "-keyout /root/stranger.key -out /root/stranger.pem 2>&1"
    )
    url = f"https://{lab.address(CENTRAL)}:19532/upload"
    for identity in ("", "--cert /root/stranger.pem --key /root/stranger.key"):
        status = sender.check_output(
            f"printf '{line}' | curl -sk -o /dev/null -w %{{http_code}} {identity} --data-binary @- "
            f"-H 'Content-Type: application/vnd.fdo.journal' {url}"
        )
        assert status == "400"
    assert not arrived(central, word)


def test_the_inner_port_is_closed_to_the_network(sender: Host, lab: Lab) -> None:
    """Behind the gateway nobody asks for a certificate. Red when journal-remote listens outside."""
    assert sender.run(f"curl -s --max-time 3 http://{lab.address(CENTRAL)}:19533/").rc in (7, 28)


def test_sending_again_changes_nothing(sender: Host, lab: Lab) -> None:
    """The playbook finds what it made. Red when a key is made anew, or a service restarted, at each run."""
    assert sender.run("systemctl is-active systemd-journal-upload").stdout.strip() == "active"
    done = lab.playbook("site", "--tags", "journal", journal_central=CENTRAL)
    assert done.returncode == 0, done.stdout + done.stderr
    recap = done.stdout.partition("PLAY RECAP")[2]
    assert recap.count("changed=0") == len(lab.info["machines"]), recap
