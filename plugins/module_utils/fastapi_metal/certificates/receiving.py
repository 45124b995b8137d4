"""Takes certificates from the machine that asks for them, where several stand behind one name.

Root runs it for each connection to the socket, `python3 -m fastapi_metal.certificates.receiving SETTINGS`.
What comes is looked at as if it came from anybody: a pair that no visitor of the site would believe, or that
Nginx would not serve, changes nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from ..machine.files import point, replace
from .issuing import Certificate, RefusedError, on_disk, reason, run, served
from .relay import LARGEST

SHARED = ".shared"
CHAIN = re.compile(r"(-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n+)+")
KEY = re.compile(
    r"-----BEGIN (?P<kind>(EC |RSA )?PRIVATE KEY)-----\n[A-Za-z0-9+/=\n]+-----END (?P=kind)-----\n+"
)


class Receiver:
    """The sites of this machine whose certificates come from another one."""

    def __init__(self, tls: Path, sites: dict[str, list[str]]) -> None:
        self.tls, self.sites = tls, sites

    def answer(self, said: bytes) -> str:
        """Return what is said to one message: `same`, `wanted`, `taken`, or a refusal."""
        try:
            return self._taken(*self._read(said))
        except RefusedError as sentence:
            return f"refused: {sentence}"

    def _read(self, said: bytes) -> tuple[str, str, str, str]:
        """Return site, digest, chain and key; the last two are empty where it is only asked."""
        try:
            given = json.loads(said) if len(said) <= LARGEST else None
        except ValueError:
            given = None
        if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
            raise RefusedError("this is no message of a machine that shares certificates")
        site = given.get("site", "")
        if site not in self.sites:
            raise RefusedError(f"no site of this machine that takes certificates is called {site[:40]!r}")
        path = self.tls / site
        if path.is_dir() and not path.is_symlink():
            raise RefusedError(f"{path} was made by hand, and keeps its certificate")
        return site, given.get("digest", ""), given.get("certificate", ""), given.get("key", "")

    def _taken(self, site: str, digest: str, chain: str, key: str) -> str:
        if self._is_served(site, digest):
            return "same"
        if not chain:
            return "wanted"
        self._land(site, chain, key)
        return "taken"

    def _is_served(self, site: str, digest: str) -> bool:
        """Tell whether this certificate is here, whole, and shown by Nginx if that runs."""
        path = self.tls / site
        here = path.is_symlink() and str(path.readlink()).startswith(f"{SHARED}/")
        if not here or on_disk(path) != digest or Certificate.load(path) is None:
            return False
        return served(self.sites[site][0]) in (digest, None)

    def _land(self, site: str, chain: str, key: str) -> None:
        """Have it served, or everything as it was."""
        home = self.tls / SHARED / f"{site}-{secrets.token_hex(8)}"
        home.mkdir(mode=0o755, parents=True)
        link = self.tls / site
        before = str(link.readlink()) if link.is_symlink() else None
        try:
            for name, text, mode, form in (("fullchain", chain, 0o644, CHAIN), ("privkey", key, 0o600, KEY)):
                if not form.fullmatch(text):
                    raise RefusedError(f"{name}.pem is none")
                replace(home / f"{name}.pem", text.encode(), mode)
            self._look(site, home)
            point(link, f"{SHARED}/{home.name}")
            self._load(site, home)
        except BaseException:
            if before is not None:
                point(link, before)
            else:
                link.unlink(missing_ok=True)
            shutil.rmtree(home)
            raise
        for path in home.parent.glob(f"{site}-*"):
            if re.fullmatch(re.escape(site) + "-[0-9a-f]{16}", path.name) and path != home:
                shutil.rmtree(path)

    def _look(self, site: str, home: Path) -> None:
        """Refuse what no visitor would believe."""
        found, now = Certificate.load(home), time.time()
        if found is None:
            raise RefusedError("certificate and key do not belong together, or the key has a passphrase")
        missing = set(self.sites[site]) - found.domains
        if missing:
            listed = ", ".join(sorted(found.domains)) or "no name"
            raise RefusedError(f"it is for {listed}, and not for {', '.join(sorted(missing))}")
        if not found.begins <= now < found.ends:
            raise RefusedError("it has expired" if now >= found.ends else "it is not good yet")

    def _load(self, site: str, home: Path) -> None:
        """Have Nginx show it, which first says that it would."""
        for command in (
            ("/usr/sbin/nginx", "-t", "-q"),
            ("/usr/bin/systemctl", "try-reload-or-restart", "nginx.service"),
        ):
            done = run(*command)
            if done.returncode:
                raise RefusedError(f"Nginx would not serve it: {reason(done.stdout)}")
        # A process of before may answer for a moment. Where Nginx is off, it will show it when it starts.
        end = time.monotonic() + 10
        while served(self.sites[site][0]) not in (on_disk(home), None):
            if time.monotonic() > end:
                raise RefusedError("Nginx was told, and shows another one")
            time.sleep(0.1)


def main() -> int:
    """Answer one message."""
    os.umask(0o022)
    with Path(sys.argv[1]).open() as file:
        # One after the other, whoever else comes meanwhile.
        fcntl.flock(file, fcntl.LOCK_EX)
        given: dict[str, Any] = json.load(file)
        sites = {site["name"]: site["domains"] for site in given["sites"]}
        answer = Receiver(Path(given["tls_directory"]), sites).answer(sys.stdin.buffer.read(LARGEST + 1))
    print(answer)
    print(answer, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
