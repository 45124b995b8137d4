"""Several machines behind one name: one asks, the others take, and neither believes anybody."""

from __future__ import annotations

import importlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError

RELAY = Path(__file__).resolve().parents[4] / "plugins/module_utils/fastapi_metal/certificates/relay.py"
APPS = {
    name: {"domain": f"{name}.example.org", "source": {"path": "/x"}, "module": "x:app"}
    for name in ("shop", "blog")
}
GROUPS = {"all": ["web1", "web2", "db1"], "web": ["web1", "web2"], "database": ["db1"]}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHhx certificates@web1"


def hostvars(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return an inventory in which web1 asks for both, with changes for some machines."""
    found = {
        "web1": {"ansible_host": "198.18.0.11", "group_names": ["web"], "certbot_issuer": "web1"},
        "web2": {"ansible_host": "198.18.0.12", "group_names": ["web"], "certbot_issuer": "web1"},
        "db1": {"ansible_host": "198.18.0.13", "group_names": ["database"], "certbot_issuer": "web1"},
    }
    return {host: {**values, **changes.get(host, {})} for host, values in found.items()}


def role(make_role: Any, here: str, seen: dict[str, dict[str, Any]] | None = None, **more: Any) -> Any:
    """Return role certbot on a machine of that inventory."""
    seen = seen or hostvars()
    mine = {name: value for name, value in seen[here].items() if name != "ansible_host"}
    return make_role(
        "certbot", apps=APPS, groups=GROUPS, hostvars=seen, inventory_hostname=here, **{**mine, **more}
    )


def made(directory: Path, *domains: str) -> tuple[str, str]:
    """Return a chain and a key for these domains."""
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "30", "-subj", "/CN=made", "-addext",
         "subjectAltName=" + ",".join(f"DNS:{domain}" for domain in domains),
         "-keyout", directory / "privkey.pem", "-out", directory / "fullchain.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return (directory / "fullchain.pem").read_text(), (directory / "privkey.pem").read_text()


@pytest.fixture(scope="module")
def receiving() -> ModuleType:
    """Load the taking side as the machine does."""
    return importlib.import_module("fastapi_metal.certificates.receiving")


class Taker:
    """A machine that serves a site with a temporary certificate, and an Nginx that does as it is told."""

    def __init__(self, module: ModuleType, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.module, self.root, self.tls = module, root, root / "tls"
        (self.tls / ".temporary/shop").mkdir(parents=True)
        (self.tls / "shop").symlink_to(".temporary/shop")
        self.commands: list[str] = []
        self.refuses = ""
        self.shown: str | None = None
        patch.setattr(module, "run", self._run)
        patch.setattr(module, "served", lambda _domain: self.shown)

    def _run(self, *command: str, **_more: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(" ".join(command))
        status = 1 if self.refuses and self.refuses in command[0] else 0
        if not status and self.shown is not None:
            self.shown = self.module.on_disk(self.tls / "shop")
        return subprocess.CompletedProcess(command, status, "nginx: [emerg] no\n" if status else "")

    def say(self, **message: Any) -> str:
        """Say a message and return the answer."""
        receiver = self.module.Receiver(self.tls, {"shop": ["shop.example.org"]})
        return str(receiver.answer(json.dumps(message).encode()))

    def bring(self, directory: Path, *domains: str) -> str:
        """Bring a new pair."""
        chain, key = made(directory, *domains)
        digest = self.module.on_disk(directory)
        return self.say(site="shop", digest=digest, certificate=chain, key=key)

    def target(self) -> str:
        """Return where the site's link points."""
        return str((self.tls / "shop").readlink())


@pytest.fixture
def taker(receiving: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Taker:
    """Return such a machine."""
    return Taker(receiving, tmp_path, monkeypatch)


def test_a_pair_lands_once_and_the_key_before_is_gone(taker: Taker) -> None:
    """It is asked for, taken, served, and not wanted again; a newer one leaves no older key behind."""
    chain, key = made(taker.root / "first", "shop.example.org")
    digest = taker.module.on_disk(taker.root / "first")
    assert taker.say(site="shop", digest=digest) == "wanted"
    assert taker.say(site="shop", digest=digest, certificate=chain, key=key) == "taken"
    assert taker.target().startswith(".shared/shop-")
    assert (taker.tls / "shop/privkey.pem").stat().st_mode & 0o777 == 0o600
    assert taker.say(site="shop", digest=digest) == "same"
    assert [command.split()[0] for command in taker.commands] == ["/usr/sbin/nginx", "/usr/bin/systemctl"]
    assert taker.bring(taker.root / "second", "shop.example.org") == "taken"
    assert len(list((taker.tls / ".shared").iterdir())) == 1


def test_what_nginx_does_not_show_is_wanted_again(taker: Taker) -> None:
    """A machine that was cut off between landing and loading is told once more."""
    assert taker.bring(taker.root / "first", "shop.example.org") == "taken"
    digest = taker.module.on_disk(taker.root / "first")
    taker.shown = "another"
    assert taker.say(site="shop", digest=digest) == "wanted"


@pytest.mark.parametrize(
    ("domain", "days", "words"),
    [
        ("other.example.org", 0, "it is for other.example.org, and not for shop.example.org"),
        ("shop.example.org", 31, "it has expired"),
        ("shop.example.org", -1, "it is not good yet"),
    ],
)
def test_what_no_visitor_would_believe_is_refused(
    taker: Taker, monkeypatch: pytest.MonkeyPatch, domain: str, days: int, words: str
) -> None:
    """Another name, an expired one, one of tomorrow: a sentence, and nothing has changed, no key is left."""
    now = time.time() + days * 86400
    monkeypatch.setattr(taker.module.time, "time", lambda: now)
    assert taker.bring(taker.root / "wrong", domain) == f"refused: {words}"
    assert taker.target() == ".temporary/shop"
    assert list((taker.tls / ".shared").iterdir()) == []
    assert taker.commands == []


def test_what_nginx_refuses_is_taken_back(taker: Taker) -> None:
    """`nginx -t` fails: the link leads back, the key is gone, and Nginx was not told to load."""
    taker.refuses = "nginx"
    answer = taker.bring(taker.root / "first", "shop.example.org")
    assert answer == "refused: Nginx would not serve it: nginx: [emerg] no"
    assert taker.target() == ".temporary/shop"
    assert list((taker.tls / ".shared").iterdir()) == []
    assert not any("systemctl" in command for command in taker.commands)


def test_nonsense_is_refused(taker: Taker) -> None:
    """No JSON, another shape, a site that is not here, a path for a name, a key of another pair, no key."""
    chain, key = made(taker.root / "right", "shop.example.org")
    _, other = made(taker.root / "other", "shop.example.org")
    locked = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
    receiver = taker.module.Receiver(taker.tls, {"shop": ["shop.example.org"]})
    messages: list[Any] = [
        [], {"site": 1}, {"site": "../../etc"}, {"site": "blog"}, {},
        {"site": "shop", "digest": "x", "certificate": chain, "key": other},
        {"site": "shop", "digest": "x", "certificate": chain, "key": ""},
        {"site": "shop", "digest": "x", "certificate": chain, "key": locked},
        {"site": "shop", "digest": "x", "certificate": chain + "include /etc/passwd;", "key": key},
        {"site": "shop", "digest": "x", "certificate": "x", "key": "x"},
    ]  # fmt: skip
    said = [json.dumps(message).encode() for message in messages]
    for message in [*said, b"", b"\xff{", b"[" * 100, b"1" * 300_000]:
        assert receiver.answer(message).startswith("refused: "), message[:80]
    assert taker.target() == ".temporary/shop"
    assert not (taker.tls / ".shared").exists() or list((taker.tls / ".shared").iterdir()) == []


def test_a_directory_made_by_hand_keeps_its_certificate(taker: Taker) -> None:
    """The administrator's own directory is not touched."""
    (taker.tls / "shop").unlink()
    (taker.tls / "shop").mkdir()
    assert "was made by hand" in taker.say(site="shop", digest="x")


def test_the_relay_passes_on_and_nothing_else(tmp_path: Path) -> None:
    """What comes goes to the socket whatever the key's owner asked for; too much goes nowhere."""
    path = tmp_path / "socket"
    heard: list[bytes] = []

    def answer() -> None:
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(str(path))
            door.listen(1)
            ready.set()
            wire, _ = door.accept()
            with wire:
                heard.append(b"".join(iter(lambda: wire.recv(65536), b"")))
                wire.sendall(b"same\n")

    ready = threading.Event()
    thread = threading.Thread(target=answer)
    thread.start()
    assert ready.wait(10)
    script = RELAY.read_text().replace("/run/certificate-receive.sock", str(path))
    done = subprocess.run([sys.executable, "-I", "-c", script], input=b"{}", capture_output=True, check=False)
    thread.join()
    assert (done.returncode, done.stdout, heard) == (0, b"same\n", [b"{}"])
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], input=b"1" * 300_000, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout.startswith(b"refused: more than")


# Notes how it was called, and answers what the file of the machine says.
FAKE_SSH = """#!/bin/sh
echo "$*" >> {root}/calls
cat > {root}/said.$(grep -c . {root}/calls)
for last; do :; done
[ -f {root}/$last ] || {{ echo "ssh: connect to host $last port 22: Connection refused" >&2; exit 255; }}
head -1 {root}/$last; sed -i 1d {root}/$last
"""


@pytest.fixture
def asker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of a machine with a certificate, and with machines that answer over SSH."""
    made(tmp_path / "letsencrypt/live/shop", "shop.example.org")
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "ssh").write_text(FAKE_SSH.format(root=tmp_path))
    (commands / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{Path('/usr/bin')}:/bin")
    return tmp_path


def brought(asker: Path) -> tuple[list[str], list[str]]:
    """Bring what is there to two machines; return what came where, and the warnings."""
    stored = importlib.import_module("fastapi_metal.certificates.stored")
    peers = [{"name": f"web{n}", "address": f"198.18.0.1{n}", "addresses": [], "port": 2222} for n in (2, 3)]
    given = {
        "directory_url": "", "email": "", "key_type": "ecdsa", "webroot": "", "timeout": 20, "hook": "",
        "letsencrypt_directory": str(asker / "letsencrypt"), "tls_directory": str(asker / "tls"),
        "eab_key_id": "", "eab_hmac_key": "", "dns_plugin": "", "dns_credentials": "", "dns_wait": 0,
        "sites": [{"name": "shop", "domains": ["shop.example.org"]}, {"name": "none", "domains": ["x.org"]}],
        "share": {"key": "/k", "known_hosts": "/known", "user": "certificates", "peers": peers},
    }  # fmt: skip
    work = stored.run_of(given)
    return stored.shared(given, work), work.warnings


def test_who_has_it_is_sent_no_key(asker: Path) -> None:
    """Only who wants it gets the pair; a machine that is away is a warning, and keeps nobody else from it."""
    (asker / "198.18.0.12").write_text("wanted\ntaken\n")
    came, warnings = brought(asker)
    assert came == ["shop on web2"]
    (sentence,) = warnings
    assert "web3 (198.18.0.13) did not take the certificate of shop: ssh: connect to host" in sentence
    (asker / "198.18.0.12").write_text("same\n")
    (asker / "calls").unlink()
    assert brought(asker)[0] == []
    assert "PRIVATE KEY" not in (asker / "said.1").read_text()


def test_a_refusal_is_told(asker: Path) -> None:
    """What the other machine says is in the warning."""
    (asker / "198.18.0.12").write_text("refused: it has expired\n")
    (asker / "198.18.0.13").write_text("same\n")
    came, (sentence,) = brought(asker)
    assert came == []
    assert "web2 (198.18.0.12) did not take the certificate of shop: refused: it has expired." in sentence


def test_nobody_is_believed_at_first_sight(asker: Path) -> None:
    """The host key must be the one that the controller brought, and only the one key is shown."""
    (asker / "198.18.0.12").write_text("same\n")
    brought(asker)
    call = (asker / "calls").read_text().splitlines()[0]
    for option in ("StrictHostKeyChecking=yes", "UserKnownHostsFile=/known/web2", "HostKeyAlias=web2"):
        assert option in call
    assert re.search(r"-F none .*-i /k .*-p 2222 -l certificates 198\.18\.0\.12$", call)


def test_one_asks_and_the_others_take(make_role: Any) -> None:
    """By one variable: who brings to whom, and a machine without sites has no part in it."""
    peers = role(make_role, "web1").value("__certbot_peers")
    assert [(peer["name"], peer["address"], peer["port"]) for peer in peers] == [("web2", "198.18.0.12", 22)]
    assert role(make_role, "web2").value("__certbot_takes")
    assert role(make_role, "web2").value("__certbot_peers") == []
    assert not role(make_role, "db1").value("__certbot_takes")
    alone = role(make_role, "web1", hostvars(web1={"certbot_issuer": ""}, web2={"certbot_issuer": ""}))
    assert not alone.value("__certbot_sharing")


def test_the_others_pass_questions_on(make_role: Any) -> None:
    """Nginx of the machine that takes asks the one that issues; that one looks into its webroot."""
    texts = {}
    for here in ("web1", "web2"):
        seen = hostvars()
        made_role = make_role(
            "nginx", apps=APPS, hostvars=seen, inventory_hostname=here, group_names=["web"],
            certbot_issuer="web1", facts={"all_ipv6_addresses": []},
        )  # fmt: skip
        texts[here] = made_role.render("sites.j2")
    assert "proxy_pass http://198.18.0.11;" in texts["web2"]
    assert "root /var/www/acme;" not in texts["web2"]
    assert "root /var/www/acme;" in texts["web1"]
    assert "198.18.0.11" not in texts["web1"]


def test_the_door_is_for_one_program(make_role: Any) -> None:
    """The line of authorized_keys forbids all else, and comes from the other machine's addresses alone."""
    made_role = role(
        make_role, "web2", hostvars(web1={"firewall_addresses": ["198.18.0.11", "fd00::11"]}),
        __certbot_their_key={"content": "{{ '" + KEY + "\n' | b64encode }}"},
    )  # fmt: skip
    files = {entry["path"]: entry for entry in yaml.safe_load(made_role.render("taking.yml.j2"))}
    lines = files["/var/lib/fastapi-metal-certificates/.ssh/authorized_keys"]["content"].splitlines()
    (line,) = (line for line in lines if not line.startswith("#"))
    assert line == (
        'restrict,from="198.18.0.11,fd00::11",command="/usr/bin/python3 -I /usr/local/lib/'
        'fastapi-metal-certificates/fastapi_metal/certificates/relay.py" ' + KEY
    )
    taking = json.loads(files["/etc/fastapi-metal/certificates/taking.json"]["content"])
    assert [site["name"] for site in taking["sites"]] == ["blog", "shop"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"web2": {"certbot_issuer": "web9"}}, "is web9, and hosts.yml knows no such machine"),
        (
            {"web1": {"certbot_issuer": ""}},
            "is web1, which does not ask for others: set `certbot_issuer",
        ),
        (
            {"web1": {"certbot_sites": [{"name": "shop", "domains": ["shop.example.org"]}]}},
            "which does not serve blog (blog.example.org) as web2 does",
        ),
    ],
)
def test_who_cannot_ask_is_refused(make_role: Any, changes: dict[str, Any], words: str) -> None:
    """A machine that nobody knows, one that does not know of it, one that serves other sites."""
    (sentence,) = role(make_role, "web2", hostvars(**changes)).value("__certbot_problems")
    assert words in sentence


def test_a_machine_without_an_address_is_asked_for_one(make_role: Any) -> None:
    """Names alone cannot be let in."""
    with pytest.raises(AnsibleError, match=r"set `firewall_addresses: \[10\.0\.0\.11\]` in host_vars/web2"):
        role(make_role, "web1", hostvars(web2={"ansible_host": "web2.example.org"})).value("__certbot_peers")
