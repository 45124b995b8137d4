"""What can be set, from where, and what is refused.

Values come from the environment (`CATALOG_…`, and `DATABASE_URL` and `APP_RELEASE` as the deployment hands
them over), then from the directory of systemd credentials, one file per field, named like the field.

`python -m catalog.settings` prints what is in effect, with secrets masked.
"""

import difflib
import hashlib
import os
import re
import sys
from typing import Annotated, Literal

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

PREFIX = "CATALOG_"
# Handed over by the deployment under the names that every platform uses.
PLAIN_NAMES = {
    "database_url": "DATABASE_URL",
    "release": "APP_RELEASE",
    "otlp_endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT",
}

_DATABASE_SCHEMES = ("sqlite", "sqlite+aiosqlite", "postgresql", "postgresql+psycopg", "postgres")
KEY_NAME = r"[A-Za-z0-9_.-]{1,64}"
_API_KEY = re.compile(KEY_NAME + r":[0-9a-f]{64}")


def libpq_url(url: str) -> str:
    """Return the URL as libpq writes it: without SQLAlchemy's name of a driver."""
    scheme, _, rest = url.partition(":")
    return f"{scheme.partition('+')[0]}:{rest}"


# What people write where a secret is to be. Found in a running server, it is everybody's key.
_PLACEHOLDERS = frozenset(
    """
    changeme change-me change_me changethis change-this password passwort secret example placeholder replaceme
    replace-me todo fixme none null test admin catalog postgres 123456 hunter2
    """.split()  # noqa: SIM905  # a list of words is read like one
)


def _is_placeholder(secret: str) -> bool:
    bare = secret.strip().strip("<>{}[]\"'").strip().lower()
    return not bare or bare in _PLACEHOLDERS or len(set(bare)) == 1


class SettingsError(Exception):
    """The settings cannot be used; the message says which one, and what would work."""


class Settings(BaseSettings):
    """Everything that may differ between two servers."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        # A refused secret must not end up in the journal.
        hide_input_in_errors=True,
    )

    database_url: str = Field(
        "sqlite:///catalog.db",
        validation_alias=AliasChoices("database_url", "DATABASE_URL"),
        repr=False,
        description="SQLite file, or a PostgreSQL URL as libpq reads it.",
    )
    database_password: SecretStr | None = Field(
        None, description="Password for a database URL that holds none. Meant to be a credential."
    )
    database_pool_size: int = Field(5, ge=1, le=1000, description="Connections that one worker may open.")
    database_pool_timeout: float = Field(
        5, gt=0, le=60, description="Seconds a request waits for a free connection before it gets 503."
    )
    database_connect_timeout: int = Field(
        3, ge=2, le=60, description="Seconds to reach the server. libpq counts less than 2 as 2."
    )
    database_statement_timeout: float = Field(
        10, gt=0, le=3600, description="Seconds after which PostgreSQL ends a statement of a request."
    )
    migration_lock_timeout: float = Field(
        5, gt=0, le=600, description="Seconds that a migration waits for a table that requests use."
    )
    ready_timeout: float = Field(
        2, gt=0, le=60, description="Seconds that /health/ready waits for the database."
    )
    api_keys: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        repr=False,
        description="Who may write: `name:sha256` of each key, one per line or space. Empty: nobody.",
    )
    write_rate: int = Field(
        6000,
        ge=1,
        le=1_000_000_000,
        description="Writes a minute that all workers together take of a key; more is 429.",
    )
    drain_delay: float = Field(
        0,
        ge=0,
        le=300,
        description="Seconds that it goes on answering after SIGTERM, not ready, so that a balancer sees it.",
    )
    cache_url: SecretStr = Field(
        SecretStr("memory"),
        description="memory: in each worker; redis://, rediss:// or unix://: Valkey or Redis; off: none.",
    )
    cache_seconds: float = Field(30, gt=0, le=3600, description="Seconds that an unchanged answer is kept.")
    cache_timeout: float = Field(
        0.25,
        gt=0,
        le=10,
        description="Seconds that a request waits for Valkey or Redis before it goes without.",
    )
    max_age: int = Field(
        0,
        ge=0,
        le=3600,
        description="Seconds that browsers and proxies may show a read without asking again.",
    )
    feeds: int = Field(1000, ge=0, le=100_000, description="Clients of /events in one worker.")
    similar_megabytes: int = Field(
        0, ge=0, le=1_000_000, description="Size of the matrix behind /products/{id}/similar; 0: none."
    )
    otlp_endpoint: str | None = Field(
        None,
        validation_alias=AliasChoices("otlp_endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="Where OpenTelemetry traces go, as http://host:4318. The SDK's other variables hold.",
    )
    max_body: int = Field(1_000_000, ge=1_000, description="Largest request body in bytes; more gets 413.")
    max_import: int = Field(
        100_000_000, ge=1_000, description="Largest file in bytes that can be imported; more gets 413."
    )
    import_timeout: float = Field(
        300, gt=0, le=86_400, description="Seconds after which PostgreSQL ends a statement of an import."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    release: str = Field(
        "unreleased",
        validation_alias=AliasChoices("release", "APP_RELEASE"),
        description="Id of the deployed release, shown by /version.",
    )

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        scheme, _, rest = url.partition(":")
        # Without a file each connection would have a database of its own.
        in_memory = scheme.startswith("sqlite") and (len(rest) < 4 or ":memory:" in rest)
        if scheme not in _DATABASE_SCHEMES or not rest.startswith("//") or in_memory:
            raise ValueError(
                "write postgresql:///catalog?host=/run/postgresql, postgresql://user@host/catalog "
                "or sqlite:////var/lib/catalog/catalog.db"
            )
        if not scheme.startswith("sqlite"):
            try:
                given = conninfo_to_dict(libpq_url(url)).get("password")
            except ProgrammingError:
                # Its own message would repeat the URL, with the password.
                raise ValueError(
                    "libpq cannot read it: are the password's special characters quoted?"
                ) from None
            if given is not None and _is_placeholder(str(given)):
                raise ValueError("its password is a placeholder; write one of your own")
        return url

    @field_validator("cache_url")
    @classmethod
    def _known_cache(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        if text not in ("memory", "off") and not re.match(r"(redis|rediss|unix)://.", text):
            raise ValueError(
                "write memory, off, redis://host:6379/0, rediss://… or unix:///run/valkey/socket"
            )
        return url

    @field_validator("database_password")
    @classmethod
    def _real_password(cls, password: SecretStr | None) -> SecretStr | None:
        if password is not None and _is_placeholder(password.get_secret_value()):
            raise ValueError("it is a placeholder; `openssl rand -hex 24` makes a password")
        return password

    @field_validator("api_keys")
    @classmethod
    def _real_keys(cls, keys: dict[str, str]) -> dict[str, str]:
        known = {hashlib.sha256(word.encode()).hexdigest() for word in ("", *_PLACEHOLDERS)}
        for name, digest in keys.items():
            if digest in known or len(set(digest)) == 1:
                raise ValueError(
                    f"that of {name} is a placeholder; `python -m catalog.security {name}` makes one"
                )
        return keys

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_api_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        entries = value.split()
        if not all(_API_KEY.fullmatch(entry) for entry in entries):
            raise ValueError("write `name:sha256` entries; `python -m catalog.security name` makes one")
        keys = dict(entry.split(":") for entry in entries)
        if len(keys) != len(entries):
            raise ValueError("two keys have the same name; a key being replaced needs a name of its own")
        return keys

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, environment and credentials; a stray `.env` file must never win."""
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            return init_settings, env_settings
        credentials = SecretsSettingsSource(settings_cls, secrets_dir=directory, env_prefix="")
        return init_settings, env_settings, credentials


def variable(field: str) -> str:
    """Return the environment variable that sets `field`; the name of one is returned as it is."""
    if field in PLAIN_NAMES.values():
        return field
    return PLAIN_NAMES.get(field, PREFIX + field.upper())


def load_settings() -> Settings:
    """Read the settings of this process, or say in a sentence why they cannot be used."""
    # By what makes them different: with the prefix, all of them look alike.
    known = {name.removeprefix(PREFIX): name for name in map(variable, Settings.model_fields)}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known.values():
            near = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=1)
            hint = f"did you mean {known[near[0]]}?" if near else f"known are {', '.join(known.values())}."
            raise SettingsError(f"{name} is not a setting of this application: {hint}")
    try:
        return Settings()
    except ValidationError as error:
        problems = [
            f"{variable(str(e['loc'][0]))}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors(include_input=False, include_url=False)
        ]
        # `from None`: the original would repeat all of it, in a form for programmers.
        raise SettingsError("; ".join(problems)) from None


def masked(settings: Settings) -> dict[str, str]:
    """Return what is in effect, by variable, fit to be printed."""
    shown = {}
    for field in Settings.model_fields:
        value = getattr(settings, field)
        if field == "database_url":
            value = re.sub(r"(://[^:/?#@]*):[^@]*@", r"\1:****@", value)
            value = re.sub(r"((?:^|[?&])(?:ssl)?password)=[^&]*", r"\1=****", value)
        elif field == "api_keys":
            value = " ".join(f"{name}:****" for name in value)
        elif field == "cache_url":
            value = re.sub(r"://[^/@]*@", "://****@", value.get_secret_value())
        elif isinstance(value, SecretStr):
            value = "****"
        shown[variable(field)] = "" if value is None else str(value)
    return shown


def main() -> int:
    """Print the effective settings."""
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    for name, value in masked(settings).items():
        print(f"{name}={value}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
