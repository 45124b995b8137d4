"""Base images: one Debian root filesystem per suite, built once and shared by every clone."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lab import authorities, paths
from lab.errors import LabError
from lab.lock import held
from lab.mounts import in_use

PACKAGES = (
    "systemd-sysv,dbus,openssh-server,python3,python3-apt,sudo,iproute2,iputils-ping,ca-certificates,curl,"
    "nftables,libpam-systemd,libnss-systemd,procps,acl,gpg"
)

# Runs on the host with the new root as $1, after the packages are in.
CUSTOMISE = r"""set -eu
systemctl --root="$1" enable systemd-networkd.service ssh.service
systemctl --root="$1" mask systemd-networkd-wait-online.service
rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/machine-id "$1"/etc/hostname "$1"/etc/resolv.conf
echo LANG=C.UTF-8 >"$1"/etc/default/locale
chroot "$1" useradd --create-home --shell /bin/bash admin
install -d -m 0700 "$1"/home/admin/.ssh
chroot "$1" chown admin:admin /home/admin/.ssh
echo 'admin ALL=(ALL) NOPASSWD: ALL' >"$1"/etc/sudoers.d/admin
chmod 0440 "$1"/etc/sudoers.d/admin
install -D -m 0755 /dev/stdin "$1"/usr/local/sbin/lab-init <<'INIT'
#!/bin/sh
# systemd-nspawn mounts cgroup v1 controllers read-only: MemoryMax= would be accepted and not enforced.
for controller in memory cpu cpuacct cpu,cpuacct pids blkio; do
    if [ -d "/sys/fs/cgroup/$controller" ]; then mount -o remount,bind,rw "/sys/fs/cgroup/$controller"; fi
done
# A machine with a memory limit shows that limit, not the host's memory.
if [ -s /usr/local/lib/lab/meminfo ]; then mount --bind /usr/local/lib/lab/meminfo /proc/meminfo; fi
exec /lib/systemd/systemd
INIT
"""

# Makes the layer $2: what changes when the image $1 trusts the host's authorities. It runs in a mount
# namespace of its own: whatever happens to it, no mount stays.
TRUST = r"""set -eu
mkdir "$2" "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
"$3" -c 'import pathlib, sys, lab.authorities; lab.authorities.give(pathlib.Path(sys.argv[1]))' "$2/root"
umount "$2/root"
"""

# What one build needs on the disk while it runs, in bytes.
BUILD_SPACE = 2 << 30

# What is begun here in PID and mount namespaces of its own ends with this process, also after kill -9.
FENCE = [
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--fork", "--pid", "--kill-child", "--mount", "--mount-proc"),
]


def recipe(suite: str) -> list[str]:
    """Return the command that makes an image, without its target."""
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--mode=root",
        "--format=directory",
        f"--include={PACKAGES}",
        f"--customize-hook={CUSTOMISE}",
        suite,
    ]


def image(suite: str) -> Path:
    """Return where the image of this suite and this recipe is, built or not."""
    digest = hashlib.sha256("\0".join(recipe(suite)).encode()).hexdigest()[:12]
    return paths.cache() / "images" / f"{suite}-{digest}"


def layers(suite: str) -> list[Path]:
    """Return what a clone stands on, uppermost first: the host's authorities, if any, and the image."""
    own = authorities.certificates()
    below = image(suite)
    if not own:
        return [below]
    return [below.with_name(f"{below.name}-ca-{authorities.digest(own)}") / "upper", below]


def built(suite: str) -> bool:
    """Tell whether all layers are there."""
    return all(layer.is_dir() for layer in layers(suite))


def ensure(suite: str, waiting: Callable[[str], None]) -> None:
    """Build what is not there.

    Of two that want it at once, one builds and the other waits. A layer appears by rename: half a one is
    never seen.
    """
    if built(suite):
        return
    images = paths.cache() / "images"
    lock = images / f"{suite}.lock"
    with held(lock, lambda: waiting(f"another process is building {suite}: waiting for it")):
        for half_made in images.glob(f"{suite}-*.new"):
            shutil.rmtree(half_made)
        target = image(suite)
        if not target.is_dir():
            _build(suite, target)
        if not built(suite):
            _trust(suite, target, layers(suite)[0].parent)
        _prune(suite)


def _build(suite: str, target: Path) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < BUILD_SPACE:
        raise LabError(
            f"{target.parent} has {free / 2**30:.1f} GB free and building the {suite} image needs "
            f"{BUILD_SPACE / 2**30:.0f} GB: set FASTAPI_METAL_CACHE to a directory on a larger disk"
        )
    new = target.with_name(target.name + ".new")
    _run([*recipe(suite), str(new)], suite, new)
    # mmdebstrap leaves the lists empty but fresh: apt's cache_valid_time would skip the first update.
    os.utime(new / "var/lib/apt/lists", (0, 0))
    new.rename(target)


def _trust(suite: str, below: Path, target: Path) -> None:
    new = target.with_name(target.name + ".new")
    _run(["sh", "-c", TRUST, "trust", str(below), str(new), sys.executable], suite, new)
    new.rename(target)


def _run(argv: list[str], suite: str, new: Path) -> None:
    log = new.with_name(f"{suite}.log")
    try:
        with log.open("w") as messages:
            done = subprocess.run(
                [*FENCE, *argv], check=False, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages
            )
        if done.returncode != 0:
            last = "\n".join(log.read_text(errors="replace").strip().splitlines()[-8:])
            raise LabError(f"building the {suite} image failed (all messages are in {log}):\n{last}")
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def snapshot_layers(snapshot: Path) -> list[Path]:
    """Return what a snapshot stands on."""
    return [Path(line) for line in (snapshot / "layers").read_text().splitlines()]


def _prune(suite: str) -> None:
    """Remove layers of older recipes, but none that a machine or a snapshot stands on."""
    kept = layers(suite)
    for snapshot in (paths.cache() / "snapshots").glob("[!.]*/"):
        kept += snapshot_layers(snapshot)
    for old in (paths.cache() / "images").glob(f"{suite}-*/"):
        if not any(layer.is_relative_to(old) for layer in kept) and not in_use(old):
            shutil.rmtree(old)
