"""Lists of keys, of which a secret keeps the hashes: `NAME:<SHA-256>` entries, as the catalogue's `api_keys`.

Whoever has a key gets another one while the first is still good: it stands beside it, as `NAME.2`.
"""

import hashlib
import re
import secrets
from typing import NamedTuple

from .file import VaultFileError

OWNER = re.compile(r"[A-Za-z0-9_.-]+")
ENTRY = re.compile(r"(?P<owner>[A-Za-z0-9_.-]+?)(?:\.(?P<turn>[0-9]+))?:(?P<hash>[0-9a-f]{64})")


class Entry(NamedTuple):
    """A key that is good: whose it is, and which of theirs."""

    owner: str
    turn: int
    hash: str

    def __str__(self) -> str:
        return f"{self.name}:{self.hash}"

    @property
    def name(self) -> str:
        """The name under which the application knows it."""
        return self.owner if self.turn == 1 else f"{self.owner}.{self.turn}"


class Changed(NamedTuple):
    """The list as it is to be, the names that it lost, and the name of the one that is good from now on."""

    value: str
    gone: list[str]
    newest: str


def entries(name: str, value: str) -> list[Entry]:
    """Return the entries of a list of keys."""
    found = [ENTRY.fullmatch(word) for word in value.split()]
    if not all(found):
        raise VaultFileError(
            f"{name} is no list of keys: each entry is `NAME:` and a key's SHA-256 in hexadecimal digits."
        )
    return [Entry(match["owner"], int(match["turn"] or 1), match["hash"]) for match in found if match]


def is_list(value: str) -> bool:
    """Tell whether a secret is a list of keys."""
    return bool(value.split()) and all(ENTRY.fullmatch(word) for word in value.split())


def owners(value: str) -> list[str]:
    """Return whose keys a list has."""
    return sorted({entry.owner for entry in entries("it", value)})


def split(name: str, value: str, owner: str) -> tuple[list[Entry], list[Entry]]:
    """Return the keys of others, and those of one owner, oldest first."""
    if not OWNER.fullmatch(owner):
        raise VaultFileError(f"{owner} is no name for a key: write letters, digits, - _ and ., such as shop.")
    found = entries(name, value)
    mine = sorted((entry for entry in found if entry.owner == owner), key=lambda entry: entry.turn)
    return [entry for entry in found if entry.owner != owner], mine


def joined(kept: list[Entry]) -> str:
    """Return a list as the application reads it."""
    return " ".join(map(str, kept))


def another(name: str, value: str, owner: str) -> tuple[Changed, str]:
    """Give an owner another key beside the newest one, and return it too: it is kept nowhere."""
    others, mine = split(name, value, owner)
    key = secrets.token_urlsafe(32)
    turn = mine[-1].turn + 1 if mine else 1
    new = Entry(owner, turn, hashlib.sha256(key.encode()).hexdigest())
    kept = [*others, *mine[-1:], new]
    return Changed(joined(kept), [entry.name for entry in mine[:-1]], new.name), key


def newest(name: str, value: str, owner: str) -> Changed:
    """Take away all keys of an owner but the newest."""
    others, mine = split(name, value, owner)
    if len(mine) < 2:
        raise VaultFileError(
            f"{name} has {len(mine) or 'no'} key of {owner}, so that there is no older one to forget; "
            f"`bin/secrets rotate {name} {owner}` makes another one first."
        )
    return Changed(joined([*others, mine[-1]]), [entry.name for entry in mine[:-1]], mine[-1].name)
