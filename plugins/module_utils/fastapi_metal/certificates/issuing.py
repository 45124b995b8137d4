"""Asks an authority for the certificates that are missing, and lets Nginx serve what is there.

On the machine with Debian's Python and its standard library alone: Ansible's module runs it, and the timer
that tries again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
import ssl
import stat
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..machine.files import replace
from .caa import forbidden

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class RefusedError(Exception):
    """A sentence for the user."""


def run(*command: str | Path, timeout: float = 60, said: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command with what it says on one stream; one that takes too long counts as failed."""
    environment = {**os.environ, "PATH": os.environ.get("PATH", PATH) + ":" + PATH, "LC_ALL": "C.UTF-8"}
    words = [str(word) for word in command]
    try:
        return subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, input=said, text=True,
            check=False, env=environment, timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, f"no answer within {timeout:.0f} seconds")


def read(path: Path) -> str:
    """Return a file's text, an empty one when there is none."""
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def write(path: Path, text: str, mode: int) -> None:
    """Put a file in place in one step, in a directory that may have to be made."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    replace(path, text.encode(), mode)


@dataclass(frozen=True)
class Binding:
    """The account at an authority that knows its customers before they come (EAB)."""

    key_id: str = ""
    hmac_key: str = ""


@dataclass(frozen=True)
class Dns:
    """How records are written for a challenge over DNS; without a plugin it goes by port 80."""

    plugin: str = ""
    credentials: str = ""
    wait: int = 0


@dataclass(frozen=True)
class Settings:
    """What every certificate is asked for with."""

    directory_url: str
    email: str
    key_type: str
    webroot: Path
    letsencrypt: Path
    tls: Path
    timeout: int
    binding: Binding = field(default_factory=Binding)
    dns: Dns = field(default_factory=Dns)


@dataclass(frozen=True)
class Certificate:
    """What matters of a certificate that lies on the disk."""

    domains: frozenset[str]
    begins: float
    ends: float

    @classmethod
    def load(cls, directory: Path) -> Certificate | None:
        """Return the certificate, None if it or its key cannot be read or they do not belong together."""
        path = directory / "fullchain.pem"
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                path, directory / "privkey.pem", password=""
            )
        except (OSError, ValueError):  # ssl.SSLError is an OSError
            return None
        said = run("openssl", "x509", "-in", path, "-noout", "-dates", "-ext", "subjectAltName").stdout
        dates = dict(re.findall(r"^not(Before|After)=(.*)$", said, re.MULTILINE))
        return cls(
            frozenset(re.findall(r"DNS:([^,\s]+)", said)),
            ssl.cert_time_to_seconds(dates["Before"]),
            ssl.cert_time_to_seconds(dates["After"]),
        )

    def ends_soon(self, now: float) -> bool:
        """Tell whether the last tenth of its life has begun: the timer should have renewed it long ago."""
        return self.ends - now < (self.ends - self.begins) / 10


def renewal_settings(text: str) -> dict[str, str]:
    """Return the keys of Certbot's renewal file."""
    return dict(re.findall(r"^(\w+) = (.*)$", text, re.MULTILINE))


def need(name: str, domains: list[str], settings: Settings, now: float) -> str | None:
    """Return why the authority must be asked for a site, None if all is well."""
    certificate = Certificate.load(settings.letsencrypt / "live" / name)
    if certificate is None:
        return "there is none"
    if certificate.domains != frozenset(domains):
        return "its domains changed"
    if certificate.ends_soon(now):
        return "it is about to expire and was not renewed"
    renewal = renewal_settings(read(settings.letsencrypt / "renewal" / f"{name}.conf"))
    if renewal.get("authenticator", "webroot") != (
        f"dns-{settings.dns.plugin}" if settings.dns.plugin else "webroot"
    ):
        return "the way of the challenge changed"
    if renewal.get("server") != settings.directory_url:
        return "the authority changed"
    if renewal.get("key_type", settings.key_type) != settings.key_type:
        return "the kind of key changed"
    return None


def fetch(url: str, timeout: float = 10) -> bytes:
    """Return what an address answers; never by way of a proxy, since the world does not come through ours."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout) as answer:
        return bytes(answer.read(4096))


def why(error: Exception) -> str:
    """Return an error of the network in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}"
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    return str(getattr(reason, "strerror", None) or reason or type(error).__name__)


def unreached(domains: list[str], webroot: Path) -> dict[str, str]:
    """Return the domains whose port 80 does not lead to this webroot, and what was there instead."""
    home = webroot / ".well-known/acme-challenge"
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    token = home / f"fastapi-metal-{secrets.token_hex(16)}"
    content = secrets.token_hex(32)
    token.write_text(content)
    token.chmod(0o644)
    found = {}
    try:
        for domain in domains:
            try:
                if fetch(f"http://{domain}/.well-known/acme-challenge/{token.name}") != content.encode():
                    found[domain] = "another server answers"
            except (OSError, ValueError) as error:  # urllib's and http.client's errors included
                found[domain] = why(error)
    finally:
        token.unlink()
        for directory in (home, home.parent):
            if not any(directory.iterdir()):
                directory.rmdir()
    return found


def directory(url: str) -> dict[str, Any]:
    """Return an authority's directory."""
    with urllib.request.urlopen(url, timeout=15) as answer:  # noqa: S310 - the user's own ACME directory
        found = json.load(answer)
    return found if isinstance(found, dict) else {}


def authority_problem(url: str) -> str | None:
    """Return why the authority cannot be asked, if so."""
    try:
        directory(url)
    except (OSError, ValueError) as error:
        hint = ""
        if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
            hint = "; a company's own authority belongs into common_ca_certificates"
        return f"{why(error)}{hint}"
    return None


def identities(url: str) -> list[str]:
    """Return the names under which CAA records know an authority; none where it does not say or answer."""
    try:
        meta = directory(url).get("meta") or {}
    except (OSError, ValueError):
        return []
    return [str(name) for name in meta.get("caaIdentities") or []]


def shut_out(domains: list[str], url: str) -> dict[str, str]:
    """Return the domains whose owner does not let this authority issue, and why."""
    names = identities(url)
    found = {domain: forbidden(domain, names) for domain in domains} if names else {}
    return {domain: words for domain, words in found.items() if words}


def reason(output: str) -> str:
    """Return from Certbot's output the line that a person needs."""
    details = re.findall(r"^\s*Detail: (.*)$", output, re.MULTILINE)
    if details:
        return "; ".join(dict.fromkeys(details))
    match = re.search(r"An unexpected error occurred:\n(.*)", output)
    if match:
        return match[1].strip()
    noise = ("Saving debug log", "Ask for help", "Some challenges have failed")
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith(noise)]
    return lines[-1] if lines else "no reason given"


def way(settings: Settings) -> list[str]:
    """Return how Certbot answers the authority's challenge."""
    dns = settings.dns
    if not dns.plugin:
        return ["--webroot", "--webroot-path", str(settings.webroot)]
    words = [f"--dns-{dns.plugin}"]
    if dns.credentials:
        words += [f"--dns-{dns.plugin}-credentials", dns.credentials]
    return [*words, f"--dns-{dns.plugin}-propagation-seconds", str(dns.wait)] if dns.wait else words


def issue(name: str, domains: list[str], settings: Settings) -> str | None:
    """Ask the authority for one certificate; return why it was not to be had."""
    account = ["--email", settings.email] if settings.email else ["--register-unsafely-without-email"]
    names = [word for domain in domains for word in ("-d", domain)]
    # Whether it is needed was decided already; and Certbot asks back about changed domains unless told.
    decided = ["--force-renewal", "--renew-with-new-domains"]
    end = time.monotonic() + settings.timeout
    with tempfile.TemporaryDirectory(prefix="certbot-") as private:
        # What others may not read is in no command line: root's directory, for as long as Certbot runs.
        binding = []
        if settings.binding.key_id:
            file = Path(private, "account.ini")
            said = f"eab-kid = {settings.binding.key_id}\neab-hmac-key = {settings.binding.hmac_key}\n"
            replace(file, said.encode(), 0o600)
            binding = ["--config", str(file)]
        while True:
            done = run(
                "certbot", "certonly", *binding, "--non-interactive", "--agree-tos", "--no-eff-email",
                *account, *decided, "--server", settings.directory_url, "--key-type", settings.key_type,
                *way(settings), "--cert-name", name, *names, timeout=settings.timeout,
            )  # fmt: skip
            busy = "Another instance of Certbot is already running" in done.stdout
            if not busy or time.monotonic() > end:
                return reason(done.stdout) if done.returncode else None
            time.sleep(3)


def served(domain: str) -> str | None:
    """Return the digest of the certificate that Nginx shows on this machine, None when it does not answer."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", 443), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=domain) as connection,
        ):
            return hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError:
        return None


def on_disk(directory: Path) -> str | None:
    """Return the digest of the first certificate of a chain."""
    text = read(directory / "fullchain.pem")
    match = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(match[0])).hexdigest() if match else None


class Run:
    """One run over all sites."""

    def __init__(self, settings: Settings, sites: list[dict[str, Any]], hook: str, check: bool) -> None:
        self.settings = settings
        self.hook_path = settings.letsencrypt / "renewal-hooks/deploy/fastapi-metal"
        self.hook = hook.rstrip("\n") + "\n"
        self.check = check
        self.changed = False
        self.warnings: list[str] = []
        self.issued: dict[str, str] = {}
        self.pending: dict[str, str] = {}
        self.kept = [site["name"] for site in sites if self._is_by_hand(site["name"])]
        self.sites = {site["name"]: site["domains"] for site in sites if site["name"] not in self.kept}

    def _is_by_hand(self, name: str) -> bool:
        path = self.settings.tls / name
        return path.is_dir() and not path.is_symlink()

    def place_hook(self) -> None:
        """Have the script that Certbot runs after each renewal."""
        right = read(self.hook_path) == self.hook and stat.S_IMODE(self.hook_path.stat().st_mode) == 0o755
        if not right:
            self.changed = True
            if not self.check:
                write(self.hook_path, self.hook, 0o755)

    def retire(self) -> None:
        """Keep Certbot from renewing what no site needs; the files stay, and come back with the site."""
        note = self.settings.letsencrypt / "fastapi-metal.json"
        before = json.loads(read(note) or "[]")
        after = sorted(self.sites)
        if before == after:
            return
        self.changed = True
        if self.check:
            return
        renewal = self.settings.letsencrypt / "renewal"
        for name in set(before) | set(after):
            live, unused = renewal / f"{name}.conf", renewal / f"{name}.conf.unused"
            if name not in after and live.exists():
                live.rename(unused)
            elif name in after and unused.exists() and not live.exists():
                unused.rename(live)
        write(note, json.dumps(after) + "\n", 0o644)

    def needs(self) -> dict[str, str]:
        """Return the sites that need a certificate, and why."""
        now = time.time()
        found = {name: need(name, domains, self.settings, now) for name, domains in self.sites.items()}
        return {name: why for name, why in found.items() if why}

    def reach(self, needs: dict[str, str], refuse: bool) -> None:
        """Refuse before the authority is asked what it would refuse: each failed attempt counts there."""
        domains = [domain for name in needs for domain in self.sites[name]]
        shut = shut_out(domains, self.settings.directory_url)
        if shut:
            raise RefusedError(". ".join(f"{domain} {words}" for domain, words in shut.items()) + ".")
        if self.settings.dns.plugin:
            return
        lost = unreached(domains, self.settings.webroot)
        if not lost:
            return
        listed = ", ".join(f"http://{domain}/ ({said})" for domain, said in lost.items())
        sentence = (
            f"This machine did not find its own token at {listed}, so the certificate authority would not "
            "either: let port 80 of the name lead to this machine (DNS, firewall, router), or set "
            "`certbot_preflight: false` in group_vars/all/certbot.yml if only the way from the machine to "
            "itself is barred."
        )
        if refuse:
            raise RefusedError(sentence)
        self.warnings.append(sentence)

    def ask(self, needs: dict[str, str]) -> None:
        """Ask the authority for what is needed; what it does not give is a warning."""
        down = authority_problem(self.settings.directory_url)
        for name, cause in needs.items():
            problem = down or issue(name, self.sites[name], self.settings)
            if problem is None:
                self.issued[name] = cause
                self.changed = True
                continue
            self.pending[name] = problem
            self.warnings.append(
                f"No certificate for {name} ({cause}): {self.settings.directory_url} "
                f"{'cannot be used' if down else 'refused'}: {problem}. The site is served with the "
                "certificate it has; the machine asks again every hour, and the next run does."
            )

    def serve(self) -> None:
        """Let Nginx serve the issued certificates; take a link back that Nginx does not accept."""
        moved: list[tuple[Path, str | None]] = []
        stale = False
        for name, domains in self.sites.items():
            path, home = self.settings.tls / name, self.settings.letsencrypt / "live" / name
            if Certificate.load(home) is None:
                continue
            target = str(path.readlink()) if path.is_symlink() else None
            shown = served(domains[0])
            if target != str(home):
                moved.append((path, target))
            elif shown is not None and shown != on_disk(home):
                stale = True
        if not moved and not stale:
            return
        self.changed = True
        if self.check:
            return
        for path, _ in moved:
            self._point(path, str(self.settings.letsencrypt / "live" / path.name))
        done = run(self.hook_path)
        if done.returncode:
            for path, target in moved:
                self._point(path, target)
            raise RefusedError(
                "Nginx would not serve the new certificates, so it serves on with those before: "
                f"{reason(done.stdout)}"
            )

    @staticmethod
    def _point(path: Path, target: str | None) -> None:
        if target is None:
            path.unlink()
            return
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        new = path.with_name(f".new-{path.name}")
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        new.rename(path)

    def all(self, refuse: bool) -> dict[str, Any]:
        """Do everything; return what Ansible is told."""
        self.place_hook()
        self.retire()
        needs = self.needs()
        if self.check:
            self.changed = self.changed or bool(needs)
            self.pending = needs
        elif needs:
            self.reach(needs, refuse)
            self.ask(needs)
        self.serve()
        return {
            "changed": self.changed,
            "issued": self.issued,
            "pending": self.pending,
            "kept": self.kept,
        }
