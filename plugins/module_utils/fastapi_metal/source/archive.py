"""A source that is an archive: a tarball, a zip file or a wheel, on the controller or behind an address."""

import base64
import hashlib
import shutil
import stat
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from ..apps.sentences import sentence
from .git import Address, address
from .tree import SourceError

PATIENCE = 60
BLOCK = 1024 * 1024
TARBALLS = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar")
FORMATS = (*TARBALLS, ".zip", ".whl")


def is_address(archive: str) -> bool:
    """Tell an address from a path."""
    return archive.startswith(("http://", "https://"))


def file_name(archive: str) -> str:
    """Return the name of the archive's file."""
    return PurePosixPath(unquote(urlsplit(archive).path) if is_address(archive) else archive).name


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(account: Address, variable: str, cache: Path, wanted: str) -> Path:
    """Return the file behind an address, whose hash is known before."""
    kept = cache / "archives" / wanted
    if kept.is_file() and digest(kept) == wanted:
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    request = urllib.request.Request(account.url)  # noqa: S310 - validation lets http and https alone in
    if account.password:
        token = base64.b64encode(f"{account.user}:{account.password}".encode()).decode()
        # Another server, to which this one may send us, does not get it.
        request.add_unredirected_header("Authorization", f"Basic {token}")
    with tempfile.TemporaryDirectory(dir=kept.parent) as place:
        received = Path(place) / "archive"
        try:
            with (
                urllib.request.urlopen(request, timeout=PATIENCE) as answer,  # noqa: S310 - as above
                received.open("wb") as file,
            ):
                shutil.copyfileobj(answer, file, BLOCK)
        except (OSError, urllib.error.URLError) as error:
            raise SourceError(
                sentence(
                    f"{variable}.archive",
                    f"cannot be fetched from {account.url} ({error})",
                    f"`curl -fI {account.url}` on the controller shows more",
                )
            ) from error
        refuse_another(received, variable, wanted)
        received.replace(kept)
    return kept


def refuse_another(path: Path, variable: str, wanted: str) -> None:
    """Refuse a file that has another hash."""
    found = digest(path)
    if found != wanted:
        raise SourceError(
            sentence(
                f"{variable}.checksum",
                f"is sha256:{wanted}, but the archive has sha256:{found}",
                "find out which one its publisher names before you change it",
            )
        )


def inside(name: str, variable: str) -> PurePosixPath:
    """Return where a member of an archive belongs, which must be below its root."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise SourceError(
            sentence(
                f"{variable}.archive",
                f"holds {name}, which leads out of it",
                "use an archive with relative names only",
            )
        )
    return path


def unpack_tarball(path: Path, target: Path, variable: str) -> None:
    """Unpack regular files and links; links come last, so that nothing is written through one."""
    links: list[tuple[Path, str]] = []
    with tarfile.open(path) as tar:
        for member in tar:
            place = target / inside(member.name, variable)
            if member.issym():
                links.append((place, member.linkname))
                continue
            if member.islnk():
                inside(member.linkname, variable)
            file = tar.extractfile(member) if member.isreg() or member.islnk() else None
            if file is None:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as copy:
                shutil.copyfileobj(file, copy)
            place.chmod(0o755 if member.mode & 0o100 else 0o644)
    for place, linked in links:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(linked)


def unpack_zip(path: Path, target: Path, variable: str) -> None:
    """Unpack regular files."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            place = target / inside(member.filename, variable)
            if member.is_dir():
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(member))
            place.chmod(0o755 if (member.external_attr >> 16) & stat.S_IXUSR else 0o644)


def lift(target: Path) -> None:
    """Take away the one directory that most archives have around everything."""
    entries = list(target.iterdir())
    if len(entries) == 1 and entries[0].is_dir() and not entries[0].is_symlink():
        above = entries[0].rename(target / ".lifted")
        for entry in list(above.iterdir()):
            entry.rename(target / entry.name)
        above.rmdir()


def obtain_archive(source: dict[str, str | None], variable: str, cache: Path, target: Path) -> str:
    """Unpack an archive into a directory and return where it came from. A wheel stays as it is."""
    archive, checksum = source["archive"] or "", source.get("checksum") or ""
    account = address(archive) if is_address(archive) else Address(archive)
    wanted = checksum.removeprefix("sha256:").lower()
    if is_address(archive):
        path = download(account, variable, cache, wanted)
    else:
        path = Path(archive)
        if not path.is_file():
            raise SourceError(
                sentence(f"{variable}.archive", f"is {archive}, which is no file", "name one that exists")
            )
        if wanted:
            refuse_another(path, variable, wanted)
    name = file_name(account.url)
    try:
        if name.endswith(".whl"):
            shutil.copyfile(path, target / name)
        elif name.endswith(".zip"):
            unpack_zip(path, target, variable)
        else:
            unpack_tarball(path, target, variable)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise SourceError(
            sentence(
                f"{variable}.archive",
                f"cannot be unpacked ({error})",
                f"use a file of one of these kinds: {', '.join(FORMATS)}",
            )
        ) from error
    if not name.endswith(".whl"):
        lift(target)
    return f"archive {account.url} (sha256:{digest(path)})"
