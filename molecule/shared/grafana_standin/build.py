"""Build the stand-in package and a signed apt repository around it."""

import contextlib
import fcntl
import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import VERSION

SOURCE = Path(__file__).parent
# Every file carries this time, so that the same sources give the same package, byte for byte.
EPOCH = 1_700_000_000
EXECUTABLE = ("DEBIAN/postinst", "DEBIAN/prerm", "usr/sbin/*", "usr/share/grafana/bin/*")
# The package is for all architectures; apt asks for the index of the machine's own.
ARCHITECTURES = ("amd64", "arm64")
POOL = f"pool/main/g/grafana/grafana_{VERSION}_all.deb"
NEEDED = {"dpkg-deb": "dpkg", "gpg": "gpg", "gpgconf": "gpgconf"}


class BuildError(Exception):
    """The repository could not be built; the message says what is missing or failed."""


def build(outdir: Path) -> bool:
    """Make the repository in `outdir`; return False when what is there was made from the same sources.

    The signing key is made for this one build and thrown away after it: nobody can sign another package
    with it, and each build has a key of its own (`key.asc`).
    """
    missing = sorted(package for command, package in NEEDED.items() if shutil.which(command) is None)
    if missing:
        raise BuildError(f"install these Debian packages first: {' '.join(missing)}")
    outdir = outdir.absolute()
    outdir.parent.mkdir(parents=True, exist_ok=True)
    with _lock(outdir.with_name(f".{outdir.name}.lock")):
        stamp = outdir / "SOURCES"
        digest = source_digest()
        if stamp.is_file() and stamp.read_text() == digest:
            return False
        with tempfile.TemporaryDirectory(prefix=f".{outdir.name}.", dir=outdir.parent) as temporary:
            fresh = Path(temporary, "fresh")
            _make_package(fresh / POOL)
            _make_repository(fresh)
            (fresh / "SOURCES").write_text(digest)
            if outdir.exists():
                outdir.rename(Path(temporary, "old"))
            fresh.rename(outdir)
    return True


def source_digest() -> str:
    """Return a digest of everything that the package is made from, and of this builder."""
    digest = hashlib.sha256(VERSION.encode())
    for path in _sources():
        digest.update(f"\0{path.relative_to(SOURCE)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources() -> list[Path]:
    return sorted(
        path
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.relative_to(SOURCE).parts
    )


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _make_package(target: Path) -> None:
    target.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary)
        tree.chmod(0o755)
        shutil.copytree(SOURCE / "package", tree, dirs_exist_ok=True)
        library = tree / "usr/share/grafana/standin/grafana_standin"
        shutil.copytree(SOURCE / "server", library / "server", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(SOURCE / "__init__.py", library)
        control = tree / "DEBIAN/control"
        control.write_text(control.read_text().replace("@VERSION@", VERSION))
        _set_modes_and_times(tree)
        # gzip can be unpacked by every dpkg; the time comes from SOURCE_DATE_EPOCH.
        _run(["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(tree), str(target)])


def _set_modes_and_times(tree: Path) -> None:
    executable = {path for pattern in EXECUTABLE for path in tree.glob(pattern)}
    for path in sorted(tree.rglob("*"), reverse=True):
        path.chmod(0o755 if path.is_dir() or path in executable else 0o644)
        os.utime(path, (EPOCH, EPOCH))
    os.utime(tree, (EPOCH, EPOCH))


def _make_repository(root: Path) -> None:
    suite = root / "dists/stable"
    packages = _packages_entry(root)
    for architecture in ARCHITECTURES:
        index = suite / f"main/binary-{architecture}/Packages"
        index.parent.mkdir(parents=True)
        index.write_text(packages)
        index.with_name("Packages.gz").write_bytes(gzip.compress(packages.encode(), mtime=0))
    release = suite / "Release"
    release.write_text(_release(suite))
    _sign(release, root / "key.asc")


def _packages_entry(root: Path) -> str:
    deb = root / POOL
    content = deb.read_bytes()
    fields = _run(["dpkg-deb", "--field", str(deb)]).strip()
    return (
        f"{fields}\nFilename: {POOL}\nSize: {len(content)}\n"
        f"SHA256: {hashlib.sha256(content).hexdigest()}\nSHA512: {hashlib.sha512(content).hexdigest()}\n\n"
    )


def _release(suite: Path) -> str:
    lines = [
        "Origin: fastapi-metal lab",
        "Label: stand-in for Grafana",
        "Suite: stable",
        "Codename: stable",
        "Date: Tue, 14 Nov 2023 22:13:20 UTC",
        f"Architectures: {' '.join(ARCHITECTURES)}",
        "Components: main",
        "Description: Not Grafana: a stand-in for tests",
        "SHA256:",
    ]
    for index in sorted(suite.glob("main/*/*")):
        content = index.read_bytes()
        lines.append(f" {hashlib.sha256(content).hexdigest()} {len(content)} {index.relative_to(suite)}")
    return "\n".join(lines) + "\n"


def _sign(release: Path, public_key: Path) -> None:
    # Not below the output: gpg-agent's socket path may hold 107 bytes only.
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--yes", "--no-tty"]
        try:
            identity = "fastapi-metal lab (stand-in for Grafana)"
            _run([*gpg, "--passphrase", "", "--quick-gen-key", identity, "ed25519", "sign", "never"])
            public_key.write_text(_run([*gpg, "--armor", "--export"]))
            _run(
                [
                    *gpg,
                    "--digest-algo",
                    "SHA512",
                    "--clear-sign",
                    "--output",
                    f"{release.parent}/InRelease",
                    str(release),
                ]
            )
            _run(
                [
                    *gpg,
                    "--digest-algo",
                    "SHA512",
                    "--armor",
                    "--detach-sign",
                    "--output",
                    f"{release}.gpg",
                    str(release),
                ]
            )
        finally:
            _run(["gpgconf", "--homedir", home, "--kill", "all"])


def _run(command: list[str]) -> str:
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(EPOCH)}
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    except subprocess.CalledProcessError as error:
        raise BuildError(f"{' '.join(command)} failed: {error.stderr.strip()}") from error
