"""The lab on real machines: what it promises to tests and to bin/demo, and that it leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from lab_bench import ROOT, Bench

ACME = "https://acme.lab.test:14000/dir"


def test_ansible_reaches_every_machine(bench: Bench, pair: str) -> None:
    """Over SSH, with the lab's own keys, by the project's inventory; the groups are those of the file.

    Red when the inventory names a wrong address, user or key.
    """
    ansible = str(ROOT / ".venv/bin/ansible")
    argv = [
        ansible,
        "-i",
        str(ROOT / "inventories/lab"),
        "all",
        "-m",
        "ansible.builtin.command",
        "-a",
        "id -u",
    ]
    environment = {**bench.environment, "LAB_NAME": pair, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(argv, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("rc=0") == 2
    found = json.loads(bench.lab("inventory", pair, "--list").stdout)
    assert (found["web"]["hosts"], found["database"]["hosts"]) == (["new"], ["old"])


@pytest.mark.parametrize(("machine", "release"), [("new", "13"), ("old", "12")])
def test_a_machine_is_a_whole_debian(bench: Bench, pair: str, machine: str, release: str) -> None:
    """systemd is PID 1, everything it started is well, and root is a sudo away.

    Red when a unit of the base image fails, or a suite is mixed up.
    """
    asked = (
        "systemctl is-system-running --wait; cat /proc/1/comm; cut -d. -f1 /etc/debian_version; sudo id -un"
    )
    assert bench.ask(pair, machine, asked).split() == ["running", "systemd", release, "root"]


def test_names_resolve_inside(bench: Bench, pair: str) -> None:
    """A machine finds the sites of the lab on both protocols, and none that is not there.

    Red when the DNS server does not run or knows no IPv6.
    """
    info = bench.info(pair)
    both = bench.ask(pair, "old", "getent ahosts catalog.lab.test | awk '$2 == \"STREAM\" {print $1}' | sort")
    assert both.split() == sorted([info["machines"]["new"], info["machines6"]["new"]])
    gone = bench.lab("ssh", pair, "old", "getent hosts nothing.lab.test", check=False)
    assert gone.returncode != 0


def test_machines_reach_each_other(bench: Bench, pair: str) -> None:
    """On IPv4 and on IPv6, over the bridge.

    Red when an address is not set on the interface.
    """
    info = bench.info(pair)
    for address in (info["machines"]["new"], info["machines6"]["new"]):
        assert bench.ask(pair, "old", f"exec 3<>/dev/tcp/{address}/22; head -c 4 <&3") == "SSH-"


def test_the_acme_server_answers_and_can_be_taken_away(bench: Bench, pair: str) -> None:
    """Its certificate leads to the lab's own authority; a machine that does not trust it is refused.

    Red when Pebble does not run, or when the authority is in the machine already.
    """
    authority = Path(bench.info(pair)["ca_file"]).read_text()
    trusting = f"echo '{authority}' >ca.pem; curl -sS --max-time 5 --cacert ca.pem {ACME}"
    assert "newOrder" in bench.ask(pair, "new", trusting)
    assert bench.lab("ssh", pair, "new", f"curl -s --max-time 5 {ACME}", check=False).returncode == 60
    bench.lab("acme", pair, "stop")
    assert bench.lab("ssh", pair, "new", trusting, check=False).returncode == 7
    bench.lab("acme", pair, "start")
    assert "newOrder" in bench.ask(pair, "new", trusting)
    assert "BEGIN CERTIFICATE" in Path(bench.info(pair)["acme_root"]).read_text()


def test_memory_is_limited_and_says_so(bench: Bench, pair: str) -> None:
    """512M in the file is what /proc/meminfo shows and what the kernel enforces; later it can be changed.

    Red when the limit is only shown, or only enforced.
    """
    eat = "python3 -c 'x = bytearray(400 << 20); print(len(x))'"
    shown = "awk '/MemTotal/ {print $2}' /proc/meminfo"
    assert bench.ask(pair, "new", shown) == str(512 << 10)
    assert bench.ask(pair, "new", eat) == str(400 << 20)
    bench.lab("memory", pair, "new", "300M")
    assert bench.ask(pair, "new", shown) == str(300 << 10)
    assert bench.ask(pair, "new", f"{eat}; echo $?") == "137"
    bench.lab("memory", pair, "new", "512M")
    bench.lab("memory", pair, "old", "1G")
    assert bench.ask(pair, "old", shown) == str(1 << 20)


def test_limits_of_units_are_enforced(bench: Bench, pair: str) -> None:
    """MemoryMax= of a unit inside the machine is real.

    Red when the controllers are mounted read-only, as plain systemd-nspawn does on cgroup v1.
    """
    eat = "python3 -c 'x = bytearray(200 << 20)'"
    limited = f"sudo systemd-run --quiet --wait -p MemoryMax=100M {eat.replace(chr(39), chr(34) + '')}"
    limited = f"sudo systemd-run --quiet --wait -p MemoryMax=100M {eat}"
    assert bench.lab("ssh", pair, "new", limited, check=False).returncode != 0
    assert bench.lab("ssh", pair, "new", limited.replace("100M", "400M"), check=False).returncode == 0


def test_a_reboot_keeps_the_disk_and_the_limit(bench: Bench, pair: str) -> None:
    """The command returns when the machine that came back lets one in.

    Red when the supervisor does not start it again.
    """
    stamp = "stat -c %Y /run/systemd/private; cat /proc/sys/kernel/random/boot_id"
    before = bench.ask(pair, "new", f"echo kept | sudo tee /srv/mark >/dev/null; {stamp}")
    bench.lab("reboot", pair, "new")
    assert bench.ask(pair, "new", stamp) != before
    assert bench.ask(pair, "new", "cat /srv/mark") == "kept"
    assert bench.ask(pair, "new", "awk '/MemTotal/ {print $2}' /proc/meminfo") == str(512 << 10)


def test_a_power_cut_is_no_shutdown(bench: Bench, pair: str) -> None:
    """The machine is gone at once, nothing in it is asked to end; it boots again with its disk.

    Red when `kill` shuts down in good order.
    """
    mark = "trap 'echo ended >/srv/trap; sync' TERM; while :; do sleep 0.2; done"
    bench.ask(pair, "new", f'sudo systemd-run --quiet sh -c "{mark}"; echo written | sudo tee /srv/mark')
    bench.lab("kill", pair, "new")
    assert "new" in bench.lab("list").stdout.split("(off)")[0]
    for command in (["ssh", pair, "new", "true"], ["reboot", pair, "new"]):
        off = bench.lab(*command, check=False)
        assert (off.returncode, "bin/lab start pair new" in off.stderr) == (1, True)
    bench.lab("start", pair, "new")
    assert bench.ask(pair, "new", "cat /srv/mark; test -e /srv/trap || echo none").split() == [
        "written",
        "none",
    ]


def test_a_snapshot_starts_other_machines_beside_it(bench: Bench, pair: str) -> None:
    """A second lab beside the first starts from a stopped machine's disk, with a name and address of its own.

    Red when labs share names or addresses, or the snapshot loses what was deleted or written.
    """
    snapshot = f"test-{os.getpid()}"
    bench.ask(pair, "old", "echo kept | sudo tee /srv/kept; sudo rm /etc/issue.net")
    refused = bench.lab("snapshot", pair, "old", snapshot, check=False)
    assert "bin/lab stop pair old" in refused.stderr
    bench.lab("stop", pair, "old")
    kept = Path(bench.lab("snapshot", pair, "old", snapshot).stdout.split()[-1])
    try:
        bench.lab("start", pair, "old")
        machines = bench.machines({"name": "copy", "suite": "bookworm", "snapshot": snapshot})
        bench.lab("up", "copy", "--machines", machines)
        look = "hostname; cat /srv/kept; test -e /etc/issue.net || echo deleted; cat /etc/machine-id"
        name, content, deleted, identity = bench.ask("copy", "copy", look).split()
        assert (name, content, deleted) == ("copy", "kept", "deleted")
        assert identity != bench.ask(pair, "old", "cat /etc/machine-id")
        first, second = bench.info(pair), bench.info("copy")
        assert first["bridge"] != second["bridge"]
        assert not set(first["machines"].values()) & set(second["machines"].values())
        assert bench.ask(pair, "old", "hostname") == "old"
        bench.lab("down", "copy")
    finally:
        subprocess.run(["rm", "-r", str(kept)], check=True)


def test_a_lab_goes_with_its_owner(bench: Bench, pair: str) -> None:
    """A lab whose owner was killed is removed by the next command, one whose owner runs is left alone.

    Red when owners are not looked at, or a lab in use is taken away.
    """
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    bench.lab("up", "owned", "--machines", bench.machines({"name": "web1"}), LAB_OWNER_PID=str(owner.pid))
    slots = bench.slots() - {int(bench.info(pair)["bridge"].removeprefix("fmlab"))}
    assert bench.lab("reap").stdout == "nothing to remove\n"
    owner.kill()
    owner.communicate()
    said = bench.lab("reap").stdout
    assert f"its owner, process {owner.pid}, is gone" in said
    assert [trace for trace in bench.traces(slots) if "pair" not in trace] == []


def read_until(running: subprocess.Popen[str], wanted: str) -> str:
    """Read what a command says up to a word, without waiting for the end of a line."""
    assert running.stdout is not None
    said = ""
    while wanted not in said:
        letter = running.stdout.read(1)
        assert letter, said
        said += letter
    return said


def file_of_lab(bench: Bench, name: str) -> bool:
    """Tell whether the lab that is made or taken down now has this file."""
    return any(bench.state.glob(f"labs/cut.*/{name}"))


def mounted(bench: Bench) -> bool:
    """Tell whether a disk of the lab is mounted."""
    return str(bench.state) in Path("/proc/mounts").read_text()


def in_cgroup(bench: Bench, name: str) -> bool:
    """Tell whether a part of the lab has a cgroup with processes."""
    for path in bench.state.glob("labs/cut.*/lab.json"):
        for directory in json.loads(path.read_text())["cgroups"]:
            procs = Path(directory, name, "cgroup.procs")
            if procs.exists() and procs.read_text():
                return True
    return False


def bridge(bench: Bench) -> bool:
    """Tell whether a lab of this bench has its bridge, or somebody has one and says nothing of it."""
    there = any(Path(f"/sys/class/net/fmlab{slot}").exists() for slot in bench.slots())
    return there or bool(bench.unclaimed())


def cut(bench: Bench, command: list[str | Path], when: Callable[[], bool], delay: float = 0) -> None:
    """Start a command of the lab and kill -9 it as soon as something is the case, or a bit later."""
    running = bench.begin(*command)
    end = time.monotonic() + 60
    while not when():
        assert running.poll() is None, "it was over before that"
        assert time.monotonic() < end
    time.sleep(delay)
    running.kill()
    running.communicate()


def gone(made: Callable[[Bench], bool], bench: Bench) -> bool:
    """Tell whether something is not there any more."""
    return not made(bench)


# What `bin/lab up` makes, in its order.
MADE: dict[str, Callable[[Bench], bool]] = {
    "state": lambda bench: file_of_lab(bench, "lab.json"),
    "bridge": bridge,
    "certificates": lambda bench: file_of_lab(bench, "ca"),
    "dns": lambda bench: in_cgroup(bench, "service-dnsmasq"),
    "apt": lambda bench: in_cgroup(bench, "service-apt"),
    "disk": mounted,
    "identity": lambda bench: file_of_lab(bench, "machines/web1/root/etc/ssh/ssh_host_ed25519_key"),
    "cgroup": lambda bench: in_cgroup(bench, "machine-web1"),
    "supervisor": lambda bench: file_of_lab(bench, "machines/web1/supervisor.json"),
    "boot": lambda bench: file_of_lab(bench, "machines/web2/boots"),
}
DELAYS = {"bridge": 0.02, "boot": 0.5}


def test_a_killed_up_leaves_nothing_for_long(bench: Bench) -> None:
    """kill -9 of `bin/lab up` just after each thing that it makes: the next command removes every trace.

    Red when anything is made before it is written down: a mount, a bridge, a table, a cgroup, a process.
    """
    bench.lab("down", "--all")
    up: list[str | Path] = [
        "up",
        "cut",
        "--machines",
        bench.machines({"name": "web1"}, {"name": "web2", "suite": "bookworm"}),
    ]
    moments = [(name, 0.0) for name in MADE] + list(DELAYS.items())
    kinds: set[str] = set()
    for name, delay in moments:
        cut(bench, up, partial(MADE[name], bench), delay)
        slots = bench.slots()
        kinds |= {trace.split()[0] for trace in bench.traces(slots)}
        bench.lab("reap")
        assert bench.traces(slots) == [], f"{delay} s after {name}"
    assert kinds == {"mount", "interface", "nft", "cgroup", "process", "socket", "directory"}
    # The next `up` of that name needs no reap before it.
    cut(bench, up, partial(MADE["boot"], bench), 0.2)
    bench.lab(*up)
    assert bench.ask("cut", "web2", "hostname") == "web2"
    slots = bench.slots()
    bench.lab("down", "cut")
    assert bench.traces(slots) == []


def test_a_killed_down_leaves_nothing_for_long(bench: Bench) -> None:
    """kill -9 of `bin/lab down` just after each thing that it removes: what is left is not called a lab.

    Red when a lab is still called up after its processes were killed.
    """
    up: list[str | Path] = ["up", "cut", "--machines", bench.machines({"name": "web1"})]
    for name in ("cgroup", "bridge", "disk"):
        bench.lab(*up)
        slots = bench.slots()
        cut(bench, ["down", "cut"], partial(gone, MADE[name], bench))
        bench.lab("reap")
        assert bench.traces(slots) == [], f"after {name}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_cleans_up_itself(bench: Bench, number: signal.Signals) -> None:
    """Ctrl-C, or a polite end by bin/test: nothing is left, without another command.

    Red when an interruption skips the cleaning.
    """
    running = bench.begin("up", "cut", "--machines", bench.machines({"name": "web1"}))
    read_until(running, "Boot")
    slots = bench.slots()
    running.send_signal(number)
    running.communicate()
    assert running.returncode == 130
    assert slots
    assert bench.traces(slots) == []


def test_labs_made_at_once_do_not_collide(bench: Bench) -> None:
    """Two processes make a lab each at the same time; then both are taken down at once.

    Red when slots are allocated without a lock.
    """
    machines = bench.machines({"name": "web1"})
    made = [bench.begin("up", name, "--machines", machines) for name in ("left", "right")]
    for running in made:
        said, _ = running.communicate()
        assert running.returncode == 0, said
    assert bench.info("left")["subnet"] != bench.info("right")["subnet"]
    assert bench.ask("left", "web1", "hostname") == bench.ask("right", "web1", "hostname") == "web1"
    slots = bench.slots()
    ended = [bench.begin("down", name) for name in ("left", "right")]
    assert [running.wait(60) for running in ended] == [0, 0]
    for running in ended:
        running.communicate()
    assert bench.traces(slots) == []


def test_a_connection_that_stays_open_keeps_nothing(bench: Bench) -> None:
    """Somebody on the host holds a connection to a machine: its cable goes with the lab, and its name.

    Red when the machines' ends of the cables are left to the kernel.
    """
    up: list[str | Path] = ["up", "held", "--machines", bench.machines({"name": "web1"})]
    bench.lab(*up)
    slots = bench.slots()
    address = bench.info("held")["machines"]["web1"]
    pour = "import socket; s = socket.create_server(('', 9)); c, _ = s.accept(); c.sendall(bytes(10**9))"
    bench.ask("held", "web1", f'sudo systemd-run -q -p Type=exec python3 -c "{pour}"; sleep 1')
    with socket.create_connection((address, 9)) as held:
        # Nobody takes more of it, so the machine's side cannot end.
        assert held.recv(3) == bytes(3)
        time.sleep(1)
        bench.lab("down", "held")
        assert bench.traces(slots) == []
        bench.lab(*up)
    bench.lab("down", "held")


def test_one_builds_the_image_and_the_other_waits(bench: Bench, tmp_path: Path) -> None:
    """Two want an image that is not there; a build that was killed is begun anew, a finished one is used.

    Red when both build, when half an image is used, or when a killed build goes on.
    """
    from lab import base

    ready = base.image("trixie")
    # It copies the finished image, slowly enough to be met at work: building takes a minute.
    tool = tmp_path / "bin/mmdebstrap"
    tool.parent.mkdir()
    tool.write_text(
        f"#!/bin/sh\nset -e\necho built >>{tmp_path}/builds\nfor target; do :; done\n"
        f'mkdir "$target"\nsleep 1\ncp -al {ready}/. "$target" 2>/dev/null || cp -a {ready}/. "$target"\n'
    )
    tool.chmod(0o755)
    cache = tmp_path / "cache"
    bench.environment |= {"FASTAPI_METAL_CACHE": str(cache), "PATH": f"{tool.parent}:{os.environ['PATH']}"}
    try:
        killed = bench.begin("images", "trixie")
        while not (tmp_path / "builds").exists():
            time.sleep(0.02)
        killed.kill()
        killed.communicate()
        time.sleep(0.3)
        assert subprocess.run(["pgrep", "-f", f"{cache}/images/"], check=False).returncode == 1
        assert not (cache / "images" / ready.name).exists()
        both = [bench.begin("images", "trixie") for _ in range(2)]
        said = [running.communicate()[0] for running in both]
        assert [running.returncode for running in both] == [0, 0], said
    finally:
        del bench.environment["FASTAPI_METAL_CACHE"]
        bench.environment["PATH"] = os.environ["PATH"]
    assert (tmp_path / "builds").read_text().count("built") == 2
    assert sum("waiting for it" in text for text in said) == 1
    assert (cache / "images" / ready.name / "usr/local/sbin/lab-init").exists()
    assert list((cache / "images").glob("*.new")) == []
    subprocess.run(["rm", "-r", str(cache)], check=True)
