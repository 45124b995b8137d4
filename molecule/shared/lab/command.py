"""Run a command of the host, and say in one sentence when it fails."""

import shutil
import subprocess
from collections.abc import Sequence

from lab.errors import LabError


def run(argv: Sequence[str], check: bool = True, text_in: str | None = None) -> str:
    """Return what the command prints; a failure is a LabError with the end of its messages."""
    try:
        done = subprocess.run(argv, check=False, capture_output=True, text=True, input=text_in)
    except FileNotFoundError:
        raise LabError(f"the command {argv[0]} is missing") from None
    if check and done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise LabError(f"`{' '.join(argv)}` ended with code {done.returncode}: {last}")
    return done.stdout


# Command -> Debian package that brings it.
NEEDED = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "nft": "nftables",
    "dnsmasq": "dnsmasq-base",
    "pebble": "pebble",
    "openssl": "openssl",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "gpg": "gpg",
}


def missing_packages() -> dict[str, str]:
    """Return the commands that are absent, each with its Debian package."""
    return {name: package for name, package in NEEDED.items() if shutil.which(name) is None}
