"""The texts of a release's processes and timers: one whole unit file for each, in the name of that release.

`shop.worker@<release>.service`: no name of an application holds a dot, so none of them can be another
application's. What `hosts` says is not in them: it is which of them are enabled on a machine, so that another
first host is no other release.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .settings import Settings

# A crash loop ends in a failed unit, which is tried again every five minutes.
START_LIMIT = ("StartLimitIntervalSec=120", "StartLimitBurst=8")

# What `exec` cannot stand before: the shell's own words, and more than one command.
SHELL_WORDS = "cd|exec|export|if|for|while|set|until|case|trap|ulimit|eval"
SIMPLE = re.compile(rf"(?!(?:{SHELL_WORDS})\b)[\w./-]+(?:[ \t][^\n;&|<>()]*)?")

# What an entry of `processes` or `timers` gets that leaves a key out.
DEFAULTS: dict[str, dict[str, Any]] = {
    "processes": {"hosts": "all", "workdir": None, "stop_timeout": 30},
    "timers": {"hosts": "first", "workdir": None, "stop_timeout": 30, "timeout": 3600},
}


@dataclass(frozen=True)
class Job:
    """A process or a timer, as it is declared."""

    name: str
    kind: str
    settings: Mapping[str, Any]

    @property
    def unit(self) -> str:
        """Its part of the name of the unit that is enabled and started."""
        return f"{self.name}.{'timer' if self.kind == 'timers' else 'service'}"

    @property
    def hosts(self) -> str:
        """Whether it runs on all hosts or on the first."""
        return str(self.settings["hosts"])


def jobs(settings: Settings) -> list[Job]:
    """Return what an application declares."""
    return [
        Job(name, kind, {**DEFAULTS[kind], **declared})
        for kind in ("processes", "timers")
        for name, declared in sorted(settings.entry[kind].items())
    ]


def script(text: str) -> str:
    """Return a command as a script; a simple one takes the shell's place, so that it gets the signals."""
    return f"exec {text}\n" if SIMPLE.fullmatch(text.strip()) else f"{text}\n"


@dataclass(frozen=True)
class Common:
    """What the server has too: the settings of every process, and the command that waits for the database."""

    process: Callable[[str | None], list[str]]
    wait: str
    patience: int


def service(settings: Settings, job: Job, release_id: str, common: Common) -> str:
    """Return the unit that runs a job."""
    layout, app = settings.layout, settings.name
    release = layout.release(release_id)
    is_process = job.kind == "processes"
    lines = [
        "# Written by the release engine; a changed setting is a new release with a file of its own.",
        "[Unit]",
        f"Description={job.name} of {app}, release {release_id}",
        f"AssertPathExists={release}/release.json",
        "After=network.target",
    ]
    if is_process:
        lines += [*START_LIMIT, f"OnFailure=release-retry@{layout.job(release_id, job.name)}.timer"]
    else:
        # How often it starts is what its schedule says; systemd's own limit is five times in ten seconds.
        lines += ["StartLimitIntervalSec=0"]
    lines += [
        "",
        "[Service]",
        *common.process(job.settings["workdir"]),
        f"Type={'exec' if is_process else 'oneshot'}",
        # Whatever starts it, only the live release's does: at boot, after a power cut, by hand.
        f"ExecCondition=/usr/bin/test {layout.current} -ef {release}",
    ]
    timeout = 90 if is_process else int(job.settings["timeout"])
    if settings.with_database:
        lines.append(f"ExecStartPre={common.wait}")
        timeout += common.patience
    lines += [
        f"ExecStart=/bin/sh -e {release}/jobs/{job.name}.sh",
        f"TimeoutStartSec={timeout}",
        f"TimeoutStopSec={job.settings['stop_timeout']}",
    ]
    if is_process:
        lines += ["Restart=always", "RestartSec=1s", "", "[Install]", "WantedBy=multi-user.target"]
    return "".join(f"{line}\n" for line in lines)


def timer(settings: Settings, job: Job, release_id: str) -> str:
    """Return the unit that starts a job by the clock."""
    lines = [
        "# Written by the release engine; a changed setting is a new release with a file of its own.",
        "[Unit]",
        f"Description=Times of {job.name} of {settings.name}, release {release_id}",
        "",
        "[Timer]",
        f"OnCalendar={job.settings['schedule']}",
        # What was missed while the machine was off is done after the boot.
        "Persistent=yes",
        "AccuracySec=1s",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return "".join(f"{line}\n" for line in lines)


def unit_files(settings: Settings, release_id: str, common: Common) -> dict[str, str]:
    """Return the content of each unit by its part of the name, as `worker.service`."""
    found = {}
    for job in jobs(settings):
        found[f"{job.name}.service"] = service(settings, job, release_id, common)
        if job.kind == "timers":
            found[job.unit] = timer(settings, job, release_id)
    return found


def scripts(settings: Settings) -> dict[str, str]:
    """Return the content of each script by its name."""
    return {f"{job.name}.sh": script(job.settings["command"]) for job in jobs(settings)}


def texts(settings: Settings, release_id: str, common: Common) -> dict[str, str]:
    """Return everything that makes the jobs what they are, by the name under which it is shown."""
    found = {**unit_files(settings, release_id, common), **scripts(settings)}
    return {f"jobs/{name}": text for name, text in found.items()}


def recorded(settings: Settings) -> dict[str, str]:
    """Return what release.json says of the jobs: where each unit runs."""
    return {job.unit: job.hosts for job in jobs(settings)}
