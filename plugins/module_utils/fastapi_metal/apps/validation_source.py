"""Finds what is wrong with `source`, `subdir` and `install` of an application, without any network."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement

from ..source.archive import FORMATS, is_address
from .sentences import sentence, shown

# Each kind of source, the keys that only it has, and an example of it. A relative path would begin at the
# working
# directory, which is another one for everybody.
KINDS = {
    "path": ((), '`path: "{{ inventory_dir }}/../../shop"`'),
    "git": (
        ("version", "deploy_key", "known_hosts"),
        "`git: https://git.example.org/shop.git` with `version: v1.4.2`",
    ),
    "package": ((), "`package: shop==1.4.2`"),
    "archive": (
        ("checksum",),
        "`archive: https://files.example.org/shop-1.4.2.tar.gz` with `checksum: sha256:…`",
    ),
}
PATH_THAT_WORKS = KINDS["path"][1]
PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9][A-Za-z0-9.!+_-]*")
CHECKSUM = re.compile(r"sha256:[0-9a-fA-F]{64}")
EXTRA = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
SUBDIR = re.compile(r"(?!.*\.\.)[A-Za-z0-9_.][A-Za-z0-9_./-]*")


def texts(value: Any) -> list[str]:
    """Return the texts of a list; what is no text has been refused by its type."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def of_source(variable: str, source: Any) -> Iterator[str]:
    """Find a source that is not exactly one of its kinds."""
    if not isinstance(source, Mapping):
        return
    kinds = [kind for kind in KINDS if source.get(kind) is not None]
    works = f"use one of {', '.join(KINDS)}, as in {PATH_THAT_WORKS} or {KINDS['git'][1]}"
    if len(kinds) != 1:
        wrong = f"names {len(kinds)} sources ({', '.join(kinds)})" if kinds else "names no source"
        yield sentence(variable, wrong, works)
        return
    kind = kinds[0]
    for other, (keys, _) in KINDS.items():
        for key in keys if other != kind else ():
            if source.get(key) is not None:
                way_out = f"leave it out, or name a `{other}`"
                yield sentence(
                    f"{variable}.{key}", f"belongs to `{other}`, and the source is a `{kind}`", way_out
                )
    yield from CHECKS[kind](variable, source)


def of_path(variable: str, source: Mapping[str, Any]) -> Iterator[str]:
    """Find a path that is none."""
    if not isinstance(source["path"], str) or not Path(source["path"]).is_dir():
        yield sentence(
            f"{variable}.path",
            f"is {shown(source['path'])}, which is no directory on the controller",
            f"name one that exists, for example {PATH_THAT_WORKS}",
        )


def of_git(variable: str, source: Mapping[str, Any]) -> Iterator[str]:
    """Find a repository or a version that Git cannot take."""
    url, version = source["git"], source.get("version")
    if not isinstance(url, str) or not re.fullmatch(r"[^-\s]\S*", url) or "::" in url:
        yield sentence(
            f"{variable}.git", "is no address of a repository", f"use for example {KINDS['git'][1]}"
        )
        return
    if version is None:
        yield sentence(
            f"{variable}.version", "is missing", "name a tag, a branch or a commit, as in `version: v1.4.2`"
        )
    elif not isinstance(version, str):
        # YAML reads 1.10 as the number 1.1, and a commit of digits as one too.
        yield sentence(
            f"{variable}.version", f"is the number {shown(version)}", 'quote it, as in `version: "1.10"`'
        )
    elif not re.fullmatch(r"[^-\s~^:?*\[\\][^\s~^:?*\[\\]*", version):
        yield sentence(
            f"{variable}.version", f"is {shown(version)}", "use a tag, a branch or a commit, as in `v1.4.2`"
        )
    key = source.get("deploy_key")
    if key is None:
        return
    if not isinstance(key, str) or "PRIVATE KEY-----" not in key:
        yield sentence(
            f"{variable}.deploy_key",
            "is no private key (its value is not shown)",
            'give it the text of one from the vault, as in `deploy_key: "{{ vault_shop_deploy_key }}"`',
        )
    elif url.startswith(("http://", "https://")):
        yield sentence(
            f"{variable}.deploy_key",
            "is a key for SSH, and the address is none of SSH",
            "use for example `git: git@git.example.org:team/shop.git`",
        )


def of_package(variable: str, source: Mapping[str, Any]) -> Iterator[str]:
    """Find a package that is not pinned."""
    if not isinstance(source["package"], str) or not PACKAGE.fullmatch(source["package"]):
        yield sentence(
            f"{variable}.package",
            f"is {shown(source['package'])}, which is no pinned package",
            f"use name and version, as in {KINDS['package'][1]}, and `install.extras` for extras",
        )


def of_archive(variable: str, source: Mapping[str, Any]) -> Iterator[str]:
    """Find an archive that is not there, of no known kind, or whose content nobody has vouched for."""
    archive, checksum = source["archive"], source.get("checksum")
    works = f"use for example {KINDS['archive'][1]}"
    if not isinstance(archive, str) or not urlsplit(archive).path.endswith(FORMATS):
        kinds = ", ".join(FORMATS)
        yield sentence(f"{variable}.archive", f"is of no kind that can be unpacked ({kinds})", works)
    elif not is_address(archive) and not Path(archive).is_file():
        wrong = f"is {shown(archive)}, which is no file on the controller"
        yield sentence(f"{variable}.archive", wrong, f"name one that exists, or {works}")
    elif is_address(archive) and checksum is None:
        wrong = "is missing, and an archive from an address is only released with one"
        yield sentence(
            f"{variable}.checksum", wrong, "set it to the output of `sha256sum`, as in `sha256:3f9c1a…`"
        )
    if checksum is not None and (not isinstance(checksum, str) or not CHECKSUM.fullmatch(checksum)):
        yield sentence(
            f"{variable}.checksum",
            f"is {shown(checksum)}, which is no SHA-256",
            "use `sha256:` and 64 hexadecimal digits, as `sha256sum` prints them",
        )


CHECKS = {"path": of_path, "git": of_git, "package": of_package, "archive": of_archive}


def of_install(variable: str, install: Any) -> Iterator[str]:
    """Find packages that are none, and indexes that cannot be asked."""
    if not isinstance(install, Mapping):
        return
    for extra in texts(install.get("extras")):
        if not EXTRA.fullmatch(extra):
            yield sentence(
                f"{variable}.extras", f"holds {shown(extra)}, which is no extra", "use for example `redis`"
            )
    for key, works in (("packages", "sentry-sdk==2.49.0"), ("constraints", "sqlalchemy<2.1")):
        for text in texts(install.get(key)):
            try:
                Requirement(text)
            except InvalidRequirement:
                wrong = f"holds {shown(text)}, which is no requirement"
                yield sentence(f"{variable}.{key}", wrong, f"use for example `{works}`")
    for command in texts(install.get("build")):
        if not command.strip():
            yield sentence(
                f"{variable}.build", "holds an empty command", "use for example `npm ci && npm run build`"
            )
    yield from of_index(variable, install)


def of_index(variable: str, install: Mapping[str, Any]) -> Iterator[str]:
    """Find an index that is none, and half an account."""
    index = install.get("index")
    works = "use for example `index: https://pypi.example.org/simple`"
    if isinstance(index, str):
        parts = urlsplit(index)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            yield sentence(f"{variable}.index", "is no address of a package index", works)
        elif parts.username or parts.password:
            way_out = "take it out and set `index_username` and `index_password`"
            yield sentence(f"{variable}.index", "holds an account (its value is not shown)", way_out)
    account = [key for key in ("index_username", "index_password") if install.get(key)]
    if account and not index:
        yield sentence(f"{variable}.{account[0]}", "is set and `index` is not", works)
    elif len(account) == 1:
        (missing,) = {"index_username", "index_password"} - set(account)
        yield sentence(f"{variable}.{missing}", f"is missing, and {account[0]} is set", "set both or none")


def of_fit(variable: str, app: Mapping[str, Any]) -> Iterator[str]:
    """Find settings that this kind of source cannot follow."""
    source, subdir = app.get("source"), app.get("subdir")
    if isinstance(subdir, str) and not SUBDIR.fullmatch(subdir):
        yield sentence(
            f"{variable}.subdir",
            f"is {shown(subdir)}, which leads elsewhere",
            "use a relative directory without spaces, as in `backend`",
        )
    if not isinstance(source, Mapping):
        return
    wheel = isinstance(source.get("archive"), str) and source["archive"].endswith(".whl")
    if source.get("package") is None and not wheel:
        return
    install = app.get("install")
    build = install.get("build") if isinstance(install, Mapping) else None
    for key, value in (("subdir", subdir if subdir != "." else None), ("install.build", build)):
        if value:
            wrong = "is set, and a package that is installed as it is has no directory to work in"
            yield sentence(
                f"{variable}.{key}", wrong, "leave it out, or use the source code as `git` or `archive`"
            )
