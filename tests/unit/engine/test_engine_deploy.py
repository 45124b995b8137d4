"""A release goes live only if it is well, and what served before serves on."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from engine_fake import Behaviour, FakeMachine, Host, Killed, tarball
from fastapi_metal.machine.debian import Debian
from fastapi_metal.machine.interface import Output
from fastapi_metal.steps.gate import Watched, gate


def test_first_release_goes_live(host: Host) -> None:
    """An empty machine serves the application after one deploy."""
    done = host.deploy("one")
    assert done["problem"] is None
    assert host.live_word() == "one"
    assert "first release" in done["report"][0]


def test_same_input_is_the_same_release(host: Host) -> None:
    """A second run changes nothing."""
    first = host.deploy("one")
    again = host.deploy("one")
    assert again["effects"] == []
    assert again["release"] == first["release"]
    assert "unchanged" in again["report"][0]


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ({}, {"env": {"LEVEL": "debug"}}, "config (env)"),
        ({}, {"server": {"timeout": 99}}, "config (gunicorn.conf.py)"),
        ({"secrets": {"key": "a"}}, {"secrets": {"key": "b"}}, "secret (key)"),
        ({}, {"before_start": ["alembic upgrade head"]}, "config (before_start)"),
        ({}, {"limits": {"memory": "1G"}}, "config (release.conf)"),
        ({}, {"install": {"extras": ["redis"], "build": ["make"]}}, "install (build, extras)"),
    ],
)
def test_a_changed_setting_is_a_new_release(
    host: Host, before: dict[str, object], after: dict[str, object], why: str
) -> None:
    """A value or a secret is released like code, and the report names what changed."""
    first = host.deploy("one", **before)
    second = host.deploy("one", **after)
    assert second["problem"] is None
    assert second["release"] != first["release"]
    assert second["report"][0].endswith(f"because of: {why}")


def test_what_a_host_shows_does_not_hold_a_secret(host: Host) -> None:
    """The secret is in the file that root alone reads, and in no other."""
    host.machine.encrypts = False
    host.deploy("one", secrets={"key": "very-secret-value"})
    holders = [
        path
        for path in host.machine.root.rglob("*")
        if path.is_file() and b"very-secret" in path.read_bytes()
    ]
    assert [path.name for path in holders] == ["key"]
    assert holders[0].stat().st_mode & 0o777 == 0o400
    assert holders[0].parent.stat().st_mode & 0o777 == 0o700


def test_the_account_of_an_index_is_written_nowhere(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installers get it by their environment, and no argument, file or message holds it."""
    seen: list[tuple[str, str]] = []
    real = host.machine.run

    def noted(argv: list[str], directory: Path, env: dict[str, str]) -> Output:
        seen.append((" ".join(argv), env.get("UV_DEFAULT_INDEX", "")))
        return real(argv, directory, env)

    monkeypatch.setattr(host.machine, "run", noted)
    index = {
        "index": "https://pypi.example.org/simple",
        "index_username": "me",
        "index_password": "very-secret",
    }
    assert host.deploy("one", install=index)["problem"] is None
    asked = [address for argv, address in seen if "pip install" in argv]
    assert set(asked) == {"https://me:very-secret@pypi.example.org/simple"}
    assert "very-secret" not in str([argv for argv, _ in seen])
    files = [path for path in host.machine.root.rglob("*") if path.is_file()]
    assert not [path for path in files if b"very-secret" in path.read_bytes()]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour(starts=False), "its server ended and had to be started again, before it was healthy"),
        (Behaviour(status=500), "the last answer: status 500"),
        (Behaviour(status=503, respawns=True), "its workers die and are started again"),
        (Behaviour(workers=1), "it has 1 worker processes instead of 2"),
        (Behaviour(dies_after=1), "after its first healthy answer"),
        (Behaviour(loses_worker_after=1), "one of its workers died"),
        (Behaviour(dies_after=5), "into the watch"),
    ],
    ids=[
        "import error",
        "unhealthy",
        "respawning",
        "too few workers",
        "dies in the gate",
        "loses a worker",
        "dies in the watch",
    ],
)
def test_a_release_that_is_not_well_is_put_back(host: Host, behaviour: Behaviour, reason: str) -> None:
    """The old release serves, the failed one is stopped, stays on disk and says why."""
    host.deploy("good")
    host.machine.behaviour["bad"] = behaviour
    failed = host.deploy("bad")
    assert reason in failed["problem"]
    assert failed["journal"][0].startswith("last words of shop@")
    assert host.live_word() == "good"
    assert len(host.machine.enabled("shop")) == 1
    assert len(host.machine.loaded("shop")) == 1
    marks = list(host.layout.releases.glob("*/failed"))
    assert len(marks) == 1
    assert reason in marks[0].read_text()


def test_a_failed_release_is_tried_again_and_then_forgets(host: Host) -> None:
    """What failed for a reason outside of it is not made anew once the reason is gone."""
    host.deploy("good")
    host.machine.behaviour["bad"] = Behaviour(status=503)
    host.deploy("bad")
    host.machine.behaviour.clear()
    done = host.deploy("bad")
    assert done["problem"] is None
    assert "back to release" in done["report"][0]
    assert not list(host.layout.releases.glob("*/failed"))


def test_a_failing_command_stops_before_anything_runs(host: Host) -> None:
    """A migration that fails leaves the old release as it was and is tried again next time."""
    host.deploy("good")
    host.machine.failing_commands.add("alembic upgrade head")
    failed = host.deploy("new", before_start=["alembic upgrade head"])
    assert "`alembic upgrade head` (apps.shop.before_start) ended with status 1" in failed["problem"]
    assert "last words of shop-before-start" in failed["problem"]
    assert host.live_word() == "good"
    assert len(host.machine.loaded("shop")) == 1
    host.machine.failing_commands.clear()
    assert host.deploy("new", before_start=["alembic upgrade head"])["problem"] is None
    assert host.machine.commands == ["alembic upgrade head"] * 2


def test_commands_run_once_per_release(host: Host) -> None:
    """An unchanged run and a way back do not migrate again."""
    host.deploy("one", before_start=["migrate"])
    host.deploy("one", before_start=["migrate"])
    host.deploy("two", before_start=["migrate"])
    host.deploy("one", before_start=["migrate"])
    assert host.machine.commands == ["migrate", "migrate"]


def test_the_old_release_ends_only_when_its_requests_have(host: Host) -> None:
    """Requests in flight are waited for, but not for ever."""
    old = host.deploy("one")["release"]
    host.machine.in_flight[old] = 20
    host.deploy("two")
    assert host.machine.in_flight[old] == 0
    new = host.layout.current.readlink().name
    host.machine.in_flight[new] = 10_000
    begin = host.machine.time
    host.deploy("three", drain_timeout=10)
    assert 10 < host.machine.time - begin < 25
    assert host.live_word() == "three"


def test_packages_that_cannot_be_installed_are_named(host: Host) -> None:
    """A wrong hash says so, before anything is started."""
    host.deploy("good")
    host.machine.uv_status = 2
    failed = host.deploy("bad", install={"packages": ["fastapi"]})
    assert "Hash mismatch for `fastapi`" in failed["problem"]
    assert host.live_word() == "good"


def test_a_machine_without_uv_is_told_what_to_run(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever deploys before the machine was made ready gets a sentence, and nothing has moved."""
    host.deploy("good")
    monkeypatch.setattr("fastapi_metal.packages.virtualenv.UV", "/nowhere/uv")
    monkeypatch.setattr(host.machine, "run", Debian().run)
    assert host.deploy("bad", install={"packages": ["fastapi"]})["problem"] == (
        "/nowhere/uv is missing on this machine; run playbooks/site.yml first, whose role python installs it"
    )
    assert host.live_word() == "good"


def test_another_python_is_another_release(host: Host) -> None:
    """After an upgrade of Debian the application is built anew, and the report says why."""
    host.machine.version = "3.11"
    host.deploy("one")
    host.machine.version = "3.13"
    done = host.deploy("one")
    assert "python (3.11 -> 3.13)" in done["report"][0]


def test_an_unfinished_end_is_finished(host: Host) -> None:
    """Where the controller died after the rename, the next run ends the old release."""
    first = host.deploy("one")["release"]
    host.deploy("two")
    host.machine.start(host.layout.units(first)[:2], wait=True)
    done = host.deploy("two")
    assert done["effects"] == ["drain.stop"]
    assert host.machine.loaded("shop") == {host.layout.current.readlink().name}


def test_a_release_that_stopped_is_started_again(host: Host) -> None:
    """A deploy of what is live brings it back when a crash loop has ended it."""
    host.deploy("one")
    host.machine.running.clear()
    done = host.deploy("one")
    assert done["problem"] is None
    assert host.live_word() == "one"
    assert "it is put in order" in done["report"][0]


def test_old_releases_go_and_the_live_and_previous_stay(host: Host) -> None:
    """keep_releases is kept; what is needed for the way back is never pruned."""
    for word in ("a", "b", "c", "d", "e"):
        host.deploy(word, keep_releases=2)
    assert len(list(host.layout.releases.iterdir())) == 2
    assert len(list(host.layout.all_credentials.iterdir())) == 2
    assert len(list(host.layout.system_units.glob("shop@*.d"))) == 2
    history = [json.loads(line) for line in host.layout.history.read_text().splitlines()]
    switches = [entry["to"] for entry in history if "to" in entry]
    assert switches[-1] == host.layout.current.readlink().name
    assert len(switches) == 5
    assert [entry["release"] for entry in history if entry.get("result") == "released"] == switches


def test_the_previous_release_stays_however_old(host: Host) -> None:
    """After a way back to an old release, the next deploy keeps that one for the way back."""
    for word in ("a", "b", "c", "d", "a"):
        host.deploy(word, keep_releases=9)
    before = host.layout.current.readlink().name
    host.deploy("e", keep_releases=2)
    assert host.layout.record(before).is_file()
    assert len(list(host.layout.releases.iterdir())) == 3


def test_a_half_removed_release_is_no_release(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """When power fails while files are removed, what is left is never taken for a whole release."""
    first = host.deploy("a", keep_releases=2)["release"]
    host.deploy("b", keep_releases=2)
    real = shutil.rmtree

    def power_fails(path: Path) -> None:
        if path == host.layout.release(first):
            raise Killed
        real(path)

    monkeypatch.setattr(shutil, "rmtree", power_fails)
    with pytest.raises(Killed):
        host.deploy("c", keep_releases=2)
    monkeypatch.undo()
    assert host.layout.source(first).is_dir()
    assert host.deploy("a", keep_releases=2)["release"] != first


def test_what_is_left_of_a_half_release_does_not_reach_a_whole_one(host: Host) -> None:
    """Another machine may hand out the name that was begun here; nothing of the old try stays."""
    request = host.request("a")
    host.step("ensure", request)
    leftover = host.layout.source("some-id") / "leftover.py"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    archive = host.machine.root / "source.tar.gz"
    archive.write_bytes(tarball())
    assert host.step("stage", {**request, "release": "some-id", "archive": str(archive)})["problem"] is None
    assert host.layout.record("some-id").is_file()
    assert not leftover.exists()


def test_a_prepared_release_is_not_prepared_again(host: Host) -> None:
    """Whoever asks twice gets one migration."""
    done = host.deploy("a", before_start=["migrate"])
    request = {**host.request("a", before_start=["migrate"]), "release": done["release"]}
    assert host.step("prepare", request)["effects"] == []
    assert host.machine.commands == ["migrate"]


def test_a_live_release_that_somebody_removed_is_replaced(host: Host) -> None:
    """A link to nothing is no release to compare with, and the next run mends it."""
    host.machine.stop(host.layout.units(host.deploy("a")["release"]))
    shutil.rmtree(host.layout.releases)
    host.layout.releases.mkdir(mode=0o711)
    done = host.deploy("a")
    assert done["problem"] is None
    assert "first release" in done["report"][0]
    assert host.live_word() == "a"


def test_what_failed_stays_until_the_next_success(host: Host) -> None:
    """A failed release can be looked into, and does not pile up."""
    host.deploy("good")
    host.machine.behaviour["bad"] = Behaviour(status=500)
    host.deploy("bad")
    assert len(list(host.layout.releases.iterdir())) == 2
    host.deploy("good")
    assert len(list(host.layout.releases.iterdir())) == 2
    host.deploy("better")
    assert not list(host.layout.releases.glob("*/failed"))


def test_a_first_release_that_fails_is_no_release(host: Host) -> None:
    """Nothing is live before, nothing is live after, and the next run can succeed."""
    host.machine.behaviour["bad"] = Behaviour(starts=False)
    assert host.deploy("bad")["problem"]
    assert not host.layout.current.exists()
    assert not host.machine.loaded("shop")
    assert host.deploy("good")["problem"] is None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ({"free": 100}, "100 MiB are free"),
        ({"users": {"shop": "/home/shop"}}, "has a user `shop` that is not the application's"),
        ({"version": ""}, "is no CPython of Debian"),
        ({"groups": set()}, "has no group `www-data`"),
    ],
)
def test_a_machine_that_cannot_carry_it_is_refused(host: Host, spoil: dict[str, object], words: str) -> None:
    """The sentence names what is wrong, the variable, its file and a value that works."""
    for name, value in spoil.items():
        setattr(host.machine, name, value)
    problem = host.deploy("one")["problem"]
    assert words in problem
    assert "group_vars/all/app" in problem
    assert not host.layout.home.exists()


def test_a_name_that_belongs_to_another_program_is_refused(host: Host) -> None:
    """Nothing is written into somebody else's directory in /etc."""
    host.layout.etc.mkdir(parents=True)
    assert "belongs to something else" in host.deploy("one")["problem"]


def test_a_working_directory_that_is_not_there_is_named(host: Host) -> None:
    """The message says which key is wrong."""
    assert (
        "set apps.shop.workdir in group_vars/all/apps.yml" in host.deploy("one", workdir="backend")["problem"]
    )


def test_the_window_ends_on_any_clock(host: Host) -> None:
    """What is left of the window may be too little to move the clock, and the gate still ends."""
    release = host.deploy("new")["release"]
    for start in range(2000):
        host.machine.time = start * 0.05
        gated = gate(Watched(host.engine(host.request("new")), release, 2))
        assert gated is None, start


class FallsIll(Host):
    """A machine whose new release passes the gate, and is ill when its turn to switch comes."""

    def step(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Run one step."""
        if name == "switch" and request["entry"]["env"]["WORD"] == "new":
            self.machine.behaviour["new"] = Behaviour(status=500)
        return super().step(name, request)


def test_a_release_that_fell_ill_while_it_waited_gets_no_traffic(tmp_path: Path) -> None:
    """While other hosts switch first, minutes may pass; traffic moves only to what is still well."""
    host = FallsIll(FakeMachine(tmp_path))
    host.deploy("old")
    done = host.deploy("new")
    assert "before it got traffic: status 500" in done["problem"]
    assert "switch.rename" not in done["effects"]
    assert host.live_word() == "old"
