#!/usr/bin/python
"""Land Nginx's configuration as one set that `nginx -t` has accepted, and load it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import ssl
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from fastapi_metal.machine.files import replace
else:
    from ansible.module_utils.fastapi_metal.machine.files import replace

DOCUMENTATION = r"""
module: nginx_config
short_description: Land Nginx's configuration as one set that was tested
description:
  - The new files are tested beside the live ones; only a set that C(nginx -t) accepts is put in place.
    A refused set changes nothing, so the previous configuration stays and serves.
  - A site without a readable certificate gets a temporary, self-signed one, marked as such.
  - A running Nginx loads what changed. The module waits until new worker processes are there, since
    Nginx answers a reload before it has tried it.
author: fastapi-metal
options:
  main:
    description: Content of nginx.conf.
    type: str
    required: true
  sites:
    description: Content of each file in sites-enabled, by the site's name.
    type: dict
    required: true
  certificates:
    description: Server names of each site whose certificate comes from an authority, by the site's name.
    type: dict
    required: true
  selfsigned:
    description: Server names of each site that has a self-signed certificate for good, by the site's name.
    type: dict
    default: {}
  pairs:
    description: The C(certificate) and C(key) of each site that brings its own, by the site's name.
    type: dict
    default: {}
  unit:
    description: Content of the drop-in of nginx.service.
    type: str
    required: true
  webroot:
    description: Directory of the ACME answers.
    type: path
    required: true
  directory:
    description: Nginx's configuration directory.
    type: path
    default: /etc/nginx
  unit_directory:
    description: Directory of the drop-in.
    type: path
    default: /etc/systemd/system/nginx.service.d
  marker:
    description: File that says that a changed configuration was not loaded yet; survives an interrupted run.
    type: path
    default: /run/fastapi-metal-nginx-pending
"""

EXAMPLES = r"""
- name: config | Serve one site
  nginx_config:
    main: "{{ lookup('ansible.builtin.template', 'nginx.conf.j2') }}"
    sites: {shop: "{{ lookup('ansible.builtin.template', 'site.conf.j2') }}"}
    certificates: {shop: [shop.example.org]}
    unit: "{{ lookup('ansible.builtin.template', 'nginx.service.conf.j2') }}"
    webroot: /var/www/acme
"""

RETURN = r"""
temporary:
  description: Sites that are served with a temporary certificate.
  returned: always
  type: list
"""

# The first line of each file of ours in sites-enabled: what carries it and is wanted no more is removed.
MARK = "# fastapi-metal: site"
TEMPORARY = "temporary certificate of fastapi-metal"
SELFSIGNED = "self-signed certificate of fastapi-metal"
KINDS = (".temporary", ".selfsigned", ".own", ".shared")
PROC = Path("/proc")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class RefusedError(Exception):
    """A sentence for the user."""


def search_path() -> str:
    """Return where commands are looked for; a login shell's PATH may lack sbin."""
    return os.environ.get("PATH", PATH) + ":" + PATH


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command with a plain environment."""
    environment = {"PATH": search_path(), "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, env=environment
    )


def read(path: Path) -> str | None:
    """Return a file's text, None when there is none."""
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None


def spoilt(path: Path, mode: int) -> str:
    """Tell in a line which mode and owner a file has, if they are not ours; else nothing."""
    try:
        found = path.stat()
    except OSError:
        return ""
    if stat.S_IMODE(found.st_mode) == mode and (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid()):
        return ""
    return f"# mode {stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid}:{found.st_gid}\n"


def link(path: Path, target: str) -> None:
    """Let a link point elsewhere in one step."""
    new = path.with_name(f".new-{path.name}")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.rename(path)


def is_readable_pair(directory: Path) -> bool:
    """Tell whether certificate and key are there, can be read and belong together."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            directory / "fullchain.pem", directory / "privkey.pem", password=""
        )
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        return False
    return True


def refusal(output: str) -> str:
    """Return Nginx's own words on what it cannot read, without its prefix."""
    for line in output.splitlines():
        match = re.search(r"\[(?:emerg|crit|alert)\] (?:\d+#\d+: )?(.*)", line)
        if match:
            return match[1].rstrip(".")
    return output.strip() or "no reason given"


class Change:
    """One file that is made, changed or removed, and the way back."""

    def __init__(self, path: Path, before: str | None, after: str | None) -> None:
        self.path, self.before, self.after = path, before, after
        self._target = str(path.readlink()) if path.is_symlink() else None
        self._text = read(path)

    def diff(self) -> dict[str, str]:
        """Return the change as `--diff` prints it."""
        name = str(self.path)
        return {
            "before_header": name,
            "after_header": name,
            "before": self.before or "",
            "after": self.after or "",
        }

    def land(self) -> None:
        """Put the new text in place."""
        self._put(self.after)

    def revert(self) -> None:
        """Put back what was there."""
        if self._target is not None:
            link(self.path, self._target)
        else:
            self._put(self._text)

    def _put(self, text: str | None) -> None:
        if text is None:
            self.path.unlink(missing_ok=True)
        else:
            self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            replace(self.path, text.encode(), 0o644)


class Home:
    """Where the pair of one site is to lie, and how it comes there."""

    def __init__(self, place: str, subject: str = "", pair: dict[str, str] | None = None) -> None:
        # Below `tls/`, as its link says it.
        self.place = place
        self.subject, self.pair = subject, pair


class Tls:
    """The certificates under `tls/`: each site's directory is a link, or the user's own directory.

    A site whose certificate Certbot brings keeps the link that it has. One that brings its own, or has a
    self-signed one for good, has its link led to it.
    """

    def __init__(
        self,
        directory: Path,
        asked: dict[str, list[str]],
        selfsigned: dict[str, list[str]] | None = None,
        pairs: dict[str, dict[str, str]] | None = None,
    ) -> None:
        self.directory = directory
        self.temporary = directory / ".temporary"
        self.asked, self.selfsigned, self.pairs = asked, selfsigned or {}, pairs or {}
        self.sites = {*asked, *self.selfsigned, *self.pairs}

    def home(self, site: str) -> Home:
        """Return where a site's pair lies by the wish of the inventory."""
        if site in self.pairs:
            pair = self.pairs[site]
            text = pair["certificate"] + pair["key"]
            return Home(f".own/{site}-{hashlib.sha256(text.encode()).hexdigest()[:16]}", pair=pair)
        if site in self.selfsigned:
            names = hashlib.sha256(" ".join(self.selfsigned[site]).encode()).hexdigest()[:16]
            return Home(f".selfsigned/{site}-{names}", SELFSIGNED)
        return Home(f".temporary/{site}", TEMPORARY)

    def missing(self) -> list[str]:
        """Return the sites that cannot be served as they are; a directory made by hand is left alone."""
        return [
            site
            for site in sorted(self.sites)
            if self._is_ours(site) and not is_readable_pair(self.directory / site)
        ]

    def moved(self) -> list[str]:
        """Return the sites that are served with another pair than the inventory wants."""
        return [site for site in sorted({*self.selfsigned, *self.pairs}) if not self._is_at_home(site)]

    def _is_at_home(self, site: str) -> bool:
        path, home = self.directory / site, self.home(site)
        if not path.is_symlink() or str(path.readlink()) != home.place or not is_readable_pair(path):
            return False
        return spoilt(path / "privkey.pem", 0o600) == ""

    def by_hand(self) -> list[str]:
        """Return the sites that shall have a certain pair, and have a directory that somebody has made."""
        return [site for site in sorted({*self.selfsigned, *self.pairs}) if not self._is_ours(site)]

    def _is_ours(self, site: str) -> bool:
        path = self.directory / site
        return path.is_symlink() or not path.exists()

    def served_temporarily(self) -> list[str]:
        """Return the sites whose certificate is a temporary one."""
        homes = {site: (self.directory / site).resolve().parent for site in self.sites}
        return sorted(site for site, home in homes.items() if home == self.temporary.resolve())

    def unwanted(self) -> list[Path]:
        """Return links of sites that are gone, and pairs to which no link leads."""
        links = [path for path in self.directory.glob("[!.]*") if path.is_symlink()]
        gone = [path for path in links if path.name not in self.sites]
        used = {str(path.readlink()) for path in links if path not in gone}
        # A site whose certificate has come since keeps its temporary pair for a day on which that is broken.
        used |= {f".temporary/{site}" for site in self.asked}
        pairs = [path for kind in KINDS for path in (self.directory / kind).glob("[!.]*")]
        return sorted([*gone, *(path for path in pairs if f"{path.parent.name}/{path.name}" not in used)])

    def make(self, site: str) -> None:
        """Have a site's pair where it belongs. No link is led there yet."""
        wanted = self.home(site)
        home = self.directory / wanted.place
        if is_readable_pair(home) and spoilt(home / "privkey.pem", 0o600) == "":
            return
        home.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        shutil.rmtree(home, ignore_errors=True)
        new = Path(tempfile.mkdtemp(dir=home.parent, prefix=".new-"))
        try:
            if wanted.pair:
                self._write(new, wanted.pair)
            else:
                self._sign(new, wanted.subject, {**self.asked, **self.selfsigned}[site])
            if not is_readable_pair(new):
                raise RefusedError(f"The certificate and the key of {site} do not belong together.")
        except RefusedError:
            shutil.rmtree(new)
            raise
        new.chmod(0o755)
        new.rename(home)

    @staticmethod
    def _write(home: Path, pair: dict[str, str]) -> None:
        (home / "fullchain.pem").write_text(pair["certificate"])
        with os.fdopen(os.open(home / "privkey.pem", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(pair["key"])

    @staticmethod
    def _sign(home: Path, subject: str, names: list[str]) -> None:
        done = run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "3650", "-keyout", home / "privkey.pem", "-out", home / "fullchain.pem",
            "-subj", f"/CN={subject}",
            "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names),
        )  # fmt: skip
        if done.returncode:
            raise RefusedError(f"openssl made no certificate for {names[0]}: {done.stderr.strip()}")
        (home / "privkey.pem").chmod(0o600)

    def lead(self, site: str) -> None:
        """Let a site's link point to its pair."""
        link(self.directory / site, self.home(site).place)


class Lead:
    """A link that is led to another pair, and the way back."""

    def __init__(self, tls: Tls, site: str) -> None:
        self._tls, self._site = tls, site
        self._path = tls.directory / site
        self.before = str(self._path.readlink()) if self._path.is_symlink() else ""

    def diff(self) -> dict[str, str]:
        """Return the change as `--diff` prints it: which pair, and nothing of what is in it."""
        name, place = str(self._path), self._tls.home(self._site).place
        before = f"-> {self.before}\n" if self.before else ""
        return {"before_header": name, "after_header": name, "before": before, "after": f"-> {place}\n"}

    def land(self) -> None:
        """Lead it there."""
        self._tls.lead(self._site)

    def revert(self) -> None:
        """Lead it back."""
        if self.before:
            link(self._path, self.before)


class Configuration:
    """The wanted files, against those that are there."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.home = Path(params["directory"])
        self.enabled = self.home / "sites-enabled"
        pairs = params.get("pairs"), params.get("selfsigned")
        self.tls = Tls(self.home / "tls", params["certificates"], pairs[1], pairs[0])
        self.webroot = Path(params["webroot"])
        self.marker = Path(params["marker"])
        self.unit = Path(params["unit_directory"]) / "fastapi-metal.conf"
        self.unit_text = params["unit"].rstrip("\n") + "\n"
        self.wanted: dict[Path, str] = {self.home / "nginx.conf": params["main"].rstrip("\n") + "\n"}
        for name, text in params["sites"].items():
            self.wanted[self.enabled / f"{name}.conf"] = f"{MARK} {name}\n{text.rstrip()}\n"

    def stale(self) -> list[Path]:
        """Return what must go from sites-enabled: sites of ours that are gone, and Debian's welcome page."""
        found = []
        for path in sorted(self.enabled.glob("[!.]*")):
            welcome = path.name == "default" and path.is_symlink()
            ours = (read(path) or "").startswith(MARK) if path.is_file() else False
            if path not in self.wanted and (ours or welcome):
                found.append(path)
        return found

    def changes(self) -> list[Change]:
        """Return each file that is not as wanted, in text, mode or owner."""
        texts: dict[Path, str | None] = {**self.wanted, self.unit: self.unit_text}
        found = [
            Change(path, (spoilt(path, 0o644) + text) if (text := read(path)) is not None else None, after)
            for path, after in texts.items()
        ]
        return [change for change in found if change.before != change.after] + [
            Change(path, read(path) or "", None) for path in self.stale()
        ]

    def test(self) -> None:
        """Ask Nginx about the wanted files, in a copy of its directory that differs in nothing else."""
        with tempfile.TemporaryDirectory(prefix="nginx-") as name:
            stage = Path(name)
            for path in self.home.iterdir():
                if path.name not in ("nginx.conf", "sites-enabled"):
                    (stage / path.name).symlink_to(path)
            (stage / "sites-enabled").mkdir()
            gone = self.stale()
            for path in self.enabled.glob("[!.]*"):
                if path not in self.wanted and path not in gone:
                    (stage / "sites-enabled" / path.name).symlink_to(path)
            for path, text in self.wanted.items():
                (stage / path.relative_to(self.home)).write_text(text)
            done = run("nginx", "-t", "-q", "-c", stage / "nginx.conf")
            if done.returncode:
                words = refusal(done.stderr).replace(str(stage), str(self.home))
                raise RefusedError(
                    f"Nginx refused the new configuration: {words}. Nothing was changed, and what served "
                    "before serves on: correct nginx_sites, or the file that is named, and run again."
                )


class Service:
    """The running Nginx."""

    def __init__(self, name: str = "nginx.service") -> None:
        self.name = name

    def master(self) -> str:
        """Return the process id of the running master, an empty text when none runs."""
        done = run("systemctl", "show", "--value", "-p", "MainPID", self.name)
        pid = done.stdout.strip()
        return "" if done.returncode or pid in ("", "0") else pid

    @staticmethod
    def workers(master: str) -> set[str]:
        """Return the process ids of the master's children."""
        found = set()
        for path in PROC.glob("[0-9]*/stat"):
            try:
                text = path.read_text(errors="replace")
            except OSError:
                # It has ended since: before the file was opened, or between that and the reading (ESRCH).
                continue
            # The name in parentheses may hold anything; the state and the parent's id follow it.
            if text.rpartition(")")[2].split()[1:2] == [master]:
                found.add(path.parent.name)
        return found

    def load(self) -> None:
        """Let a running Nginx load what is on disk, and wait for the workers that do."""
        run("systemctl", "daemon-reload")
        master = self.master()
        if not master:
            return
        before = self.workers(master)
        log = Path("/var/log/nginx/error.log")
        offset = log.stat().st_size if log.exists() else 0
        done = run("systemctl", "reload", self.name)
        end = time.monotonic() + 10
        while not done.returncode and time.monotonic() < end:
            if self.workers(master) - before:
                return
            time.sleep(0.05)
        said = ""
        if log.exists():
            with log.open() as file:
                file.seek(offset)
                said = file.read()
        raise RefusedError(
            f"Nginx did not load the new configuration: {refusal(said or done.stderr)}. It serves on with "
            "the one before; free what is in its way and run again."
        )


def land(configuration: Configuration, service: Service, changes: list[Change | Lead]) -> None:
    """Put the tested files in place and have them loaded; take them back if Nginx will not load them."""
    configuration.marker.touch()
    configuration.webroot.mkdir(mode=0o755, parents=True, exist_ok=True)
    configuration.webroot.chmod(0o755)
    for change in changes:
        change.land()
    try:
        service.load()
    except RefusedError:
        for change in changes:
            change.revert()
        run("systemctl", "daemon-reload")
        configuration.marker.unlink()
        raise
    for path in configuration.tls.unwanted():
        path.unlink() if path.is_symlink() else shutil.rmtree(path)
    configuration.marker.unlink()


def apply(configuration: Configuration, service: Service, check: bool) -> dict[str, Any]:
    """Bring the machine to the wanted state; return what Ansible is told."""
    tls = configuration.tls
    if tls.by_hand() and not check:
        listed = ", ".join(str(tls.directory / site) for site in tls.by_hand())
        raise RefusedError(
            f"{listed} was made by hand, and the inventory names another certificate for the site: move it "
            "away, or take `web.tls` out."
        )
    missing, moved = tls.missing(), tls.moved()
    changes: list[Change | Lead] = [*configuration.changes(), *(Lead(tls, site) for site in moved)]
    webroot = configuration.webroot
    changed = bool(
        missing
        or changes
        or tls.unwanted()
        or not webroot.is_dir()
        or spoilt(webroot, 0o755)
        or configuration.marker.exists()
    )
    if not check:
        for site in {*missing, *moved}:
            tls.make(site)
        for site in missing:
            tls.lead(site)
    # In check mode a missing certificate stays missing, and Nginx would complain about nothing else.
    if shutil.which("nginx", path=search_path()) and not (check and missing):
        configuration.test()
    if changed and not check:
        land(configuration, service, changes)
    return {
        "changed": changed,
        "diff": [change.diff() for change in changes],
        "temporary": tls.served_temporarily(),
    }


def main() -> None:
    """Speak to Ansible."""
    module = AnsibleModule(
        argument_spec={
            "main": {"type": "str", "required": True},
            "sites": {"type": "dict", "required": True},
            "certificates": {"type": "dict", "required": True},
            "selfsigned": {"type": "dict", "default": {}},
            "pairs": {"type": "dict", "default": {}, "no_log": True},
            "unit": {"type": "str", "required": True},
            "webroot": {"type": "path", "required": True},
            "directory": {"type": "path", "default": "/etc/nginx"},
            "unit_directory": {"type": "path", "default": "/etc/systemd/system/nginx.service.d"},
            "marker": {"type": "path", "default": "/run/fastapi-metal-nginx-pending"},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    try:
        result = apply(Configuration(module.params), Service(), module.check_mode)
    except RefusedError as sentence:
        module.fail_json(msg=str(sentence))
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
