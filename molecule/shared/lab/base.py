"""Base images: one Debian root filesystem per suite, built once and shared by every clone."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from lab import paths
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
# systemd-nspawn mounts cgroup v1 controllers read-only: MemoryMax= and its like would be accepted and not enforced.
for controller in memory cpu cpuacct cpu,cpuacct pids blkio; do
    if [ -d "/sys/fs/cgroup/$controller" ]; then mount -o remount,bind,rw "/sys/fs/cgroup/$controller"; fi
done
# A machine with a memory limit shows that limit, not the host's memory.
if [ -s /usr/local/lib/lab/meminfo ]; then mount --bind /usr/local/lib/lab/meminfo /proc/meminfo; fi
exec /lib/systemd/systemd
INIT
"""

# What one build needs on the disk while it runs, in bytes.
BUILD_SPACE = 2 << 30


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


def ensure(suite: str, waiting: Callable[[str], None]) -> Path:
    """Return the image, after building it if it is not there.

    Of two that want it at once, one builds and the other waits. An image appears by rename: half a one is never seen.
    """
    target = image(suite)
    if target.is_dir():
        return target
    lock = paths.cache() / "images" / f"{suite}.lock"
    with held(lock, lambda: waiting(f"another process is building the {suite} image: waiting for it")):
        if not target.is_dir():
            _build(suite, target)
            _prune(suite, target)
    return target


def _build(suite: str, target: Path) -> None:
    for half_made in target.parent.glob(f"{suite}-*.new"):
        shutil.rmtree(half_made)
    free = shutil.disk_usage(target.parent).free
    if free < BUILD_SPACE:
        raise LabError(
            f"{target.parent} has {free / 2**30:.1f} GB free and building the {suite} image needs "
            f"{BUILD_SPACE / 2**30:.0f} GB: set FASTAPI_METAL_CACHE to a directory on a larger disk"
        )
    new = target.with_name(target.name + ".new")
    log = target.with_name(f"{suite}.log")
    # In a PID namespace of its own, so that kill -9 of this process ends the build with all its children.
    fence = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--fork",
        "--pid",
        "--kill-child",
        "--mount",
        "--mount-proc",
    ]
    with log.open("w") as messages:
        done = subprocess.run(
            [*fence, *recipe(suite), str(new)],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
        )
    if done.returncode != 0:
        last = "\n".join(log.read_text(errors="replace").strip().splitlines()[-8:])
        shutil.rmtree(new, ignore_errors=True)
        raise LabError(f"building the {suite} image failed (all messages are in {log}):\n{last}")
    # mmdebstrap leaves the lists empty but fresh: apt's cache_valid_time would skip the first update.
    os.utime(new / "var/lib/apt/lists", (0, 0))
    new.rename(target)


def _prune(suite: str, target: Path) -> None:
    """Remove images of older recipes, but none that a machine or a snapshot stands on."""
    kept = {(snapshot / "base").read_text().strip() for snapshot in (paths.cache() / "snapshots").glob("*/")}
    for old in target.parent.glob(f"{suite}-*/"):
        if old != target and str(old) not in kept and not in_use(old):
            shutil.rmtree(old)
