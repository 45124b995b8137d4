"""The certificate authorities that the host trusts beyond Debian's: its machines trust them too."""

import hashlib
import shutil
from pathlib import Path

from lab.command import run

LOCAL = "usr/local/share/ca-certificates"
HOST = Path("/") / LOCAL


def certificates(host: Path = HOST) -> dict[str, bytes]:
    """Return the host's own authorities: file name and content."""
    if not host.is_dir():
        return {}
    return {str(path.relative_to(host)): path.read_bytes() for path in sorted(host.glob("**/*.crt"))}


def digest(found: dict[str, bytes]) -> str:
    """Return a short name that changes when an authority does."""
    whole = hashlib.sha256()
    for name, content in found.items():
        whole.update(f"{name}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()[:12]


def give(root: Path) -> None:
    """Let a machine trust them; takes a second, or nothing if it does already."""
    wanted = certificates()
    if wanted == certificates(root / LOCAL):
        return
    shutil.rmtree(root / LOCAL, ignore_errors=True)
    for name, content in wanted.items():
        target = root / LOCAL / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    run(["chroot", str(root), "update-ca-certificates", "--fresh"])
