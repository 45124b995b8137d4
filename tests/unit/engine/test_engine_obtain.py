"""Sources from a repository, an archive or an index: what reaches a release, and what is refused."""

import hashlib
import http.server
import io
import os
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi_metal.apps.specs import complete
from fastapi_metal.source.git import address
from fastapi_metal.source.snapshot import Snapshot
from fastapi_metal.source.tree import SourceError

ENTRY = {"domain": "shop.example.org", "module": "shop.main:app"}
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nvery-secret-key\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture(autouse=True)
def _plain_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's own settings of Git take part."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def git(where: Path, *argv: str) -> str:
    """Run Git as somebody who commits."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return subprocess.run(
        ["git", "-C", str(where), *who, *argv], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository: two tags, one annotated, a branch that is ahead, a project in `backend`."""
    path = tmp_path / "repository"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    for version in ("v1", "v2", "v3"):
        for name in ("backend/main.py", "frontend/index.html"):
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_text(f"{name} {version}\n")
        (path / "backend/requirements.txt").write_text("fastapi\n")
        git(path, "add", ".")
        git(path, "commit", "--quiet", "--message", version)
        if version != "v3":
            git(path, "tag", version, *(("--annotate", "--message", "x") if version == "v2" else ()))
    return path


def snapshot(place: Path, run: str = "run", **entry: Any) -> Snapshot:
    """Return the source of one run."""
    return Snapshot("shop", complete({**ENTRY, **entry}), place / run, place / "cache")


def released(subject: Snapshot) -> dict[str, str]:
    """Return the files that a host gets."""
    with tarfile.open(subject.packed(subject.see())) as tar:
        files = {info.name: tar.extractfile(info) for info in tar if info.isfile()}
        return {name: file.read().decode() for name, file in files.items() if file}


def refusal(subject: Snapshot) -> str:
    """Return why a source is refused."""
    with pytest.raises(SourceError) as caught:
        subject.see()
    return str(caught.value)


@pytest.mark.parametrize(("version", "word"), [("v1", "v1"), ("v2", "v2"), ("main", "v3")])
def test_a_version_is_a_tag_or_a_branch(repository: Path, tmp_path: Path, version: str, word: str) -> None:
    """Annotated tags too; the commit is part of what is recorded."""
    subject = snapshot(tmp_path, source={"git": str(repository), "version": version})
    assert released(subject)["backend/main.py"] == f"backend/main.py {word}\n"
    assert git(repository, "rev-parse", f"{version}^{{commit}}") in subject.see().origin


@pytest.mark.parametrize("length", [40, 8])
def test_a_version_is_a_commit(repository: Path, tmp_path: Path, length: int) -> None:
    """Also one that no branch ends in, and an abbreviated one."""
    commit = git(repository, "rev-parse", "v1")[:length]
    subject = snapshot(tmp_path, source={"git": f"file://{repository}", "version": commit})
    assert released(subject)["backend/main.py"] == "backend/main.py v1\n"


def test_a_branch_is_followed_by_the_next_run_and_not_within_one(repository: Path, tmp_path: Path) -> None:
    """All hosts of a run get the same commit, whatever is pushed meanwhile."""
    source = {"git": str(repository), "version": "main"}
    first = snapshot(tmp_path, source=source).see()
    (repository / "backend/main.py").write_text("pushed\n")
    git(repository, "commit", "--quiet", "--all", "--message", "pushed")
    assert snapshot(tmp_path, source=source).see() == first
    assert released(snapshot(tmp_path, "next", source=source))["backend/main.py"] == "pushed\n"


def test_only_the_project_below_subdir_is_released(repository: Path, tmp_path: Path) -> None:
    """A change elsewhere in the monorepo makes no new release."""
    source = {"git": str(repository), "version": "main"}
    subject = snapshot(tmp_path, source=source, subdir="backend")
    assert sorted(released(subject)) == ["backend/main.py", "backend/requirements.txt"]
    (repository / "frontend/index.html").write_text("new\n")
    git(repository, "commit", "--quiet", "--all", "--message", "new")
    after = snapshot(tmp_path, "next", source=source, subdir="backend").see()
    assert (after.digest, after.lock) == (subject.see().digest, subject.see().lock)


def test_a_subdir_that_is_not_there_is_named(repository: Path, tmp_path: Path) -> None:
    """The message says which key is wrong."""
    subject = snapshot(tmp_path, source={"git": str(repository), "version": "v1"}, subdir="api")
    assert refusal(subject).startswith("`apps.shop.subdir` in group_vars/all/apps.yml is api, which")


def test_a_version_that_does_not_exist_is_named_with_those_that_do(repository: Path, tmp_path: Path) -> None:
    """One sentence with the variable, the nearest names and the command that shows all."""
    said = refusal(snapshot(tmp_path, source={"git": str(repository), "version": "v11"}))
    assert said.startswith("`apps.shop.source.version` in group_vars/all/apps.yml is v11, which is no branch")
    assert "did you mean `v1`" in said
    assert f"`git ls-remote {repository}`" in said
    missing = snapshot(tmp_path, source={"git": str(repository), "version": "1" * 40})
    assert "which is no branch, tag or commit" in refusal(missing)


def test_a_repository_that_is_not_there_is_asked_once(tmp_path: Path) -> None:
    """Every host is told, and none waits again."""
    subject = snapshot(tmp_path, source={"git": str(tmp_path / "nowhere"), "version": "v1"})
    said = refusal(subject)
    assert said.startswith("`apps.shop.source.git` in group_vars/all/apps.yml cannot be fetched")
    (tmp_path / "nowhere").mkdir()
    git(tmp_path / "nowhere", "init", "--quiet")
    assert refusal(subject) == said


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program in the place of ssh that notes how it was called and refuses."""
    notes = tmp_path / "ssh-notes"
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text(f"""#!/bin/sh
printf '%s\\n' "$@" > {notes}
for word; do
    case "$word" in IdentityFile=*) stat -c %a "${{word#*=}}"; cat "${{word#*=}}";; esac
done > {notes}.key
echo "${{SSH_SAYS:-Permission denied (publickey).}}" >&2
exit 255
""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return notes


def test_a_key_that_is_refused_is_told_and_never_shown(ssh: Path, tmp_path: Path) -> None:
    """SSH reads it from a file of this user alone, which is gone afterwards."""
    source = {"git": "git@git.example.org:team/shop.git", "version": "v1", "deploy_key": KEY}
    said = refusal(snapshot(tmp_path, source=source))
    assert said.startswith("`apps.shop.source.deploy_key` in group_vars/all/apps.yml is refused by git@git.")
    arguments = ssh.read_text()
    assert "very-secret" not in said + arguments
    assert (tmp_path / "ssh-notes.key").read_text() == f"600\n{KEY}"
    path = Path(arguments.partition("IdentityFile=")[2].splitlines()[0])
    assert not path.exists()
    assert not [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and path != Path(f"{ssh}.key") and b"very-secret" in path.read_bytes()
    ]


def test_an_unknown_host_key_says_how_to_get_it(
    ssh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is trusted at first sight."""
    monkeypatch.setenv("SSH_SAYS", "Host key verification failed.")
    source = {"git": "ssh://git@git.example.org:2222/shop.git", "version": "v1"}
    said = refusal(snapshot(tmp_path, source=source))
    assert said.startswith("`apps.shop.source.known_hosts`")
    assert "`ssh-keyscan git.example.org`" in said
    assert "StrictHostKeyChecking=yes" in ssh.read_text()


def test_a_password_in_an_address_is_taken_out() -> None:
    """So that it is in no argument, no message and no record."""
    found = address("https://deploy:s3cr%2Ft@git.example.org:8443/shop.git")
    assert (found.url, found.user, found.password) == (
        "https://git.example.org:8443/shop.git",
        "deploy",
        "s3cr/t",
    )
    assert address("git@git.example.org:shop.git").url == "git@git.example.org:shop.git"


def tarball(files: dict[str, str], **members: str) -> bytes:
    """Return a tarball; members with a value are links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
        for name, target in members.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()


PROJECT = {"shop-1/main.py": "app = None\n", "shop-1/requirements.txt": "fastapi\n"}


class Files(http.server.BaseHTTPRequestHandler):
    """Serves bytes to whoever has the account."""

    content = b""
    asked: list[str | None]

    def do_GET(self) -> None:
        """Answer."""
        self.asked.append(self.headers["Authorization"])
        self.send_response(200 if self.path == "/shop-1.tar.gz" else 404)
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: Any) -> None:
        """Be silent."""


@pytest.fixture
def files() -> Iterator[tuple[str, type[Files]]]:
    """Serve on a port of loopback."""
    handler = type("Handler", (Files,), {"content": tarball(PROJECT), "asked": []})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


def test_an_archive_comes_from_an_address_once(files: tuple[str, type[Files]], tmp_path: Path) -> None:
    """With its account, which is recorded nowhere; the next run knows the file by its hash."""
    place, handler = files
    checksum = f"sha256:{hashlib.sha256(handler.content).hexdigest()}"
    source = {"archive": f"http://deploy:s3cret@{place}/shop-1.tar.gz", "checksum": checksum}
    subject = snapshot(tmp_path, source=source)
    assert released(subject) == {"main.py": "app = None\n", "requirements.txt": "fastapi\n"}
    assert "s3cret" not in subject.see().origin
    snapshot(tmp_path, "next", source=source).see()
    assert handler.asked == ["Basic ZGVwbG95OnMzY3JldA=="]


def test_an_archive_with_another_hash_is_refused(files: tuple[str, type[Files]], tmp_path: Path) -> None:
    """The message names both, and nothing of it is kept."""
    source = {"archive": f"http://{files[0]}/shop-1.tar.gz", "checksum": f"sha256:{'0' * 64}"}
    said = refusal(snapshot(tmp_path, source=source))
    found = hashlib.sha256(files[1].content).hexdigest()
    assert f"`apps.shop.source.checksum` in group_vars/all/apps.yml is sha256:{'0' * 64}, but" in said
    assert found in said
    assert not list((tmp_path / "cache/archives").iterdir())


def test_an_address_that_has_nothing_is_named(files: tuple[str, type[Files]], tmp_path: Path) -> None:
    """With what the server said and the command that shows more."""
    url = f"http://{files[0]}/nothing.tar.gz"
    said = refusal(snapshot(tmp_path, source={"archive": url, "checksum": f"sha256:{'0' * 64}"}))
    assert f"cannot be fetched from {url} (HTTP Error 404: Not Found)" in said
    assert f"`curl -fI {url}`" in said


@pytest.mark.parametrize("kind", ["tar.gz", "zip", "whl"])
def test_an_archive_on_the_controller_is_unpacked_unless_it_is_a_wheel(tmp_path: Path, kind: str) -> None:
    """The directory around everything goes; a wheel is installed as it is."""
    path = tmp_path / f"shop-1-py3-none-any.{kind}"
    if kind == "tar.gz":
        path.write_bytes(tarball(PROJECT))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in PROJECT.items():
                archive.writestr(name, text)
    subject = snapshot(tmp_path, source={"archive": str(path)})
    with tarfile.open(subject.packed(subject.see())) as tar:
        names = tar.getnames()
    assert names == ([path.name] if kind == "whl" else ["main.py", "requirements.txt"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tarball({"../outside": "x"}), "holds ../outside, which leads out of it"),
        (tarball({"/etc/outside": "x"}), "holds /etc/outside, which leads out of it"),
        (tarball({"a": "x", "b": "x"}, c="/etc/passwd"), "is a link to /etc/passwd, outside of the source"),
        (b"no archive", "cannot be unpacked"),
    ],
)
def test_an_archive_cannot_write_elsewhere(tmp_path: Path, content: bytes, words: str) -> None:
    """Nor can it make a release that reads elsewhere."""
    path = tmp_path / "shop.tar.gz"
    path.write_bytes(content)
    assert words in refusal(snapshot(tmp_path, source={"archive": str(path)}))
    assert not list(tmp_path.rglob("outside"))


def test_a_package_is_known_by_its_name_and_version(tmp_path: Path) -> None:
    """Another version is another source."""
    one = snapshot(tmp_path, source={"package": "shop==1.4.2"})
    two = snapshot(tmp_path, source={"package": "shop==1.4.3"})
    assert one.see().origin == "package shop==1.4.2"
    assert one.see().digest != two.see().digest
    assert released(one) == {"package.txt": "shop==1.4.2\n"}


def test_build_commands_run_once_and_leave_the_checkout_alone(tmp_path: Path) -> None:
    """Their output is released; the next run, with the same source and commands, takes it over."""
    source = tmp_path / "source"
    for name, text in {"backend/main.py": "x", "backend/requirements.txt": "", "front/a.ts": "a"}.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    count = tmp_path / "count"
    build = [f"echo x >> {count}; mkdir static; cp ../front/a.ts static/a.js", "test -f static/a.js"]
    entry: dict[str, Any] = {
        "source": {"path": str(source)},
        "subdir": "backend",
        "install": {"build": build},
    }
    assert released(snapshot(tmp_path, **entry))["backend/static/a.js"] == "a"
    assert released(snapshot(tmp_path, "next", **entry))["backend/static/a.js"] == "a"
    assert count.read_text() == "x\n"
    assert not (source / "backend/static").exists()
    before = snapshot(tmp_path, **entry).see()
    (source / "front/a.ts").write_text("b")
    assert snapshot(tmp_path, "third", **entry).see() != before
    assert released(snapshot(tmp_path, "third", **entry))["backend/static/a.js"] == "b"


def test_a_build_command_that_fails_says_which_and_what_it_printed(tmp_path: Path) -> None:
    """It is run once, however many hosts ask."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "requirements.txt").touch()
    build = ["true", f"echo x >> {tmp_path}/count; echo no such thing; exit 3"]
    subject = snapshot(tmp_path, source={"path": str(source)}, install={"build": build})
    for _ in range(2):
        with pytest.raises(SourceError, match=r"install\.build\[1\]`.*ended with status 3") as caught:
            subject.packed(subject.see())
        assert "no such thing" in str(caught.value)
    assert (tmp_path / "count").read_text() == "x\n"


def test_extras_of_a_finished_list_are_refused(tmp_path: Path) -> None:
    """They would be left out in silence."""
    (tmp_path / "requirements.txt").touch()
    said = refusal(snapshot(tmp_path, source={"path": str(tmp_path)}, install={"extras": ["redis"]}))
    assert said.startswith(
        "`apps.shop.install.extras` in group_vars/all/apps.yml is set, and requirements.txt"
    )


def test_a_lock_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Rather than a traceback; also the file of a directory further up."""
    (tmp_path / "pyproject.toml").write_text("[project")
    (tmp_path / "backend").mkdir()
    for run, subdir in (("one", "."), ("two", "backend")):
        said = refusal(snapshot(tmp_path, run, source={"path": str(tmp_path)}, subdir=subdir))
        assert "pyproject.toml of the source is no TOML" in said
