"""Which secrets an inventory names, where, and which of them can be made here."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..apps.validation_serving import PLACEHOLDERS

NAME = re.compile(r"\bvault_[a-z0-9_]+")
DEFINED = re.compile(r"^(?P<name>vault_[a-z0-9_]+):", re.MULTILINE)
ENCRYPTED = "$ANSIBLE_VAULT"
# Whatever is only between our own machines may be any text. The rest is somebody else's to give: tokens, keys
# of an interface, certificates, hashes.
OURS = re.compile(r".*_(password|secret|secret_key|signing_key|session_key)")


class Need(NamedTuple):
    """A secret, the places that name it, and whether it can be made here."""

    name: str
    places: tuple[str, ...]
    ours: bool


def files(inventory: Path) -> Iterator[Path]:
    """Return the files with variables of an inventory."""
    for folder in ("group_vars", "host_vars"):
        for path in sorted((inventory / folder).rglob("*")):
            if path.is_file() and path.suffix in {".yml", ".yaml", ""}:
                yield path


def is_encrypted(path: Path) -> bool:
    """Tell whether Ansible Vault has encrypted a file."""
    with path.open("rb") as file:
        return file.read(len(ENCRYPTED)) == ENCRYPTED.encode()


def without_comment(line: str) -> str:
    """Return a line without what YAML takes for a comment."""
    return re.split(r"(?:^|\s)#", line, maxsplit=1)[0]


def needs(inventory: Path) -> list[Need]:
    """Return the secrets that an inventory names, in order of their names."""
    places: dict[str, list[str]] = {}
    for path in files(inventory):
        if is_encrypted(path):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for name in NAME.findall(without_comment(line)):
                if not DEFINED.match(line):
                    places.setdefault(name, []).append(f"{path.relative_to(inventory)}:{number}")
    return [
        Need(name, tuple(found), OURS.fullmatch(name) is not None) for name, found in sorted(places.items())
    ]


def placeholders(variables: Mapping[str, Any]) -> Iterator[str]:
    """Find secrets that are empty, or that somebody has meant to replace; their values are not shown."""
    for name in sorted(str(each) for each in variables):
        value = variables[name]
        if NAME.fullmatch(name) and (value is None or str(value).strip().lower() in PLACEHOLDERS):
            yield (
                f"`{name}` in group_vars/all/vault.yml is empty or a placeholder; `bin/secrets rotate "
                f"{name}` gives it a random value; one that you were given is set with `ansible-vault edit`."
            )
