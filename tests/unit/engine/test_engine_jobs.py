"""Processes and timers belong to one release, and run where and while it is live."""

from typing import Any

import pytest
from engine_fake import Host
from fastapi_metal.release.job_units import script
from fastapi_metal.steps import jobs

WORKER = {"processes": {"worker": {"command": "arq shop.Worker"}}}
REPORT = {"timers": {"report": {"command": "python -m shop.report", "schedule": "daily"}}}


def test_a_process_runs_from_its_own_release(host: Host) -> None:
    """It is restarted with the release, from that release's path, with what the server has."""
    first = host.deploy("one", **WORKER, secrets={"key": "value"})["release"]
    assert host.machine.jobs_alive("shop") == {f"shop.worker@{first}.service"}
    unit = (host.layout.system_units / f"shop.worker@{first}.service").read_text()
    assert f"ExecStart=/bin/sh -e {host.layout.release(first)}/jobs/worker.sh" in unit
    server = host.layout.drop_in(first).read_text()
    ours = {"Environment=", "Exec", "Runtime", "Timeout", "#", "[", "Type", "Restart"}
    for line in server.splitlines():
        assert line in unit or any(line.startswith(start) for start in ours), line
    assert "current" not in unit.replace(f"ExecCondition=/usr/bin/test {host.layout.current} -ef", "")
    second = host.deploy("two", **WORKER)["release"]
    assert host.machine.jobs_alive("shop") == {f"shop.worker@{second}.service"}
    assert host.machine.jobs_enabled("shop") == {f"shop.worker@{second}.service"}


def test_what_is_no_longer_declared_is_gone(host: Host) -> None:
    """Its unit stops with the old release, and its file goes with it."""
    first = host.deploy("one", **WORKER, **REPORT, keep_releases=2)["release"]
    host.deploy("two", keep_releases=2)
    assert not host.machine.jobs_alive("shop")
    assert not host.machine.jobs_enabled("shop")
    # Kept for the way back.
    assert len(host.layout.job_files(first)) == 3
    stamp = jobs.stamp(host.layout, f"shop.report@{first}.timer")
    host.machine.stamp(stamp, 1)
    host.deploy("three", keep_releases=2)
    assert not host.layout.job_files(first)
    assert not stamp.exists()


def test_the_way_back_brings_them_back(host: Host) -> None:
    """A release has the processes that it was made with."""
    first = host.deploy("one", **WORKER)["release"]
    host.deploy("two")
    host.deploy("one", **WORKER)
    assert host.machine.jobs_alive("shop") == {f"shop.worker@{first}.service"}


def test_only_the_first_host_has_them_and_another_first_host_takes_over(host: Host) -> None:
    """What `hosts: first` says follows the inventory, and is no other release."""
    entry: dict[str, Any] = {"processes": {"one": {"command": "x", "hosts": "first"}}, **REPORT}
    release = host.deploy("one", **entry)["release"]
    assert len(host.machine.jobs_alive("shop")) == 2
    host.first = False
    moved = host.deploy("one", **entry)
    assert moved["release"] == release
    assert not host.machine.jobs_alive("shop")
    assert not host.machine.jobs_enabled("shop")
    host.first = True
    host.deploy("one", **entry)
    assert len(host.machine.jobs_alive("shop")) == 2
    assert host.deploy("one", **entry)["effects"] == []


def test_a_process_that_does_not_stay_up_puts_the_release_back(host: Host) -> None:
    """The web side is well and the worker is not: the old ones of both go on."""
    first = host.deploy("good", **WORKER)["release"]
    host.machine.dying_jobs.add("shop.worker")
    failed = host.deploy("bad", **WORKER)
    assert "the process `worker` (apps.shop.processes.worker) does not stay up" in failed["problem"]
    assert failed["journal"][0].startswith("last words of shop.worker@")
    assert host.live_word() == "good"
    assert host.machine.jobs_alive("shop") == {f"shop.worker@{first}.service"}
    assert host.machine.jobs_enabled("shop") == {f"shop.worker@{first}.service"}


def test_a_process_that_failed_later_is_brought_back_by_a_deploy(host: Host) -> None:
    """A deploy of what is live puts it in order."""
    release = host.deploy("one", **WORKER)["release"]
    host.machine.stop([f"shop.worker@{release}.service"])
    done = host.deploy("one", **WORKER)
    assert "it is put in order" in done["report"][0]
    assert host.machine.jobs_alive("shop") == {f"shop.worker@{release}.service"}


def test_a_job_that_runs_is_not_cut_short(host: Host) -> None:
    """A deploy stops the timer alone; the release stays on disk until what it has started has ended."""
    first = host.deploy("one", **REPORT, keep_releases=2)["release"]
    work = f"shop.report@{first}.service"
    host.machine.start([work], wait=True)
    host.deploy("two", **REPORT, keep_releases=2)
    host.deploy("three", **REPORT, keep_releases=2)
    assert work in host.machine.jobs_alive("shop")
    assert host.layout.record(first).is_file()
    assert host.deploy("three", **REPORT, keep_releases=2)["effects"] == []
    host.machine.stop([work])
    host.deploy("three", **REPORT, keep_releases=2)
    assert not host.layout.release(first).exists()


def test_a_failure_of_a_release_that_is_gone_is_forgotten(host: Host) -> None:
    """Nothing would ever start it again, and an alert would tell of it for ever."""
    work = f"shop.report@{host.deploy('one', **REPORT)['release']}.service"
    host.machine.failed.add(work)
    host.deploy("two", **REPORT)
    assert host.machine.failed == set()
    # It was at work when its release went, and failed after that: told, until the release is removed.
    host.machine.failed.add(work)
    host.deploy("three", **REPORT, keep_releases=1)
    assert host.machine.failed == set()


def test_a_timer_may_be_as_quick_as_its_schedule_says(host: Host) -> None:
    """Systemd would take the sixth start within ten seconds for a crash loop."""
    release = host.deploy("one", **REPORT)["release"]
    text = (host.layout.system_units / f"shop.report@{release}.service").read_text()
    assert "StartLimitIntervalSec=0\n" in text.partition("[Service]")[0]


def test_a_timer_knows_when_the_one_before_has_run(host: Host) -> None:
    """systemd remembers by the unit's name, and that is another one with each release."""
    first = host.deploy("one", **REPORT)["release"]
    host.machine.stamp(jobs.stamp(host.layout, f"shop.report@{first}.timer"), 4_711_000_000_000)
    second = host.deploy("two", **REPORT)["release"]
    new = jobs.stamp(host.layout, f"shop.report@{second}.timer")
    assert new.stat().st_mtime_ns == 4_711_000_000_000


def test_a_changed_schedule_or_command_is_a_release(host: Host) -> None:
    """It gets the same gate as code, and the report names what changed."""
    host.deploy("one", **REPORT)
    again = {"report": {**REPORT["timers"]["report"], "schedule": "weekly"}}
    assert "because of: config (jobs/report.timer)" in host.deploy("one", timers=again)["report"][0]


def test_a_time_that_systemd_does_not_know_is_refused_first(host: Host) -> None:
    """Before anything is on disk, with times that work."""
    wrong = {"report": {**REPORT["timers"]["report"], "schedule": "sometimes"}}
    problem = host.deploy("one", timers=wrong)["problem"]
    assert "apps.shop.timers.report.schedule" in problem
    assert "`Mon..Fri 06:30`" in problem
    assert not host.layout.home.exists()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("arq shop.worker.Settings", "exec arq shop.worker.Settings\n"),
        ("celery -A shop worker -l info", "exec celery -A shop worker -l info\n"),
        ("cd x && run", "cd x && run\n"),
        ("A=1 run", "A=1 run\n"),
        ("exec run", "exec run\n"),
        ("while true; do run; done", "while true; do run; done\n"),
        ("run | tee log", "run | tee log\n"),
    ],
)
def test_a_simple_command_gets_the_signals_itself(text: str, written: str) -> None:
    """The shell stands between systemd and a process only where it is needed."""
    assert script(text) == written
