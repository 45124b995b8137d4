"""A source that lies in a Git repository, fetched on the controller. Servers need neither Git nor a key.

Secrets go to Git by files that only this user reads, or by the environment: never as an argument, and they
are in no message.
"""

import contextlib
import difflib
import fcntl
import hashlib
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from ..apps.sentences import sentence
from .tree import SourceError

COMMIT = re.compile(r"[0-9a-f]{40}")
ABBREVIATED = re.compile(r"[0-9a-f]{7,39}")
# A server that does not answer at all is told after this many seconds.
PATIENCE = 30
LONGEST = 900
EVERYTHING = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")

# Reads the account from the environment, so that it is no argument of any process.
HELPER = '!f() { echo "username=$FASTAPI_METAL_GIT_USER"; echo "password=$FASTAPI_METAL_GIT_PASSWORD"; }; f'


class GitError(Exception):
    """A command of Git failed; the message is what it printed."""


@dataclass(frozen=True)
class Address:
    """A repository's address, its account apart."""

    url: str
    user: str = ""
    password: str = ""


def address(text: str) -> Address:
    """Take a password out of an address."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.password:
        return Address(text)
    host = parts.hostname or ""
    host = f"{host}:{parts.port}" if parts.port else host
    bare = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    return Address(bare, unquote(parts.username or ""), unquote(parts.password))


@dataclass(frozen=True)
class Repository:
    """A bare repository on the controller that holds what was fetched so far from one address."""

    path: Path
    address: Address
    environment: dict[str, str]

    def git(self, *argv: str, **environment: str) -> str:
        """Run Git here and return what it printed."""
        settings = ("core.autocrlf=false", "core.hooksPath=/dev/null", "gc.autoDetach=false")
        options = [part for setting in settings for part in ("-c", setting)]
        try:
            done = subprocess.run(
                ["git", f"--git-dir={self.path}", *options, *argv],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=LONGEST,
                env={**os.environ, **self.environment, **environment},
            )
        except FileNotFoundError as error:
            raise GitError("Git is missing on the controller; install it") from error
        except subprocess.TimeoutExpired as error:
            raise GitError(f"it did not end within {LONGEST} s") from error
        if done.returncode != 0:
            raise GitError(done.stderr.strip() or f"status {done.returncode}")
        return done.stdout

    def make(self) -> None:
        """Make it where it is not."""
        if not (self.path / "HEAD").is_file():
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.git("init", "--quiet", "--bare", str(self.path))

    def has(self, commit: str) -> bool:
        """Tell whether a commit was fetched, with everything in it."""
        try:
            self.git("cat-file", "-e", f"{commit}^{{commit}}")
            # A fetch that was cut has no commit: Git writes what it received as one pack.
            self.git("cat-file", "-e", f"{commit}^{{tree}}")
        except GitError:
            return False
        return True

    def remote(self) -> dict[str, str]:
        """Return the branches and tags that the other side has."""
        lines = self.git("ls-remote", "--heads", "--tags", "--", self.address.url).splitlines()
        return {name: commit for commit, _, name in (line.partition("\t") for line in lines)}

    def fetch(self, *refs: str, depth: int) -> None:
        """Fetch some of it."""
        shallow = ("--depth", str(depth))
        self.git("fetch", "--quiet", "--no-tags", "--force", *shallow, "--", self.address.url, *refs)

    def find(self, version: str) -> str | None:
        """Return the commit that a version names, and have it here; nothing if there is none."""
        if COMMIT.fullmatch(version):
            return version if self.has(version) or self._fetch_commit(version) else None
        refs = self.remote()
        for ref in (f"refs/tags/{version}", f"refs/heads/{version}"):
            commit = refs.get(f"{ref}^{{}}", refs.get(ref))
            if commit:
                if not self.has(commit):
                    self.fetch(ref, depth=1)
                return commit if self.has(commit) else None
        return self._find_abbreviated(version) if ABBREVIATED.fullmatch(version) else None

    def _fetch_commit(self, commit: str) -> bool:
        # Not every server hands out a commit by its name alone.
        with contextlib.suppress(GitError):
            self.fetch(commit, depth=1)
        if not self.has(commit):
            self.fetch(*EVERYTHING, depth=2147483647)
        return self.has(commit)

    def _find_abbreviated(self, version: str) -> str | None:
        self.fetch(*EVERYTHING, depth=2147483647)
        try:
            return self.git("rev-parse", "--verify", "--quiet", f"{version}^{{commit}}").strip()
        except GitError:
            return None

    def check_out(self, commit: str, target: Path) -> None:
        """Write the files of a commit into a directory."""
        with tempfile.TemporaryDirectory() as place:
            index = {"GIT_INDEX_FILE": str(Path(place) / "index"), "GIT_WORK_TREE": str(target)}
            self.git("read-tree", commit, **index)
            self.git("checkout-index", "--quiet", "--all", "--force", **index)

    def near(self, version: str) -> list[str]:
        """Return the names that somebody may have meant."""
        names = [name.split("/", 2)[2] for name in self.remote() if not name.endswith("^{}")]
        return difflib.get_close_matches(version, names, n=3, cutoff=0.5)


@contextlib.contextmanager
def access(source: dict[str, str | None], account: Address) -> Iterator[dict[str, str]]:
    """Give the environment that lets Git in; what it needs on disk is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="fastapi-metal-") as place:
        ssh = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={PATIENCE}"]
        ssh += ["-o", "StrictHostKeyChecking=yes"]
        for name, option in (("deploy_key", "IdentityFile"), ("known_hosts", "UserKnownHostsFile")):
            text = source.get(name)
            if text:
                path = Path(place) / name
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "w") as file:
                    file.write(text.strip() + "\n")
                ssh += ["-o", f"{option}={path}"]
        if source.get("deploy_key"):
            ssh += ["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]
        environment = {
            "GIT_SSH_COMMAND": shlex.join(ssh),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_HTTP_LOW_SPEED_LIMIT": "1",
            "GIT_HTTP_LOW_SPEED_TIME": str(PATIENCE),
            "LC_ALL": "C",
        }
        if account.password:
            environment |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "credential.helper",
                "GIT_CONFIG_VALUE_0": HELPER,
                "FASTAPI_METAL_GIT_USER": account.user,
                "FASTAPI_METAL_GIT_PASSWORD": account.password,
            }
        yield environment


def reason(variable: str, source: dict[str, str | None], where: str, error: GitError) -> str:
    """Return what Git said as one sentence."""
    said = str(error)
    more = f"`git ls-remote {where}` on the controller shows more"
    if re.search(r"Permission denied|error in libcrypto|invalid format|Load key", said):
        key = "deploy_key" if source.get("deploy_key") else "git"
        works = "a private key whose public half the repository lists as a deploy key, from the vault"
        return sentence(f"{variable}.{key}", f"is refused by {where}", f"set `deploy_key` to {works}; {more}")
    if re.search(r"Host key verification failed|REMOTE HOST IDENTIFICATION", said):
        host = re.sub(r"^(ssh://)?([^@/]*@)?([^:/]+).*", r"\3", where)
        return sentence(
            f"{variable}.known_hosts",
            f"does not know the host key of {where}",
            f"compare the output of `ssh-keyscan {host}` with what its administrator published, and set it",
        )
    if re.search(r"Authentication failed|could not read (Username|Password)", said):
        return sentence(
            f"{variable}.git",
            f"is refused by {where}, which wants another account",
            f"put it into the address, as in `https://deploy:{{{{ vault_shop_git_token }}}}@…`; {more}",
        )
    last = said.splitlines()[0]
    return sentence(f"{variable}.git", f"cannot be fetched from {where} ({last})", more)


def obtain_git(source: dict[str, str | None], variable: str, cache: Path, target: Path) -> str:
    """Write a version of a repository into a directory and return where it came from.

    `variable` is the name of the source's entry, for messages.
    """
    account, version = address(source["git"] or ""), source["version"] or ""
    path = cache / "git" / f"{hashlib.sha256(account.url.encode()).hexdigest()[:24]}.git"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.with_suffix(".lock").open("w") as lock, access(source, account) as environment:
        fcntl.flock(lock, fcntl.LOCK_EX)
        repository = Repository(path, account, environment)
        try:
            repository.make()
            commit = repository.find(version)
            if commit is None:
                near = repository.near(version)
                meant = f"did you mean `{'` or `'.join(near)}`? " if near else ""
                raise SourceError(
                    sentence(
                        f"{variable}.version",
                        f"is {version}, which is no branch, tag or commit of {account.url}",
                        f"{meant}`git ls-remote {account.url}` on the controller shows those that there are",
                    )
                )
            repository.check_out(commit, target)
        except GitError as error:
            raise SourceError(reason(variable, source, account.url, error)) from error
    return f"git {account.url} {version} ({commit})"
