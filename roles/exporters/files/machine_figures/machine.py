"""What takes longer to find out: certificates, packages, whether a reboot is due."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .config import Config
from .text import Figures

# The subject that role nginx gives to what a site shows until an authority's certificate is there.
TEMPORARY = "temporary certificate of fastapi-metal"


@dataclass(frozen=True)
class Certificate:
    """What matters of one."""

    ends: float
    temporary: bool


def certificate(path: Path) -> Certificate | None:
    """Return what a file holds, nothing if it is no certificate."""
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-enddate", "-subject", "-in", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    if done.returncode != 0:
        return None
    # notAfter=Nov 22 06:31:34 2026 GMT
    said = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    ends = datetime.strptime(said["notAfter"].strip().removesuffix(" GMT"), "%b %d %H:%M:%S %Y")
    return Certificate(ends.replace(tzinfo=UTC).timestamp(), TEMPORARY in said.get("subject", ""))


def certificates(config: Config) -> Figures:
    """Return when each site's certificate ends, and which is temporary; a site without one is left out."""
    figures = Figures()
    figures.describe("certificate_expiry_timestamp_seconds", "When the certificate of a site ends.")
    figures.describe("certificate_temporary", "1 while a site shows what no authority has issued.")
    for site, place in sorted(config.certificates.items()):
        found = certificate(config.root / place.lstrip("/"))
        if found is not None:
            figures.add("certificate_expiry_timestamp_seconds", found.ends, site=site)
            figures.add("certificate_temporary", found.temporary, site=site)
    return figures


def upgrades(listed: str) -> tuple[int, int]:
    """Return how many packages apt would upgrade, and how many of them for security."""
    lines = [line for line in listed.splitlines() if line.startswith("Inst ")]
    return len(lines), sum("-security" in line or "Debian-Security" in line for line in lines)


def reboot_required(config: Config) -> bool:
    """Tell whether an upgrade asks for a reboot, or a kernel is newer than the one that runs."""
    if (config.root / "run/reboot-required").exists():
        return True
    booted = 0.0
    for line in (config.root / "proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            booted = float(line.split()[1])
    kernels = [path.stat().st_mtime for path in (config.root / "boot").glob("vmlinuz-*")]
    return bool(booted) and max(kernels, default=0.0) > booted


def packages(config: Config, listed: str | None = None) -> Figures:
    """Return what waits to be upgraded. apt only plans: nothing is fetched or changed."""
    figures = Figures()
    figures.describe("host_updates_pending", "Packages that apt would upgrade.")
    figures.describe("host_security_updates_pending", "Those of them that mend security.")
    figures.describe("host_reboot_required", "1 when the machine ought to be rebooted.")
    if listed is None:
        command = ["apt-get", "--simulate", "--quiet", "-o", "Debug::NoLocking=1", "dist-upgrade"]
        listed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout
    every, security = upgrades(listed)
    figures.add("host_updates_pending", every)
    figures.add("host_security_updates_pending", security)
    figures.add("host_reboot_required", reboot_required(config))
    return figures
