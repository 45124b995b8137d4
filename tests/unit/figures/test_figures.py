"""What a machine says of itself: the format, the names, and nothing that is not so."""

import json
import os
import time

import pytest
from figures_machine import Machine
from machine_figures import __main__ as program
from machine_figures import machine as slow
from machine_figures import releases, units
from machine_figures.text import Figures, counted

SHOWN = """\
Id=shop@r2.service
LoadState=loaded
ActiveState=active
Result=success
NRestarts=2
MemoryCurrent=1048576
MemoryMax=infinity
CPUUsageNSec=1500000000
TasksCurrent=[not set]

Id=shop.worker@r2.service
LoadState=loaded
ActiveState=failed
Result=exit-code
NRestarts=8

Id=nginx.service
LoadState=loaded
ActiveState=inactive
Result=success
NRestarts=0

Id=absent.service
LoadState=not-found
ActiveState=inactive
Result=success
"""


def test_units_are_named_without_their_release(machine: Machine) -> None:
    """A release's id is a label, so that a graph goes on over a deploy; what is not there is left out."""
    machine.release("r2")
    machine.live("r2")
    text = units.collect(machine.config, SHOWN, ["shop.worker@r2.service", "cron.service"]).text()
    assert 'unit_active{app="shop",live="1",release="r2",unit="shop"} 1\n' in text
    assert 'unit_active{app="",live="0",release="",unit="nginx"} 0\n' in text
    assert 'unit_start_limit_hit{app="shop",release="r2",unit="shop.worker"} 1\n' in text
    assert 'unit_cpu_seconds_total{app="shop",release="r2",unit="shop"} 1.5\n' in text
    assert 'unit_failed{unit="shop.worker"} 1\n' in text
    assert "units_failed 2\n" in text
    assert "absent" not in text
    assert "unit_memory_limit_bytes" not in text
    assert text.count("# TYPE unit_active gauge") == 1


def test_a_live_release_that_was_stopped_is_still_asked_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd forgets a stopped unit, so its own name is asked; shown twice, it is one row."""
    machine.release("r2")
    machine.live("r2")
    asked: list[str] = []

    def show(patterns: list[str]) -> str:
        asked.extend(patterns)
        return f"{SHOWN}\n{SHOWN}"

    monkeypatch.setattr(units, "show", show)
    text = units.collect(machine.config, failed=[]).text()
    assert "shop@r2.service" in asked
    assert "shop.*@*.service" in asked
    assert text.count('unit_active{app="shop",live="1"') == 1


def test_labels_cannot_break_the_format() -> None:
    """Whatever a label holds, it ends where it ends."""
    figures = Figures()
    figures.describe("x", "X.")
    figures.add("x", 1, label='a"b\\c\nd')
    assert figures.text().splitlines()[-1] == 'x{label="a\\"b\\\\c\\nd"} 1'


def test_what_was_counted_stays_and_what_was_now_goes() -> None:
    """Counters and histograms are kept of a release that ends; its gauges would be lies."""
    lines = [
        "# HELP a_total A.",
        "# TYPE a_total counter",
        'a_total{x="1"} 5',
        "# TYPE a_created gauge",
        "a_created 1.7e9",
        "# TYPE h histogram",
        'h_bucket{le="1.0"} 3',
        "h_count 3",
        "h_sum 2",
        "# TYPE workers gauge",
        "workers 4",
    ]
    assert counted(lines) == [
        "# TYPE a_total counter",
        'a_total{x="1"} 5',
        "# TYPE h histogram",
        'h_bucket{le="1.0"} 3',
        "h_count 3",
        "h_sum 2",
    ]


def test_old_and_new_are_asked_while_they_live(machine: Machine) -> None:
    """Whoever listens, the live one even if it does not, and one that has just ended; nobody else."""
    for name, listens in (("r1", False), ("r2", True), ("r3", True), ("r4", False), ("r5", False)):
        machine.release(name, listens=listens)
    machine.live("r5")
    ended, forgotten = (machine.config.last("shop", name) for name in ("r1", "r4"))
    ended.parent.mkdir(parents=True)
    for path in (ended, forgotten):
        path.write_text("a_total 1\n")
    os.utime(forgotten, (time.time() - 700,) * 2)
    old = machine.config.last("shop", "r3")
    old.write_text("a_total 1\n")
    os.utime(old, (time.time() - 1000,) * 2)
    found = releases.targets(machine.config)
    assert [row["labels"]["release"] for row in found] == ["r1", "r2", "r3", "r5"]
    assert {row["labels"]["app"] for row in found} == {"shop"}
    assert found[0]["labels"]["__metrics_path__"] == "/app/shop/r1"
    assert forgotten.exists(), "it is asked until Prometheus has read the list again"
    assert not old.exists(), "the release runs again, or is long over"


def test_deploys_are_told_with_their_end(machine: Machine) -> None:
    """When the live release got the traffic, how the last run ended, and how long one holds the lease."""
    machine.release("r2")
    machine.live("r2")
    home = machine.config.home("shop")
    lines = [
        {"from": "r1", "to": "r2", "when": "2026-11-22T06:00:00+00:00"},
        {"run": "x", "result": "failed", "when": "2026-11-22T07:00:00+00:00"},
    ]
    (home / "history.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"torn')
    (home / "lease.json").write_text(json.dumps({"since": "2026-11-22T07:30:00+00:00"}))
    text = releases.collect(machine.config).text()
    version = "git https://git.example.org/shop.git v1"
    assert f'app_release_info{{app="shop",release="r2",version="{version}"}} 1\n' in text
    assert 'app_site_info{app="mute",site="mute.example.org"} 1\n' in text
    assert 'app_deploy_timestamp_seconds{app="shop",release="r2"} 1795327200\n' in text
    assert 'app_deploy_last_success{app="shop"} 0\n' in text
    assert 'app_deploy_lock_age_seconds{app="mute"} 0\n' in text
    assert 'app_deploy_lock_age_seconds{app="shop"} 0\n' not in text
    assert json.loads(machine.config.targets.read_text())


@pytest.mark.parametrize(("hours", "there"), [(1, True), (None, False)])
def test_a_maintenance_window_has_an_end(machine: Machine, hours: int | None, there: bool) -> None:
    """The file's time is the end; without the file there is none."""
    if hours:
        machine.config.maintenance.touch()
        os.utime(machine.config.maintenance, (time.time() + hours * 3600,) * 2)
    assert ("host_maintenance_until_seconds" in releases.collect(machine.config).text()) == there


def test_upgrades_are_counted() -> None:
    """Security by the archive that apt names."""
    listed = (
        "Inst libc6 [2.36-9] (2.36-10 Debian-Security:12/stable-security [amd64])\n"
        "Inst vim [1] (2 Debian:12.9/stable [amd64])\nConf libc6\n"
    )
    assert slow.upgrades(listed) == (2, 1)


def test_one_collector_that_fails_leaves_the_others(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its file keeps its time, so that an alert can tell; what is due is written whole."""

    def broken(_config: object) -> Figures:
        raise OSError("no apt here")

    monkeypatch.setattr(program, "COLLECTORS", (("bad", broken, 0), ("releases", releases.collect, 0)))
    assert program.collect(machine.config, every=False) == 1
    assert sorted(path.name for path in machine.config.textfiles.iterdir()) == ["machine-releases.prom"]
    assert (
        'host_facts_timestamp_seconds{kind="releases"}'
        in (machine.config.textfiles / "machine-releases.prom").read_text()
    )
    assert "bad: no apt here" in capsys.readouterr().err
