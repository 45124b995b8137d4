"""Read grafana.ini: defaults, then the file, then `cfg:` arguments, with `$__file{…}` and `$__env{…}`."""

import configparser
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

DEFAULTS = {
    "paths": {"data": "/var/lib/grafana", "provisioning": "/etc/grafana/provisioning"},
    "server": {"http_addr": "", "http_port": "3000", "protocol": "http"},
    "security": {"admin_user": "admin", "admin_password": "admin"},
    "users": {"allow_sign_up": "true"},
    "auth.anonymous": {"enabled": "false"},
}
EXPRESSION = re.compile(r"\$(__\w+)?\{([^}]+)\}")


class SettingsError(Exception):
    """The configuration cannot be used; the message names file, section and key."""


@dataclass(frozen=True)
class Settings:
    """The few settings that the stand-in acts on."""

    http_addr: str
    http_port: int
    data: Path
    provisioning: Path
    admin_user: str
    admin_password: str
    allow_sign_up: bool
    anonymous: bool


def load(config: Path, overrides: Iterable[str] = ()) -> Settings:
    """Return the settings of `config`; raise SettingsError for what Grafana could not start with."""
    values = configparser.RawConfigParser(strict=True, allow_no_value=True, default_section="")
    values.read_dict(DEFAULTS)
    later = _apply_defaults(values, overrides)
    try:
        values.read_string(config.read_text(), str(config))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config}: cannot be read: {error}") from error
    except configparser.Error as error:
        raise SettingsError(f"{config}: {' '.join(str(error).split())}") from error
    values.read_dict(later)
    if (protocol := values["server"]["protocol"]) != "http":
        raise SettingsError(f"{config}: [server] protocol = {protocol}: the stand-in speaks http only")
    return Settings(
        http_addr=_text(values, "server", "http_addr"),
        http_port=_port(values),
        data=Path(_text(values, "paths", "data")),
        provisioning=Path(_text(values, "paths", "provisioning")),
        admin_user=_text(values, "security", "admin_user"),
        admin_password=_text(values, "security", "admin_password"),
        allow_sign_up=_boolean(values, "users", "allow_sign_up"),
        anonymous=_boolean(values, "auth.anonymous", "enabled"),
    )


def _apply_defaults(
    values: configparser.RawConfigParser, overrides: Iterable[str]
) -> dict[str, dict[str, str]]:
    """Apply `cfg:default.section.key=value`; return those that go over the file (`cfg:section.key=value`)."""
    later: dict[str, dict[str, str]] = {}
    for override in overrides:
        found = re.fullmatch(r"cfg:(default\.)?(.+)\.([^.=]+)=(.*)", override)
        if found is None:
            raise SettingsError(f"unknown argument {override!r}: write cfg:[default.]<section>.<key>=<value>")
        default, section, key, value = found.groups()
        if default:
            values.read_dict({section: {key: value}})
        else:
            later.setdefault(section, {})[key] = value
    return later


def _text(values: configparser.RawConfigParser, section: str, key: str) -> str:
    def expand(found: re.Match[str]) -> str:
        provider, argument = found.groups()
        if provider == "__file":
            try:
                return Path(argument).read_text().strip()
            except OSError as error:
                raise SettingsError(
                    f"[{section}] {key}: {argument} cannot be read: {error.strerror}"
                ) from error
        if provider in (None, "__env"):
            return os.environ.get(argument, "")
        raise SettingsError(f"[{section}] {key}: unknown provider ${provider}{{…}}")

    return EXPRESSION.sub(expand, values[section][key] or "")


def _port(values: configparser.RawConfigParser) -> int:
    text = _text(values, "server", "http_port")
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise SettingsError(f"[server] http_port = {text}: write a port, 1 to 65535")
    return int(text)


def _boolean(values: configparser.RawConfigParser, section: str, key: str) -> bool:
    text = _text(values, section, key).lower()
    if text not in ("true", "false"):
        raise SettingsError(f"[{section}] {key} = {text}: write true or false")
    return text == "true"
