"""Brings certificates to the other machines behind the same names, over a key that opens nothing else.

After each renewal by Certbot's hook, every hour by the timer, and by Ansible's module. Who has it already is
asked and left alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .issuing import Certificate, Run, on_disk, read, reason, run


@dataclass(frozen=True)
class Peer:
    """Another machine, and how it is reached."""

    name: str
    address: str
    port: int


@dataclass(frozen=True)
class Share:
    """With what, and to whom."""

    key: str
    known_hosts: str
    user: str
    peers: tuple[Peer, ...]

    @classmethod
    def of(cls, given: dict[str, Any]) -> Share | None:
        """Return it as the role says it; nothing where this machine shares with nobody."""
        if not given or not given["peers"]:
            return None
        peers = tuple(Peer(each["name"], each["address"], int(each["port"])) for each in given["peers"])
        return cls(given["key"], given["known_hosts"], given["user"], peers)

    def tell(self, peer: Peer, message: dict[str, str]) -> str:
        """Return what a machine answers; in words of ssh's what kept it from answering."""
        options = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "StrictHostKeyChecking": "yes",
            # The controller has read it over a connection of its own; nobody is believed at first sight.
            "UserKnownHostsFile": f"{self.known_hosts}/{peer.name}",
            "GlobalKnownHostsFile": "none",
            "HostKeyAlias": peer.name,
            "HostKeyAlgorithms": "ssh-ed25519",
            "ConnectTimeout": "10",
            "ServerAliveInterval": "15",
            "LogLevel": "ERROR",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        done = run(
            "ssh", "-F", "none", "-T", "-i", self.key, *words, "-p", str(peer.port), "-l", self.user,
            peer.address, said=json.dumps(message), timeout=120,
        )  # fmt: skip
        lines = done.stdout.split("\n")
        answer = next((line for line in reversed(lines) if line.strip()), "")
        return answer.strip() if done.returncode == 0 else reason(done.stdout)

    def bring(self, peer: Peer, site: str, home: Path) -> str:
        """Return `same`, `taken`, or what kept a machine from taking a certificate."""
        asked = {"site": site, "digest": on_disk(home) or ""}
        answer = self.tell(peer, asked)
        if answer != "wanted":
            return answer
        pair = {"certificate": read(home / "fullchain.pem"), "key": read(home / "privkey.pem")}
        return self.tell(peer, {**asked, **pair})


def bring_all(share: Share | None, work: Run) -> list[str]:
    """Bring each certificate to each machine; return what came where, and warn of what did not."""
    came = []
    for peer in share.peers if share else ():
        for site in work.sites:
            home = work.settings.letsencrypt / "live" / site
            if Certificate.load(home) is None or share is None:
                continue
            answer = share.bring(peer, site, home)
            if answer == "taken":
                came.append(f"{site} on {peer.name}")
            elif answer != "same":
                work.warnings.append(
                    f"{peer.name} ({peer.address}) did not take the certificate of {site}: {answer}. It "
                    "serves on with what it has; this machine tries again every hour, and the next run does."
                )
    return came
