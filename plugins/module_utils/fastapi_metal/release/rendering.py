"""The texts that make a release's own configuration. Nothing else on the host holds a variable of it."""

from dataclasses import dataclass
from functools import partial

from ..source.project import joined
from . import serving
from .job_units import Common, texts, unit_files
from .settings import Settings, secret_variable

# Stands for the release's id where texts are compared.
ANY_RELEASE = "<release>"

# Nothing of the machine can be written but the state directory, and nothing of the kernel be reached.
SANDBOX = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "PrivateMounts=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "ProtectProc=invisible",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectControlGroups=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "RemoveIPC=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    # Refused like anything that a user may not do, so that a library that only tries goes on.
    "SystemCallFilter=~@privileged @resources",
    "SystemCallErrorNumber=EPERM",
    "UMask=0027",
)

# No secret can have this name.
SECRETS_FILE = ".environment"
# What the name of a file ends with that systemd decrypts with the machine's key.
ENCRYPTED = "@"

WAIT_FOR_DATABASE = "/usr/local/lib/fastapi-metal/wait-for-database"

# Gives a database ten minutes to come up after a power cut before systemd counts a failed start.
DATABASE_PATIENCE = 600


@dataclass(frozen=True)
class Rendered:
    """A release's own configuration."""

    env: str
    server: dict[str, str]
    drop_in: str
    listener: str
    before_start: str
    after_start: str
    jobs: dict[str, str]

    def texts(self) -> dict[str, str]:
        """Return every text by the name under which it is compared and shown."""
        return {
            "env": self.env,
            **self.server,
            "release.conf": self.drop_in,
            **({"socket.conf": self.listener} if self.listener else {}),
            "before_start": self.before_start,
            # Left out where there is none, so that this key made no new release of every application.
            **({"after_start": self.after_start} if self.after_start else {}),
            **self.jobs,
        }


def quoted(value: str) -> str:
    """Return a value as systemd's EnvironmentFile reads it back, character for character."""
    for character in '\\"`$':
        value = value.replace(character, f"\\{character}")
    return f'"{value}"'


def environment(settings: Settings, release_id: str) -> dict[str, str]:
    """Return what every process of a release finds in its environment."""
    layout = settings.layout
    found = dict(settings.env)
    if settings.with_database:
        found.setdefault("DATABASE_URL", settings.database_url)
    found.setdefault("FORWARDED_ALLOW_IPS", "*")
    found["APP_NAME"] = settings.name
    found["APP_RELEASE"] = release_id
    found["PATH"] = f"{layout.virtualenv(release_id)}/bin:/usr/local/bin:/usr/bin:/bin"
    return found


def environment_file(settings: Settings, release_id: str) -> str:
    """Return the environment as a file for systemd."""
    lines = [f"{name}={quoted(value)}" for name, value in environment(settings, release_id).items()]
    return "".join(f"{line}\n" for line in sorted(lines))


def working_directory(settings: Settings, release_id: str, workdir: str | None = None) -> str:
    """Return the directory in which a release's processes run, or one of them that has its own."""
    workdir = settings.entry["workdir"] if workdir is None else workdir
    return str(settings.layout.source(release_id) / joined(settings.entry["subdir"], workdir))


def secrets_file(settings: Settings) -> str:
    """Return the secrets as a file for systemd, for an application that reads nothing but its environment."""
    lines = [f"{secret_variable(name)}={quoted(value)}\n" for name, value in settings.secrets.items()]
    return "".join(sorted(lines))


def secrets_lines(settings: Settings, release_id: str) -> list[str]:
    """Return how every process of a release gets its secrets; systemd reads them as root."""
    place = settings.layout.credentials(release_id)
    if settings.secrets and settings.entry["secrets_as"] == "env":
        return [f"EnvironmentFile={place}/{SECRETS_FILE}"]
    return [
        # On a machine that could not encrypt it, it lies there plain, root's alone.
        f"LoadCredential={name}:{place}/{name}"
        if (place / name).is_file()
        else f"LoadCredentialEncrypted={name}:{place}/{name}{ENCRYPTED}"
        for name in sorted(settings.secrets)
    ]


def sandbox(without: list[str]) -> list[str]:
    """Return the sandbox without the parts that an application names: settings, or groups of system calls."""
    lines = []
    for line in SANDBOX:
        name, _equals, value = line.partition("=")
        if name in without:
            continue
        if value.startswith("~"):
            groups = [group for group in value[1:].split() if group not in without]
            lines += [f"{name}=~{' '.join(groups)}"] if groups else []
        else:
            lines.append(line)
    return lines


def process(settings: Settings, release_id: str, workdir: str | None = None) -> list[str]:
    """Return the settings that every process of a release has: server, commands, processes, timers."""
    layout = settings.layout
    limits = settings.entry["limits"]
    state = [settings.name, *(f"{settings.name}/{directory}" for directory in settings.entry["state"])]
    return [
        f"User={settings.name}",
        f"Group={settings.name}",
        *([f"SupplementaryGroups={settings.cache_group}"] if settings.cache_group else []),
        f"WorkingDirectory={working_directory(settings, release_id, workdir)}",
        f"EnvironmentFile={layout.release(release_id)}/env",
        *secrets_lines(settings, release_id),
        f"SyslogIdentifier={settings.name}",
        # Under load is when lines are needed; the journal's cap bounds them. 0 would be journald's own limit.
        "LogRateLimitIntervalSec=1s",
        "LogRateLimitBurst=1000000",
        f"StateDirectory={' '.join(state)}",
        "StateDirectoryMode=0750",
        *([f"MemoryMax={limits['memory']}"] if limits["memory"] else []),
        f"TasksMax={limits['tasks']}",
        *sandbox(settings.entry["sandbox_without"]),
    ]


def drop_in(settings: Settings, release_id: str) -> str:
    """Return everything that systemd must know of one release."""
    server = settings.entry["server"]
    runtime = f"{settings.name}/{release_id}"
    start_timeout = 120
    lines = [
        "# Written by the release engine; a changed setting is a new release with a file of its own.",
        "[Service]",
    ]
    lines += process(settings, release_id)
    if settings.with_database:
        start_timeout += DATABASE_PATIENCE
        lines.append(f"ExecStartPre={WAIT_FOR_DATABASE} {settings.database_wait} {DATABASE_PATIENCE}")
    lines += [
        *serving.service(settings, release_id),
        f"RuntimeDirectory={runtime} {runtime}/metrics",
        "RuntimeDirectoryMode=0750",
        f"Environment=PROMETHEUS_MULTIPROC_DIR=/run/{runtime}/metrics",
        f"TimeoutStartSec={start_timeout}",
        f"TimeoutStopSec={server['graceful_timeout'] + 10}",
    ]
    return "".join(f"{line}\n" for line in lines)


def common(settings: Settings, release_id: str) -> Common:
    """Return what processes and timers have in common with the server."""
    wait = f"{WAIT_FOR_DATABASE} {settings.database_wait} {DATABASE_PATIENCE}"
    return Common(partial(process, settings, release_id), wait, DATABASE_PATIENCE)


def job_unit_files(settings: Settings, release_id: str) -> dict[str, str]:
    """Return the units of a release's processes and timers, by name without application and release."""
    return unit_files(settings, release_id, common(settings, release_id))


def render(settings: Settings, release_id: str, workers: int) -> Rendered:
    """Return a release's own configuration."""
    return Rendered(
        env=environment_file(settings, release_id),
        server=serving.texts(settings, release_id, workers, working_directory(settings, release_id)),
        drop_in=drop_in(settings, release_id),
        listener=serving.listener(settings, release_id),
        before_start="\n".join(map(str, settings.commands("before_start"))),
        after_start="\n".join(map(str, settings.commands("after_start"))),
        jobs=texts(settings, release_id, common(settings, release_id)),
    )
