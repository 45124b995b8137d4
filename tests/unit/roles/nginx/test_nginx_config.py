"""A configuration lands whole and tested, or not at all."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[4]
# `broken` is what this Nginx does not know; it says so as the real one does.
FAKE_NGINX = """#!/bin/sh
home=$(dirname "$4")
for file in "$4" "$home"/sites-enabled/* "$home"/conf.d/*; do
    if [ -f "$file" ] && grep -q broken "$file"; then
        echo "2026/11/22 00:00:00 [emerg] 7#7: unknown directive \\"broken\\" in $file:1" >&2
        exit 1
    fi
done
"""


@pytest.fixture(scope="module")
def nginx_config() -> ModuleType:
    """Load the module as Ansible would find it."""
    path = ROOT / "plugins/modules/nginx_config.py"
    spec = importlib.util.spec_from_file_location("nginx_config", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nginx_config"] = module
    spec.loader.exec_module(module)
    return module


class Machine:
    """A directory that looks like a server on which Debian has just installed Nginx."""

    def __init__(self, module: ModuleType, root: Path) -> None:
        self.module = module
        self.root = root
        self.loads = 0
        self.refuses = ""
        self.home = root / "nginx"
        self.enabled = self.home / "sites-enabled"
        self.tls = self.home / "tls"
        for directory in (self.home / "sites-available", self.enabled, self.home / "conf.d"):
            directory.mkdir(parents=True)
        (self.home / "nginx.conf").write_text("# Debian's\n")
        (self.home / "sites-available/default").write_text("# Welcome\n")
        (self.enabled / "default").symlink_to(self.home / "sites-available/default")
        self.sites = {"shop": "shop's text\n"}
        self.main = "# ours\n"
        self.selfsigned: dict[str, list[str]] = {}
        self.pairs: dict[str, dict[str, str]] = {}

    def load(self) -> None:
        """Stand for the running Nginx."""
        self.loads += 1
        if self.refuses:
            raise self.module.RefusedError(self.refuses)

    def run(self, check: bool = False) -> Any:
        """Bring the machine to the wanted state."""
        configuration = self.module.Configuration(
            {
                "main": self.main,
                "sites": self.sites,
                "certificates": {
                    name: [f"{name}.example.org"]
                    for name in self.sites
                    if name not in {*self.selfsigned, *self.pairs}
                },
                "selfsigned": self.selfsigned,
                "pairs": self.pairs,
                "unit": "[Service]\nRestart=on-failure\n",
                "webroot": str(self.root / "acme"),
                "directory": str(self.home),
                "unit_directory": str(self.root / "units"),
                "marker": str(self.root / "pending"),
            }
        )
        return self.module.apply(configuration, self, check)

    def tree(self) -> dict[str, str]:
        """Return everything that is there, with modes."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            if "bin" in path.relative_to(self.root).parts:
                continue
            what = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
            found[str(path.relative_to(self.root))] = f"{path.lstat().st_mode:o} {what}"
        return found


@pytest.fixture
def machine(nginx_config: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A server with a stand-in for the commands nginx and systemctl; openssl is the host's own."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("nginx", FAKE_NGINX), ("systemctl", "#!/bin/sh\n")):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    return Machine(nginx_config, tmp_path)


def openssl(*words: str | Path) -> str:
    """Run the host's openssl."""
    command = ["openssl", *(str(word) for word in words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_first_run_serves_and_the_second_changes_nothing(machine: Machine) -> None:
    """Files, webroot and a temporary certificate are there after one run; it is loaded once."""
    first = machine.run()
    assert first["changed"]
    assert first["temporary"] == ["shop"]
    assert (machine.home / "nginx.conf").read_text() == "# ours\n"
    assert (machine.enabled / "shop.conf").read_text().endswith("shop's text\n")
    assert not (machine.enabled / "default").is_symlink()
    assert (machine.root / "acme").is_dir()
    before = machine.tree()
    assert not machine.run()["changed"]
    assert machine.tree() == before
    assert machine.loads == 1


def test_check_mode_touches_nothing_and_tells_all(machine: Machine) -> None:
    """`--check --diff` on a machine as Debian leaves it names every file."""
    before = machine.tree()
    result = machine.run(check=True)
    assert result["changed"]
    assert machine.tree() == before
    named = {Path(diff["after_header"]).name for diff in result["diff"]}
    assert named == {"nginx.conf", "shop.conf", "fastapi-metal.conf", "default"}
    assert machine.loads == 0


def test_check_mode_works_where_nothing_is_installed(machine: Machine, tmp_path: Path) -> None:
    """On an untouched machine there is no /etc/nginx, and that is no error."""
    machine.home = tmp_path / "nowhere"
    assert machine.run(check=True)["changed"]


def test_a_broken_configuration_never_lands(machine: Machine) -> None:
    """What `nginx -t` refuses changes no file; the sentence names the place where the user would look."""
    machine.run()
    before = machine.tree()
    machine.sites["shop"] = "broken\n"
    with pytest.raises(machine.module.RefusedError) as refused:
        machine.run()
    assert f'unknown directive "broken" in {machine.enabled}/shop.conf' in str(refused.value)
    assert machine.tree() == before
    assert machine.loads == 1


def test_a_users_own_file_that_is_broken_is_told_though_nothing_changed(machine: Machine) -> None:
    """Nginx would not start with it after the next reboot; better to hear it now."""
    machine.run()
    (machine.home / "conf.d/own.conf").write_text("broken\n")
    with pytest.raises(machine.module.RefusedError, match=r"conf\.d/own\.conf"):
        machine.run()
    with pytest.raises(machine.module.RefusedError, match=r"conf\.d/own\.conf"):
        machine.run(check=True)


def test_what_nginx_will_not_load_is_taken_back(machine: Machine) -> None:
    """A port in use shows at the reload only: the files on disk go back to what serves on."""
    before = machine.tree()
    machine.refuses = "port in use"
    with pytest.raises(machine.module.RefusedError, match="port in use"):
        machine.run()
    after = machine.tree()
    assert {name: after[name] for name in before} == before
    assert not (machine.root / "pending").exists()
    machine.refuses = ""
    assert machine.run()["changed"]


def test_an_interrupted_run_is_finished_by_the_next(machine: Machine) -> None:
    """Killed between landing and reload, the files are right, but not loaded: the next run loads them."""
    machine.run()
    (machine.root / "pending").touch()
    assert machine.run()["changed"]
    assert machine.loads == 2
    assert not machine.run()["changed"]


def test_a_site_that_leaves_the_list_disappears(machine: Machine) -> None:
    """Its file, its link and its temporary certificate go; the user's own files stay."""
    machine.sites["office"] = "office's text\n"
    machine.run()
    (machine.enabled / "own").write_text("a user's own site\n")
    by_hand = machine.tls / "own"
    by_hand.mkdir()
    del machine.sites["office"]
    assert machine.run()["changed"]
    assert sorted(path.name for path in machine.enabled.iterdir()) == ["own", "shop.conf"]
    assert sorted(path.name for path in machine.tls.iterdir()) == [".temporary", "own", "shop"]
    assert [path.name for path in (machine.tls / ".temporary").iterdir()] == ["shop"]
    assert not machine.run()["changed"]


@pytest.mark.parametrize("name", ["nginx.conf", "sites-enabled/shop.conf"])
def test_a_spoilt_mode_is_named_and_mended(machine: Machine, name: str) -> None:
    """A configuration that everybody may write is a change, in check mode too."""
    machine.run()
    path = machine.home / name
    path.chmod(0o666)
    told = machine.run(check=True)
    assert [diff["after_header"] for diff in told["diff"]] == [str(path)]
    assert "mode 0666" in told["diff"][0]["before"]
    machine.run()
    assert path.stat().st_mode & 0o777 == 0o644
    assert not machine.run()["changed"]


def test_the_temporary_certificate_says_that_it_is_one(machine: Machine) -> None:
    """Its subject tells, its name is the site's, and its key is root's alone."""
    machine.run()
    home = machine.tls / "shop"
    told = openssl("x509", "-in", home / "fullchain.pem", "-noout", "-subject", "-ext", "subjectAltName")
    assert "temporary certificate of fastapi-metal" in told
    assert "DNS:shop.example.org" in told
    assert (home / "privkey.pem").stat().st_mode & 0o777 == 0o600


def test_a_link_that_leads_nowhere_gets_a_temporary_certificate(machine: Machine) -> None:
    """Without it Nginx would not start, and every site of the machine would be gone."""
    machine.run()
    (machine.tls / "shop").unlink()
    (machine.tls / "shop").symlink_to("/nonexistent/live/shop")
    assert machine.run()["temporary"] == ["shop"]


def test_a_key_that_does_not_belong_gets_a_temporary_certificate(machine: Machine) -> None:
    """Certificate and key of two runs: Nginx would refuse the pair."""
    machine.run()
    issued = machine.root / "issued"
    issued.mkdir()
    (issued / "fullchain.pem").write_text((machine.tls / "shop/fullchain.pem").read_text())
    openssl(
        "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", issued / "privkey.pem"
    )
    (machine.tls / "shop").unlink()
    (machine.tls / "shop").symlink_to(issued)
    result = machine.run()
    assert result["changed"]
    assert result["temporary"] == ["shop"]


def test_a_directory_made_by_hand_is_left_alone(machine: Machine) -> None:
    """Who puts a certificate of their own there keeps it."""
    machine.run()
    pair = {name: (machine.tls / "shop" / name).read_text() for name in ("fullchain.pem", "privkey.pem")}
    (machine.tls / "shop").unlink()
    (machine.tls / "shop").mkdir()
    for name, text in pair.items():
        (machine.tls / "shop" / name).write_text(text)
    result = machine.run()
    assert result["temporary"] == []
    assert not (machine.tls / "shop").is_symlink()


def test_a_process_that_ends_while_workers_are_counted_is_none(
    nginx_config: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says "no such process" where its file was opened in time and read too late.

    That ended the task with files in place which nobody had loaded or taken back.
    """
    for pid, parent in (("7", "1"), ("8", "7"), ("9", "7")):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "stat").write_bytes(b"%s (nginx\xff: ) S %s 0" % (pid.encode(), parent.encode()))
    read_text = Path.read_text

    def read(path: Path, **options: Any) -> str:
        if path.parent.name == "9":
            raise ProcessLookupError
        return read_text(path, **options)

    monkeypatch.setattr(nginx_config, "PROC", tmp_path)
    monkeypatch.setattr(Path, "read_text", read)
    assert nginx_config.Service.workers("7") == {"8"}


def test_nginx_own_words_are_found(nginx_config: ModuleType) -> None:
    """The sentence holds the reason, without time and process id, and never nothing."""
    said = (
        "nginx: [warn] conflicting server name\n"
        "nginx: [emerg] no port in upstream\nnginx: configuration file test failed"
    )
    assert nginx_config.refusal(said) == "no port in upstream"
    assert nginx_config.refusal("2026/11/22 00:00:00 [emerg] 12#12: bind() failed.") == "bind() failed"
    assert nginx_config.refusal("") == "no reason given"


def pair(name: str, where: Path) -> dict[str, str]:
    """Return a certificate and its key as a user brings them."""
    where.mkdir()
    words = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj")
    openssl(*words, f"/CN={name}", "-keyout", where / "key.pem", "-out", where / "chain.pem")
    return {"certificate": (where / "chain.pem").read_text(), "key": (where / "key.pem").read_text()}


def shown(machine: Machine) -> str:
    """Return whose certificate the shop shows."""
    return openssl("x509", "-in", machine.tls / "shop/fullchain.pem", "-noout", "-subject")


def test_a_pair_of_the_users_is_served_and_turned(machine: Machine, tmp_path: Path) -> None:
    """It is there after one run, another one takes its place, and the old key is gone from the disk."""
    machine.pairs = {"shop": pair("first", tmp_path / "one")}
    assert machine.run()["changed"]
    assert "first" in shown(machine)
    assert (machine.tls / "shop/privkey.pem").stat().st_mode & 0o777 == 0o600
    assert not machine.run()["changed"]
    machine.pairs = {"shop": pair("second", tmp_path / "two")}
    told = machine.run(check=True)
    assert told["changed"]
    assert "first" in shown(machine)
    result = machine.run()
    assert "second" in shown(machine)
    assert machine.loads == 2
    assert "PRIVATE" not in str(result)
    assert len(list((machine.tls / ".own").iterdir())) == 1


def test_a_pair_that_nginx_will_not_load_is_taken_back(machine: Machine, tmp_path: Path) -> None:
    """The link leads to the pair of before."""
    machine.pairs = {"shop": pair("first", tmp_path / "one")}
    machine.run()
    machine.pairs, machine.refuses = {"shop": pair("second", tmp_path / "two")}, "no"
    with pytest.raises(machine.module.RefusedError):
        machine.run()
    assert "first" in shown(machine)


def test_a_key_that_others_may_read_is_mended(machine: Machine, tmp_path: Path) -> None:
    """Its mode is part of what is wanted."""
    machine.pairs = {"shop": pair("first", tmp_path / "one")}
    machine.run()
    (machine.tls / "shop/privkey.pem").chmod(0o644)
    assert machine.run()["changed"]
    assert (machine.tls / "shop/privkey.pem").stat().st_mode & 0o777 == 0o600


def test_a_self_signed_pair_stays_until_the_names_change(machine: Machine) -> None:
    """It is no temporary one, and says that it has signed itself."""
    machine.selfsigned = {"shop": ["shop.example.org"]}
    assert machine.run()["temporary"] == []
    assert "self-signed certificate of fastapi-metal" in shown(machine)
    before = (machine.tls / "shop/fullchain.pem").read_text()
    assert not machine.run()["changed"]
    machine.selfsigned = {"shop": ["shop.example.org", "www.example.org"]}
    assert machine.run()["changed"]
    assert (machine.tls / "shop/fullchain.pem").read_text() != before


def test_from_a_pair_of_its_own_to_an_authority_the_site_is_served_on(
    machine: Machine, tmp_path: Path
) -> None:
    """Until Certbot has brought another, the one of before is shown and lies where it lay."""
    machine.pairs = {"shop": pair("first", tmp_path / "one")}
    machine.run()
    machine.pairs = {}
    machine.run()
    assert "first" in shown(machine)


def test_a_directory_made_by_hand_and_another_wish_are_refused(machine: Machine, tmp_path: Path) -> None:
    """Nobody's files are taken away, and nobody is told that what he wished is served."""
    machine.run()
    (machine.tls / "shop").unlink()
    (machine.tls / "shop").mkdir()
    machine.pairs = {"shop": pair("first", tmp_path / "one")}
    with pytest.raises(machine.module.RefusedError, match="was made by hand"):
        machine.run()
