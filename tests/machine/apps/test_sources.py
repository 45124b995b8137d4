"""Code from everywhere reaches a machine as one release, and packages are what the project pinned."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sources
from conftest import Lab
from played import unbroken
from sources import MAIN, PASSWORD, USER, answer, holders, pyproject, release, run, write
from testinfra.host import Host

PLAIN = {"module": "depot.main:app", "health": {"path": "/", "timeout": 30, "stable": 1}}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Return a project that runs where it lies, with a list of pins."""
    return write(
        tmp_path / "plain",
        {
            "depot/__init__.py": "",
            "depot/main.py": MAIN.format(word="plain"),
            "requirements.txt": "idna==3.10\n",
        },
    )


@pytest.fixture
def serving(lab: Lab, host: Host, plain: Path) -> str:
    """Return the release that serves before a test tries something that must be refused."""
    done = lab.deploy("depot", **PLAIN, source={"path": str(plain)})
    assert done.returncode == 0, done.stdout
    assert answer(host)[:2] == ["plain", "3.10"]
    return release(host)


def refused(lab: Lab, host: Host, before: str, **changes: Any) -> str:
    """Return why a deploy is refused, while the release before it serves on."""
    done = lab.deploy("depot", **{**PLAIN, **changes})
    assert done.returncode != 0, "it was released"
    assert release(host) == before
    assert answer(host)
    return unbroken(done.stdout)


def test_a_change_of_code_installs_nothing(lab: Lab, host: Host, serving: str, plain: Path) -> None:
    """The packages are linked into the new release, whose own they are: the old one may go.

    Red when a release is built from nothing, when it runs with another one's packages, or when a file of
    the old one
    is written to.
    """
    idna = "venv/lib/python3*/site-packages/idna/core.py"
    inode = host.check_output(f"stat -c %i {serving}/{idna}")
    written = host.check_output(f"find {serving}/venv -type f -newer {serving}/release.json")
    (plain / "depot/main.py").write_text(MAIN.format(word="changed"))
    done = lab.deploy("depot", **PLAIN, source={"path": str(plain)}, keep_releases=2)
    assert done.returncode == 0, done.stdout
    assert "because of: source'" in unbroken(done.stdout)
    new = release(host)
    assert new != serving
    assert answer(host) == ["changed", "3.10", f"{new}/venv"]
    assert host.check_output(f"stat -c %i {new}/{idna}") == inode
    assert host.check_output(f"find {serving}/venv -type f -newer {serving}/release.json") == written
    assert host.check_output(f"grep -rlI {serving} {new}/venv --exclude=*.pyc || true") == ""


def test_a_repository_with_a_deploy_key(lab: Lab, host: Host, tmp_path: Path) -> None:
    """The controller fetches a tag over SSH; the machine sees neither key nor Git, and a wrong tag moves
    nothing.

    Red when the key reaches the machine or an output, when another version than the tag is released, or
    when a
    tag that is not there ends in anything but a sentence.
    """
    key = tmp_path / "key"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    host.check_output("apt-get -qq install git >/dev/null")
    host.check_output("id git >/dev/null 2>&1 || useradd -m -s /usr/bin/git-shell git")
    place = "/home/git/depot.git"
    public = key.with_suffix(".pub").read_text().strip()
    host.check_output(
        f"rm -rf {place}; git init -q --bare --initial-branch=main {place}; install -d -m 700 ~git/.ssh; "
        f"echo '{public}' > ~git/.ssh/authorized_keys; chown -R git: ~git"
    )
    address = f"git@{lab.address('web1')}:depot.git"
    host_key = host.check_output("cat /etc/ssh/ssh_host_ed25519_key.pub")
    known = f"{lab.address('web1')} {host_key}"
    (tmp_path / "known").write_text(known + "\n")
    ssh = f"ssh -i {key} -o IdentitiesOnly=yes -o UserKnownHostsFile={tmp_path}/known"
    work = tmp_path / "work"
    files = {"depot/__init__.py": "", "requirements.txt": "idna==3.10\n"}
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org")
    run("git", "init", "-q", "--initial-branch=main", work)
    for version in ("v1", "v2"):
        write(work / "backend", {**files, "depot/main.py": MAIN.format(word=version)})
        run("git", "add", ".", cwd=work)
        run(*git, "commit", "-q", "-m", version, cwd=work)
        run("git", "tag", version, cwd=work)
    run("git", "-c", f"core.sshCommand={ssh}", "push", "-q", address, "main", "--tags", cwd=work)

    source = {"git": address, "deploy_key": key.read_text(), "known_hosts": known}
    done = lab.deploy("depot", **PLAIN, source={**source, "version": "v1"}, subdir="backend")
    assert done.returncode == 0, done.stdout
    assert answer(host)[0] == "v1"
    before = release(host)
    secret = key.read_text().splitlines()[2]
    assert secret not in done.stdout + done.stderr
    assert holders(host, secret) == ""

    why = refused(lab, host, before, source={**source, "version": "v9"}, subdir="backend")
    assert "`apps.depot.source.version` in group_vars/all/apps.yml is v9, which is no branch" in why
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other")
    wrong = {**source, "version": "main", "deploy_key": (tmp_path / "other").read_text()}
    why = refused(lab, host, before, source=wrong, subdir="backend")
    assert "`apps.depot.source.deploy_key` in group_vars/all/apps.yml is refused" in why


def test_the_lock_of_a_workspace_further_up(lab: Lab, host: Host, tmp_path: Path) -> None:
    """A member of a uv workspace gets what the workspace's lock pins, and the members that it needs.

    Red when the lock is not obeyed, when a member that is needed is missing, or when another one is released.
    """
    member = "[tool.uv.sources]\nshared = {workspace = true}\n"
    shared = pyproject(needs=("idna<3.10",)).replace('"depot"', '"shared"')
    code = MAIN.format(word="member").replace("import idna", "import idna, shared")
    root = write(
        tmp_path / "workspace",
        {
            "pyproject.toml": '[tool.uv.workspace]\nmembers = ["packages/*"]\n',
            "packages/depot/pyproject.toml": pyproject(needs=("shared",)) + member,
            "packages/depot/depot/__init__.py": "",
            "packages/depot/depot/main.py": code,
            "packages/shared/pyproject.toml": shared,
            "packages/shared/shared/__init__.py": "",
            "packages/other/pyproject.toml": pyproject(needs=()).replace('"depot"', '"other"'),
        },
    )
    run(sources.UV, "lock", "--quiet", cwd=root)
    done = lab.deploy("depot", **PLAIN, source={"path": str(root)}, subdir="packages/depot")
    assert done.returncode == 0, done.stdout
    assert answer(host)[:2] == ["member", "3.9"]
    assert host.check_output(f"ls {release(host)}/src/packages").split() == ["depot", "shared"]
    # Only the member itself is installed again.
    (root / "packages/depot/depot/main.py").write_text(MAIN.format(word="again"))
    done = lab.deploy("depot", **PLAIN, source={"path": str(root)}, subdir="packages/depot")
    assert done.returncode == 0, done.stdout
    assert answer(host)[0] == "again"
    installed = f"{release(host)}/venv/lib/python3*/site-packages/depot/main.py"
    assert "again" in host.check_output(f"cat {installed}")


def test_a_package_from_an_index_with_an_account(lab: Lab, host: Host, serving: str, tmp_path: Path) -> None:
    """The machine installs name and version; the password is in no file, no journal and no output.

    Red when the account is not used, when it is written down, or when a wrong one ends without a sentence.
    """
    sources.download(tmp_path)
    sources.wheel(tmp_path, "packaged", "1.4.2")
    with sources.served(tmp_path, lab.info["gateway"]) as address:
        index = {"index": f"{address}/simple", "index_username": USER}
        source = {"package": "depot==1.4.2"}
        why = refused(lab, host, serving, source=source, install={**index, "index_password": "another-one"})
        assert "`apps.depot.install.index_username`" in why
        install = {**index, "index_password": PASSWORD}
        why = refused(lab, host, serving, source={"package": "depot==9"}, install=install)
        assert "depot==9" in why
        done = lab.deploy("depot", **PLAIN, source=source, install=install)
        assert done.returncode == 0, done.stdout
    assert answer(host)[0] == "packaged"
    assert PASSWORD not in done.stdout + done.stderr
    assert holders(host, PASSWORD) == ""
    assert '"origin": "package depot==1.4.2"' in host.check_output(f"cat {release(host)}/release.json")


def test_an_archive_from_an_address(lab: Lab, host: Host, serving: str, plain: Path, tmp_path: Path) -> None:
    """It is released with the right hash and refused with another one.

    Red when content that nobody vouched for is unpacked.
    """
    (plain / "depot/main.py").write_text(MAIN.format(word="archived"))
    files = tmp_path / "files"
    files.mkdir()
    archive = Path(shutil.make_archive(str(files / "depot-1"), "gztar", tmp_path, "plain"))
    checksum = f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"
    with sources.served(files, lab.info["gateway"]) as address:
        source = {"archive": f"{address}/{archive.name}"}
        why = refused(lab, host, serving, source={**source, "checksum": f"sha256:{'0' * 64}"})
        assert "`apps.depot.source.checksum`" in why
        assert checksum in why
        done = lab.deploy("depot", **PLAIN, source={**source, "checksum": checksum})
        assert done.returncode == 0, done.stdout
    assert answer(host)[0] == "archived"


def test_a_wrong_hash_is_refused(lab: Lab, host: Host, serving: str, plain: Path) -> None:
    """A package that is not the one that was locked is not installed.

    Red when hashes are not enforced.
    """
    (plain / "requirements.txt").write_text(f"idna==3.11 --hash=sha256:{'0' * 64}\n")
    assert "has another hash than the lock names" in refused(lab, host, serving, source={"path": str(plain)})


def test_a_python_that_is_too_old_is_refused_before_anything_changes(
    lab: Lab, host: Host, serving: str, plain: Path
) -> None:
    """The sentence names what the project asks for and what the machine has.

    Red when the release is staged, or when the reason is an installer's.
    """
    write(plain, {"pyproject.toml": pyproject(python=">=3.99")})
    count = host.check_output("ls /srv/depot/releases | wc -l")
    why = refused(lab, host, serving, source={"path": str(plain)})
    assert "the application asks for Python >=3.99 (`requires-python` in its pyproject.toml)" in why
    assert host.check_output("ls /srv/depot/releases | wc -l") == count


@pytest.fixture
def cut_off(host: Host) -> Iterator[None]:
    """Take the machine's way out, and give it back."""
    route = host.check_output("ip -4 route show default")
    host.check_output("ip -4 route del default")
    try:
        yield
    finally:
        host.check_output(f"ip -4 route replace {route}")


def test_a_machine_that_reaches_no_index(
    lab: Lab, host: Host, serving: str, plain: Path, cut_off: None
) -> None:
    """Wheels are downloaded on the controller for the machine's Python and shipped; without them it is
    told why not.

    Red when the machine asks an index, when a wheel is missing, or when the reason is not told.
    """
    assert host.run("curl --silent --max-time 5 https://pypi.org/simple/idna/").rc != 0, "it reaches an index"
    write(plain, {"pyproject.toml": pyproject(needs=("idna==3.8", "markupsafe"))})
    (plain / "requirements.txt").unlink()
    host.check_output("rm -rf /root/.cache/uv")
    why = refused(lab, host, serving, source={"path": str(plain)})
    assert "does not answer" in why
    assert "`apps.depot.install.offline`" in why
    for word in ("offline", "offline-again"):
        code = MAIN.format(word=word).replace("import idna", "import idna, markupsafe")
        (plain / "depot/main.py").write_text(code)
        done = lab.deploy("depot", **PLAIN, source={"path": str(plain)}, install={"offline": True})
        assert done.returncode == 0, done.stdout
        assert answer(host)[:2] == [word, "3.8"]
    assert host.run(f"ls {release(host)}/wheels").rc != 0, "the wheels stay on disk"
    compiled = host.check_output(f"ls {release(host)}/venv/lib/python3*/site-packages/markupsafe")
    assert "_speedups" in compiled
