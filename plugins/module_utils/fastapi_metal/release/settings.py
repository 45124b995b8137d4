"""What the engine knows of an application: the completed entry of `apps`, typed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..packages.server_packages import wanted
from .layout import Layout
from .sizing import Sizing, memory_limit, size

Key = Literal["before_start", "after_start"]


@dataclass(frozen=True)
class Command:
    """A text for the shell, and the directory of the source in which it runs if that is one of its own."""

    text: str
    workdir: str | None = None

    def __str__(self) -> str:
        return f"{self.text} (in {self.workdir})" if self.workdir else self.text


def command(item: Any) -> Command:
    """Return an item of `before_start`, which is a text or a dictionary."""
    if isinstance(item, Mapping):
        return Command(str(item["command"]), item.get("workdir"))
    return Command(str(item))


@dataclass(frozen=True)
class Source:
    """The source as the controller saw it."""

    digest: str
    lock: str
    origin: str
    requires_python: str = ""
    # Whether more of it than its lock says which packages are installed.
    source_decides: bool = False


@dataclass(frozen=True)
class Settings:
    """One application's settings. Field names follow the keys of `apps`."""

    layout: Layout
    entry: dict[str, Any]
    env: dict[str, str]
    secrets: dict[str, str]
    source: Source
    database_url: str
    database_wait: str
    python: str
    socket_group: str
    minimum_free_disk: int
    deployed_by: str
    # Linux group that may reach the socket of its cache; empty where it has none there.
    cache_group: str = ""
    # Whether this machine is the first of those that run it.
    first: bool = True
    # Whether a schema may change in a way that shuts the way back.
    allow_incompatible_schema: bool = False

    @property
    def name(self) -> str:
        """The application's name, and its user's."""
        return self.layout.app

    @property
    def with_database(self) -> bool:
        """Whether it is given a database."""
        return bool(self.entry["database"] == "postgresql")

    @property
    def own_server(self) -> bool:
        """Whether it is served by a command of the user's own."""
        return bool(self.entry["server"]["command"])

    def commands(self, key: Key) -> list[Command]:
        """Return the one-off commands of one kind, in their order."""
        return [command(item) for item in self.entry[key]]

    @property
    def install(self) -> dict[str, Any]:
        """What says which packages are installed, beside the lock."""
        asked = self.entry["install"]
        names = ("extras", "packages", "constraints", "build", "index")
        return {**{name: asked[name] for name in names}, "server": wanted(self.entry["server"])}

    def sizing(self, cores: int, memory: int) -> Sizing:
        """Return the workers for this machine; memory is in MiB."""
        server = self.entry["server"]
        limit = memory_limit(self.entry["limits"]["memory"])
        return size(str(server["workers"]), cores, memory, server["worker_memory"], limit)


def secret_variable(name: str) -> str:
    """Return the environment variable of a secret: in capitals, unless it has some of its own."""
    name = name.replace("-", "_").replace(".", "_")
    return name.upper() if name == name.lower() else name


def text(value: Any) -> str:
    """Return a value of YAML as a process gets it: true and false small, nothing as empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def from_request(app: str, request: dict[str, Any]) -> Settings:
    """Return the settings that the controller sent."""
    entry = request["entry"]
    return Settings(
        layout=Layout(app),
        entry=entry,
        env={name: text(value) for name, value in entry["env"].items()},
        secrets={name: text(value) for name, value in entry["secrets"].items()},
        source=Source(**request["source"]),
        database_url=request["database_url"],
        database_wait=request["database_wait"],
        python=request["python"],
        socket_group=request["socket_group"],
        minimum_free_disk=request["minimum_free_disk"],
        deployed_by=request["deployed_by"],
        cache_group=request.get("cache_group", ""),
        first=bool(request.get("first", True)),
        allow_incompatible_schema=bool(request.get("allow_incompatible_schema")),
    )
