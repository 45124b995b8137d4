"""The authority is asked only when it must be, and Nginx serves whatever there is."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import urllib.error
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[4]
DIRECTORY = "https://acme.example.org/directory"
# Writes what Certbot writes, and fails as Certbot does when there is a file `refuse`.
FAKE_CERTBOT = """#!/bin/sh
echo "$*" >> {root}/calls
if [ -f {root}/refuse ]; then cat {root}/refuse; exit 1; fi
name= domains=
while [ $# -gt 0 ]; do
    case $1 in
        --cert-name) name=$2 ;;
        --server) server=$2 ;;
        --key-type) key=$2 ;;
        -d) domains=$domains,DNS:$2 ;;
    esac
    shift
done
home={root}/letsencrypt
mkdir -p $home/live/$name $home/renewal
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj "/CN=issued" \\
    -addext "subjectAltName=${{domains#,}}" -keyout $home/live/$name/privkey.pem \\
    -out $home/live/$name/fullchain.pem 2> /dev/null
printf 'version = 4\\n[renewalparams]\\nserver = %s\\nkey_type = %s\\n' $server $key \\
    > $home/renewal/$name.conf
"""
REFUSAL = """Saving debug log to /var/log/letsencrypt/letsencrypt.log
Requesting a certificate for shop.example.org

Certbot failed to authenticate some domains (authenticator: webroot).
  Domain: shop.example.org
  Type:   connection
  Detail: 198.18.0.10: Timeout during connect

Some challenges have failed.
Ask for help or search for solutions at https://community.letsencrypt.org.
"""


@pytest.fixture(scope="module")
def certificates() -> ModuleType:
    """Load the package as Ansible's module does."""
    return importlib.import_module("ansible.module_utils.fastapi_metal.certificates.issuing")


class Machine:
    """A server with Nginx's temporary certificate, an authority that answers, and port 80 that leads here."""

    def __init__(self, module: ModuleType, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.module, self.root = module, root
        self.tls = root / "tls"
        self.live = root / "letsencrypt/live"
        self.webroot = root / "acme"
        self.webroot.mkdir()
        (self.tls / ".temporary/shop").mkdir(parents=True)
        (self.tls / "shop").symlink_to(".temporary/shop")
        self.sites = [{"name": "shop", "domains": ["shop.example.org"]}]
        self.directory, self.key_type = DIRECTORY, "ecdsa"
        self.hook = f"#!/bin/sh\necho loaded >> {root}/loads\n"
        self.down: str | None = None
        self.served: str | None = None
        self.elsewhere: set[str] = set()
        self.tokens: list[str] = []
        self.warnings: list[str] = []
        patch.setattr(module, "authority_problem", lambda _url: self.down)
        self.identities: list[str] = []
        self.records: dict[str, list[tuple[str, str]]] = {}
        patch.setattr(module, "identities", lambda _url: self.identities)
        caa = importlib.import_module("ansible.module_utils.fastapi_metal.certificates.caa")
        patch.setattr(
            module,
            "forbidden",
            lambda domain, names: caa.forbidden(domain, names, lambda name: self.records.get(name, [])),
        )
        patch.setattr(module, "served", lambda _domain: self.served)
        patch.setattr(module, "fetch", self.fetch)

    def fetch(self, url: str, timeout: float = 10) -> bytes:
        """Answer as Nginx on port 80 would, and others where a domain leads elsewhere."""
        domain, _, path = url.removeprefix("http://").partition("/")
        self.tokens.append(path)
        if domain in self.elsewhere:
            raise urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))
        return (self.webroot / path).read_bytes()

    def run(self, check: bool = False, refuse: bool = True) -> Any:
        """Bring the machine to the wanted state."""
        settings = self.module.Settings(
            self.directory, "", self.key_type, self.webroot, self.root / "letsencrypt", self.tls, 20
        )
        work = self.module.Run(settings, self.sites, self.hook, check)
        result = work.all(refuse)
        self.warnings = work.warnings
        return result

    def calls(self) -> list[str]:
        """Return the command lines of Certbot."""
        file = self.root / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def loads(self) -> int:
        """Return how often Nginx was told to load its certificates."""
        file = self.root / "loads"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def target(self) -> str:
        """Return where the site's link points."""
        return str((self.tls / "shop").readlink())


@pytest.fixture
def machine(certificates: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A server with a stand-in for Certbot; openssl is the host's own."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "certbot").write_text(FAKE_CERTBOT.format(root=tmp_path))
    (commands / "certbot").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    return Machine(certificates, tmp_path, monkeypatch)


def test_a_certificate_is_issued_once_and_served(machine: Machine) -> None:
    """The first run asks, links and loads; the second asks nobody and changes nothing."""
    assert machine.run()["issued"] == {"shop": "there is none"}
    assert machine.target() == str(machine.live / "shop")
    assert machine.loads() == 1
    machine.served = machine.module.on_disk(machine.live / "shop")
    assert not machine.run()["changed"]
    assert len(machine.calls()) == 1
    assert machine.loads() == 1


def test_certbot_is_asked_as_the_variables_say(machine: Machine) -> None:
    """Authority, key, names and webroot reach Certbot; without an address it is told that there is none."""
    machine.sites[0]["domains"] = ["shop.example.org", "www.shop.example.org"]
    machine.run()
    (call,) = machine.calls()
    assert f"--server {DIRECTORY} --key-type ecdsa" in call
    assert f"--webroot --webroot-path {machine.webroot} --cert-name shop" in call
    assert "-d shop.example.org -d www.shop.example.org" in call
    assert "--register-unsafely-without-email" in call


def test_check_mode_asks_nobody_and_writes_nothing(machine: Machine) -> None:
    """On an untouched machine it announces the certificate; Certbot need not be there."""
    before = sorted(machine.root.rglob("*"))
    result = machine.run(check=True)
    assert result["changed"]
    assert result["pending"] == {"shop": "there is none"}
    assert machine.calls() == []
    assert sorted(machine.root.rglob("*")) == before


def test_changed_domains_are_asked_for_anew(machine: Machine) -> None:
    """One more name, one name less: the certificate must be for exactly these. Their order is no change."""
    machine.run()
    machine.sites[0]["domains"] = ["shop.example.org", "www.shop.example.org"]
    assert machine.run()["issued"] == {"shop": "its domains changed"}
    machine.sites[0]["domains"] = ["www.shop.example.org", "shop.example.org"]
    assert machine.run()["issued"] == {}
    machine.sites[0]["domains"] = ["www.shop.example.org"]
    assert machine.run()["issued"] == {"shop": "its domains changed"}


def test_another_authority_or_key_is_asked_for(machine: Machine) -> None:
    """From the staging server to the real one, and from ecdsa to rsa, by the variable alone."""
    machine.run()
    machine.directory = "https://other.example.org/directory"
    assert machine.run()["issued"] == {"shop": "the authority changed"}
    machine.key_type = "rsa"
    assert machine.run()["issued"] == {"shop": "the kind of key changed"}


def test_a_renewal_that_did_not_happen_is_made_up_for(machine: Machine) -> None:
    """In the last tenth of its life the timer has long failed; before that it is the timer's business."""
    machine.run()
    settings = machine.module.Settings(
        DIRECTORY, "", "ecdsa", machine.webroot, machine.root / "letsencrypt", machine.tls, 20
    )
    ends = machine.module.Certificate.load(machine.live / "shop").ends
    day = 86400

    def need(now: float) -> Any:
        return machine.module.need("shop", ["shop.example.org"], settings, now)

    assert need(ends - 10 * day) is None
    assert need(ends - 8 * day) == "it is about to expire and was not renewed"
    assert need(ends + day) is not None


def test_a_key_that_does_not_belong_is_no_certificate(machine: Machine) -> None:
    """A pair that Nginx could not load is asked for anew."""
    machine.run()
    other = machine.root / "other.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", other],
        check=True, capture_output=True,
    )  # fmt: skip
    (machine.live / "shop/privkey.pem").write_text(other.read_text())
    assert machine.run()["issued"] == {"shop": "there is none"}


def test_an_authority_that_is_down_is_a_warning(machine: Machine) -> None:
    """The play goes on, nothing counts as changed, the site keeps its certificate, the next run asks."""
    machine.run()
    machine.sites.append({"name": "office", "domains": ["office.example.org"]})
    machine.down = "Connection refused"
    result = machine.run()
    assert result["pending"] == {"office": "Connection refused"}
    assert len(machine.calls()) == 1
    (warning,) = machine.warnings
    assert "office" in warning
    assert f"{DIRECTORY} cannot be used: Connection refused" in warning
    assert "the machine asks again every hour" in warning
    assert not machine.run()["changed"]
    machine.down = None
    assert machine.run()["issued"] == {"office": "there is none"}


def test_an_authority_that_refuses_is_a_warning_with_its_reason(machine: Machine) -> None:
    """Of Certbot's ten lines the one counts that says why."""
    (machine.root / "refuse").write_text(REFUSAL)
    result = machine.run()
    assert result["pending"] == {"shop": "198.18.0.10: Timeout during connect"}
    assert machine.target() == ".temporary/shop"
    assert machine.loads() == 0


def test_who_is_not_reached_does_not_ask(machine: Machine) -> None:
    """The authority counts failed attempts: without the own token it is not asked. No token is left."""
    machine.sites[0]["domains"] = ["shop.example.org", "www.shop.example.org"]
    machine.elsewhere = {"www.shop.example.org"}
    with pytest.raises(machine.module.RefusedError) as refused:
        machine.run()
    assert "http://www.shop.example.org/ (Connection refused)" in str(refused.value)
    assert "http://shop.example.org/" not in str(refused.value)
    assert "`certbot_preflight: false` in group_vars/all/certbot.yml" in str(refused.value)
    assert machine.calls() == []
    assert all(token.startswith(".well-known/acme-challenge/") for token in machine.tokens)
    assert list(machine.webroot.rglob("*")) == []


def test_without_preflight_it_is_a_warning_and_the_authority_is_asked(machine: Machine) -> None:
    """Behind a NAT that does not lead back, only the authority can tell."""
    machine.elsewhere = {"shop.example.org"}
    assert machine.run(refuse=False)["issued"] == {"shop": "there is none"}
    assert "Connection refused" in machine.warnings[0]


def test_another_server_on_port_80_is_noticed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is not enough: it must be this machine's token."""
    monkeypatch.setattr(machine.module, "fetch", lambda _url: b"welcome")
    with pytest.raises(machine.module.RefusedError, match="another server answers"):
        machine.run()


def test_a_valid_certificate_needs_no_port_80(machine: Machine) -> None:
    """A second run does not depend on what the network does just then."""
    machine.run()
    machine.tokens.clear()
    machine.elsewhere = {"shop.example.org"}
    assert machine.run()["pending"] == {}
    assert machine.tokens == []


def test_a_certificate_that_was_not_loaded_is_loaded(machine: Machine) -> None:
    """After a run that was interrupted Nginx still shows the one before."""
    machine.run()
    machine.served = "another"
    assert machine.run()["changed"]
    assert machine.loads() == 2
    assert len(machine.calls()) == 1


def test_what_nginx_will_not_serve_is_taken_back(machine: Machine) -> None:
    """When the hook's `nginx -t` fails, the link points back to what is served."""
    machine.hook = "#!/bin/sh\necho no such file\nexit 1\n"
    with pytest.raises(machine.module.RefusedError, match="no such file"):
        machine.run()
    assert machine.target() == ".temporary/shop"


def test_a_certificate_put_there_by_hand_is_kept(machine: Machine) -> None:
    """A directory instead of our link is the user's own; nobody is asked."""
    (machine.tls / "shop").unlink()
    (machine.tls / "shop").mkdir()
    assert machine.run()["kept"] == ["shop"]
    assert machine.calls() == []
    assert not (machine.tls / "shop").is_symlink()


def test_a_site_that_is_gone_is_not_renewed_and_comes_back(machine: Machine) -> None:
    """Its renewal would fail for ever; when the site is back, its certificate is still there."""
    machine.sites.append({"name": "office", "domains": ["office.example.org"]})
    machine.run()
    renewal = machine.root / "letsencrypt/renewal"
    (renewal / "own.conf").write_text("a user's own certificate\n")
    office = machine.sites.pop()
    assert machine.run()["changed"]
    names = {path.name for path in renewal.iterdir()}
    assert names == {"shop.conf", "office.conf.unused", "own.conf"}
    assert not machine.run()["changed"]
    machine.sites.append(office)
    machine.run()
    assert (renewal / "office.conf").exists()
    assert len(machine.calls()) == 2


def test_the_hook_is_mended(machine: Machine) -> None:
    """Without it a renewed certificate would lie on the disk and expire in Nginx."""
    machine.run()
    hook = machine.root / "letsencrypt/renewal-hooks/deploy/fastapi-metal"
    hook.chmod(0o644)
    assert machine.run(check=True)["changed"]
    assert machine.run()["changed"]
    assert hook.stat().st_mode & 0o777 == 0o755
    assert not machine.run()["changed"]


def test_certbots_words_are_cut_to_the_reason(certificates: ModuleType) -> None:
    """Details first, then an unexpected error, then the last line that says something."""
    assert certificates.reason(REFUSAL) == "198.18.0.10: Timeout during connect"
    assert certificates.reason("An unexpected error occurred:\nToo many certificates\nAsk for help") == (
        "Too many certificates"
    )
    assert certificates.reason("Saving debug log to x\nno such option\n") == "no such option"
    assert certificates.reason("") == "no reason given"


def test_a_directory_that_cannot_be_asked_is_told_in_words(certificates: ModuleType, tmp_path: Path) -> None:
    """No server, and a file that is no ACME directory."""
    assert certificates.authority_problem("http://127.0.0.1:9/directory") == "Connection refused"
    page = tmp_path / "page.html"
    page.write_text("<html>")
    assert certificates.authority_problem(page.as_uri()) is not None
    page.write_text(json.dumps({"newOrder": "x"}))
    assert certificates.authority_problem(page.as_uri()) is None


def test_an_authority_that_the_owner_shuts_out_is_not_asked(machine: Machine) -> None:
    """A CAA record names another one: a sentence, and no attempt that the authority would count."""
    machine.identities = ["acme.example.org"]
    machine.records = {"example.org": [("issue", "ca.example.net")]}
    with pytest.raises(machine.module.RefusedError, match=r"lets ca\.example\.net issue"):
        machine.run()
    assert machine.calls() == []
    machine.records = {"example.org": [("issue", "acme.example.org")]}
    machine.run()
    assert len(machine.calls()) == 1


def test_an_account_that_is_known_before_is_in_no_command_line(machine: Machine) -> None:
    """The key goes by a file that is gone afterwards; Certbot's words show its place alone."""
    settings = machine.module.Settings(
        machine.directory, "", "ecdsa", machine.webroot, machine.root / "letsencrypt", machine.tls, 20,
        machine.module.Binding("kid-1", "planted-hmac"),
    )  # fmt: skip
    assert machine.module.issue("shop", ["shop.example.org"], settings) is None
    (call,) = machine.calls()
    file = Path(call.split("--config ")[1].split()[0])
    assert not file.exists()
    assert "planted-hmac" not in call


def test_over_dns_nobody_has_to_reach_port_80(machine: Machine) -> None:
    """Wildcards are had this way; a change of the way asks anew."""
    dns = machine.module.Dns("rfc2136", "/etc/letsencrypt/dns.ini", 5)
    settings = machine.module.Settings(
        machine.directory, "", "ecdsa", machine.webroot, machine.root / "letsencrypt", machine.tls, 20,
        machine.module.Binding(), dns,
    )  # fmt: skip
    machine.elsewhere = {"shop.example.org"}
    machine.sites = [{"name": "shop", "domains": ["shop.example.org", "*.shop.example.org"]}]
    work = machine.module.Run(settings, machine.sites, machine.hook, False)
    assert work.all(True)["issued"] == {"shop": "there is none"}
    assert "--dns-rfc2136 --dns-rfc2136-credentials /etc/letsencrypt/dns.ini" in machine.calls()[0]
    assert "--webroot" not in machine.calls()[0]
