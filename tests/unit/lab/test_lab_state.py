"""What is known of a lab: its inventory, and whether anybody still needs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lab import inventory, paths, process, services, ssh, state
from lab.errors import LabError
from lab.machines import Machine
from lab.process import ProcessId
from lab.slots import Slot


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> state.Lab:
    """A lab of two machines, written to disk; nothing runs."""
    monkeypatch.setenv("FASTAPI_METAL_STATE", str(tmp_path))
    lab = state.Lab(
        name="try",
        slot=Slot(7),
        mtu=1400,
        machines=[
            Machine("web1", groups=["web", "monitoring"], names=["catalog.lab.test"], memory="3G"),
            Machine("db1", suite="bookworm", groups=["database"]),
        ],
        cgroups=[tmp_path / "cgroup"],
        boot_id=process.boot_id(),
        project=str(paths.PROJECT),
        complete=True,
        apt={"url": "http://apt.lab.test:8080", "key_file": "/key.asc", "standin": True},
    )
    lab.save()
    return lab


def test_the_state_survives_the_command(made: state.Lab) -> None:
    """Another command reads what the first one wrote."""
    assert state.running("try") == made


def test_ansible_gets_groups_addresses_and_keys(made: state.Lab) -> None:
    """Groups from the machines file, and all it needs to log in to this lab's machines only."""
    found = inventory.ansible(made, "/inventory")
    assert found["web"]["hosts"] == ["web1"]
    assert found["database"]["hosts"] == ["db1"]
    assert found["all"]["hosts"] == ["web1", "db1"]
    hosts = found["_meta"]["hostvars"]
    assert hosts["web1"]["ansible_host"] == "198.18.7.11"
    assert hosts["db1"]["ansible_host"] == "198.18.7.12"
    assert hosts["db1"]["inventory_dir"] == "/inventory"
    assert hosts["web1"]["ansible_control_path"] != hosts["db1"]["ansible_control_path"]
    everyone = found["all"]["vars"]
    assert "StrictHostKeyChecking=yes" in everyone["ansible_ssh_common_args"]
    assert f"UserKnownHostsFile={made.directory}/known_hosts" in everyone["ansible_ssh_common_args"]
    assert everyone["lab_acme_directory"] == "https://acme.lab.test:14000/dir"
    json.dumps(found)


def test_control_sockets_fit_the_kernel(made: state.Lab) -> None:
    """A socket's path has 107 bytes, and ssh adds 17 while it makes one."""
    longest = state.Lab(**{**vars(made), "slot": Slot(249)})
    assert len(str(longest.sockets / longest.slot.address(199))) + 17 <= 107


def test_names_resolve_on_both_protocols(made: state.Lab) -> None:
    """The lab's DNS knows machines, their sites, and the gateway's services."""
    lines = services.hosts_file(made).splitlines()
    assert "198.18.7.11 web1.lab.test catalog.lab.test" in lines
    assert "fd00:198:18:7::11 web1.lab.test catalog.lab.test" in lines
    assert "198.18.7.1 acme.lab.test apt.lab.test" in lines


def test_the_ssh_config_knows_machines_by_name(made: state.Lab) -> None:
    """OpenSSH itself reads it so."""
    path = made.directory / "ssh_config"
    path.write_text(ssh.config(made))
    said = subprocess.run(["ssh", "-G", "-F", path, "db1"], check=True, capture_output=True, text=True).stdout
    assert "hostname 198.18.7.12\n" in said
    assert "user admin\n" in said
    assert "stricthostkeychecking true\n" in said


def test_two_checkouts_have_each_their_lab(made: state.Lab, tmp_path: Path) -> None:
    """A second clone's lab of the same name is another lab."""
    other = state.Lab(**{**vars(made), "project": str(tmp_path), "slot": Slot(8)})
    other.save()
    assert other.directory != made.directory
    assert state.running("try").slot == Slot(7)
    assert sorted(state.claimed_slots()) == [7, 8]


def test_a_lab_in_use_is_not_dead(made: state.Lab) -> None:
    """Neither one without an owner, nor one whose owner runs."""
    assert made.dead() is None
    made.owner = process.identify(os.getpid())
    assert made.dead() is None


def test_a_lab_dies_with_its_owner(made: state.Lab) -> None:
    """The owner has ended."""
    ended = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    made.owner = process.identify(ended.pid)
    assert made.dead() is None
    ended.communicate(b"\n")
    assert "owner" in str(made.dead())


def test_a_number_used_again_is_not_the_owner(made: state.Lab) -> None:
    """Another process has the owner's number now."""
    me = process.identify(os.getpid())
    assert me is not None
    made.owner = ProcessId(me.pid, me.began - 1)
    assert "owner" in str(made.dead())


def test_a_zombie_owns_nothing() -> None:
    """A process that has ended but was not waited for."""
    ended = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert ended.stdout is not None
    ended.stdout.read()
    while (found := process.identify(ended.pid)) is not None:
        assert found.pid == ended.pid
    ended.wait()
    ended.stdout.close()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"complete": False}, "never finished"),
        ({"boot_id": "of yesterday"}, "restarted"),
        ({"project": "/nowhere"}, "checkout"),
    ],
)
def test_what_nobody_can_use_is_dead(made: state.Lab, change: dict[str, object], why: str) -> None:
    """Half made, from before the host's restart, or of a clone that was deleted."""
    for name, value in change.items():
        setattr(made, name, value)
    assert why in str(made.dead())


def test_a_lab_that_is_not_up_is_asked_for(made: state.Lab) -> None:
    """The sentence says how to get one."""
    with pytest.raises(LabError, match="bin/lab up other"):
        state.running("other")


def test_a_state_of_another_version_is_named(made: state.Lab) -> None:
    """No traceback, but the file."""
    path = made.directory / "lab.json"
    path.write_text('{"name": "try"}')
    with pytest.raises(LabError, match=r"lab\.json was written by another version"):
        state.load(made.key)


def test_owner_must_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong LAB_OWNER_PID would have the lab removed by the next command."""
    monkeypatch.setenv("LAB_OWNER_PID", "what")
    with pytest.raises(LabError, match="LAB_OWNER_PID=what"):
        state.owner_from_environment()
    monkeypatch.setenv("LAB_OWNER_PID", str(os.getpid()))
    assert state.owner_from_environment() == process.identify(os.getpid())


def test_molecule_test_owns_its_lab(tmp_path: Path) -> None:
    """A lab made somewhere below `molecule test` is its own, one made below `molecule create` is not."""
    fake = tmp_path / "molecule"
    below = "import lab.process as p; print(p.ancestor_running('molecule', 'test', '--destroy=never'))"
    fake.write_text(
        "import os, subprocess, sys\nprint(os.getpid(), flush=True)\n"
        "subprocess.run(['sh', '-c', sys.argv[-1] + '; true'])\n"
    )
    child = f'PYTHONPATH={paths.SHARED} {sys.executable} -c "{below}"'

    def owner(*arguments: str) -> list[str]:
        argv = [sys.executable, str(fake), *arguments, child]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()

    itself, found = owner("test", "-s", "default")
    assert found == itself
    assert owner("create")[1] == "None"
    assert owner("test", "--destroy=never")[1] == "None"
