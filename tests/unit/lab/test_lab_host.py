"""What the lab reads from the host, and what it shows to a machine."""

import multiprocessing
import os
import shutil
import threading
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from lab import authorities, base, cgroup, cli, lifecycle, lock, meminfo, mounts
from lab.errors import LabError
from lab.machines import Machine

MOUNTINFO = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,name=systemd
31 22 0:27 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 22 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
40 22 0:40 / /lib/a\\040b/root rw - overlay overlay rw,lowerdir=/cache/ca/upper:/cache/trixie-1,upperdir=/u
41 22 0:41 / /lib/a\\040b/root/proc rw - proc proc rw
"""


def test_mounts_are_found_innermost_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that unmounting them in this order works, also where a path holds a space."""
    monkeypatch.setattr(mounts, "all_mounts", lambda: mounts.parse(MOUNTINFO))
    root = Path("/lib/a b/root")
    assert mounts.under(Path("/lib/a b")) == [root / "proc", root]
    assert mounts.under(Path("/lib/a")) == []


def test_a_layer_under_a_machine_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such an image is never pruned, and one with a longer name is not taken for it."""
    monkeypatch.setattr(mounts, "all_mounts", lambda: mounts.parse(MOUNTINFO))
    assert mounts.in_use(Path("/cache/trixie-1"))
    assert mounts.in_use(Path("/cache/ca"))
    assert not mounts.in_use(Path("/cache/trixie-10"))


def test_the_own_cgroup_is_found_in_each_hierarchy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where the hierarchy is mounted from below its root, as in a container; cpuset is left out."""
    text = MOUNTINFO.replace("/sys/fs/cgroup", str(tmp_path))
    monkeypatch.setattr(cgroup, "all_mounts", lambda: mounts.parse(text))
    (tmp_path / "memory/job").mkdir(parents=True)
    (tmp_path / "systemd").mkdir()
    own = "3:cpuset:/\n2:memory:/docker/1/job\n1:name=systemd:/\n"
    assert cgroup.hierarchies(own) == [tmp_path / "systemd", tmp_path / "memory/job"]


def test_meminfo_keeps_its_length() -> None:
    """It is written over in place: a shorter text would leave the end of the longer one."""
    first = meminfo.text(3 << 30, 0, 0)
    later = meminfo.text(3 << 30, 2 << 30, 900 << 20)
    assert len(first) == len(later)
    assert "MemTotal:          3145728 kB\n" in first
    figures = {line.split(":")[0]: int(line.split()[1]) for line in later.splitlines()}
    assert figures["MemAvailable"] == figures["MemFree"] + figures["Cached"] == 1 << 20


def test_the_recipe_names_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed recipe is another file, so an old image is never used for it."""
    before = base.image("trixie")
    assert before.name.startswith("trixie-")
    assert base.image("bookworm").name.removeprefix("bookworm-") != before.name.removeprefix("trixie-")
    monkeypatch.setattr(base, "PACKAGES", base.PACKAGES + ",vim")
    assert base.image("trixie") != before


def test_a_changed_authority_is_another_layer(tmp_path: Path) -> None:
    """The host's extra certificate authorities may change while the image stays."""
    assert authorities.certificates(tmp_path / "absent") == {}
    (tmp_path / "proxy.crt").write_text("one")
    one = authorities.digest(authorities.certificates(tmp_path))
    (tmp_path / "proxy.crt").write_text("two")
    assert authorities.digest(authorities.certificates(tmp_path)) != one


def _hold(path: Path, held: Event) -> None:
    with lock.held(path):
        held.set()
        time.sleep(60)


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    """While another process holds it one waits, and is told so; kill -9 of the holder sets it free."""
    path = tmp_path / "lock"
    fork = multiprocessing.get_context("spawn")
    held = fork.Event()
    other = fork.Process(target=_hold, args=(path, held))
    other.start()
    assert held.wait(20)
    with lock.attempted(path) as mine:
        assert not mine
    told: list[str] = []

    def waiting() -> None:
        told.append("waiting")
        other.kill()

    with lock.held(path, waiting):
        assert told == ["waiting"]
    other.join()
    with lock.attempted(path) as mine:
        assert mine


def test_what_the_host_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it at once, with the command that brings it."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name in {"pebble", "nft"} else name)
    with pytest.raises(LabError, match=r"nft, pebble missing: `apt-get install nftables pebble`"):
        lifecycle.require_host([])


def test_not_root_is_said_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything else is looked at."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="as root"):
        lifecycle.require_host([])


def test_a_small_disk_is_refused_with_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence has what is free, what is needed, and the variable that leads elsewhere."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(lifecycle, "missing_packages", dict)
    monkeypatch.setenv("FASTAPI_METAL_STATE", str(tmp_path))
    usage = type("Usage", (), {"free": 300 << 20})()
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    machines = [Machine(f"web{number}") for number in range(3)]
    with pytest.raises(LabError, match=r"0\.3 GB free and 3 machine\(s\) need 3 GB: set FASTAPI_METAL_STATE"):
        lifecycle.require_host(machines)


@pytest.mark.parametrize("name", ["", "../etc", "a b", "x" * 60])
def test_a_lab_needs_a_plain_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It becomes a directory."""
    with pytest.raises(SystemExit):
        cli.main(["info", name])
    assert "cannot name a lab" in capsys.readouterr().err


def test_a_cgroup_that_vanishes_while_it_is_read_is_no_error(tmp_path: Path) -> None:
    """A machine makes and removes cgroups while it is taken down. Red when one that is gone ends the walk."""
    (tmp_path / "cgroup.procs").write_text("7\n")
    stop = threading.Event()

    def churn() -> None:
        session = tmp_path / "a/b/session"
        while not stop.is_set():
            session.mkdir(parents=True)
            session.rmdir()
            session.parent.rmdir()
            session.parent.parent.rmdir()

    machine = threading.Thread(target=churn)
    machine.start()
    try:
        for _ in range(3000):
            assert cgroup.pids([tmp_path]) == [7]
    finally:
        stop.set()
        machine.join()


def test_a_lab_weighs_more_than_one_process_beside_it(tmp_path: Path) -> None:
    """Red when a busy controller takes the processor from all machines."""
    for name in ("cpu.shares", "cpu.weight"):
        directory = tmp_path / name.replace(".", "-")
        directory.mkdir()
        (directory / name).write_text("100")
        cgroup.make([directory], "machine-web1")
        assert int((directory / name).read_text()) >= 800
