"""One file that Ansible Vault has encrypted: values are added or replaced, all else stays as it was."""

import json
import os
import re
import tempfile
from pathlib import Path

import yaml
from ansible.parsing.vault import AnsibleVaultError, VaultLib, VaultSecret


class VaultFileError(Exception):
    """A sentence for the user."""


class VaultFile:
    """The file, and what decrypts it."""

    def __init__(self, path: Path, password: bytes) -> None:
        self.path = path
        self._vault = VaultLib([("default", VaultSecret(password))])
        self.text = self._read()

    def _read(self) -> str:
        if not self.path.exists():
            return "---\n"
        data = self.path.read_bytes()
        if not data.startswith(b"$ANSIBLE_VAULT"):
            raise VaultFileError(
                f"{self.path} is not encrypted: `ansible-vault encrypt {self.path}`, or move it away."
            )
        try:
            return str(self._vault.decrypt(data).decode())
        except AnsibleVaultError as error:
            raise VaultFileError(f"{self.path} has another password than the one that was given.") from error

    def names(self) -> set[str]:
        """Return the names that have a value."""
        found = yaml.safe_load(self.text)
        return set(found) if isinstance(found, dict) else set()

    def value(self, name: str) -> str | None:
        """Return a text that a name stands for, nothing where it is none."""
        found = yaml.safe_load(self.text)
        held = found.get(name) if isinstance(found, dict) else None
        return held if isinstance(held, str) else None

    def add(self, name: str, value: str) -> None:
        """Give a name that has none a value."""
        if name in self.names():
            raise VaultFileError(f"{name} has a value already; `bin/secrets rotate {name}` replaces it.")
        self.text = self.text.rstrip("\n") + f"\n{name}: {json.dumps(value)}\n"

    def replace(self, name: str, value: str) -> None:
        """Give a name another value. One that takes more than a line was not made here."""
        line = re.compile(rf"^{re.escape(name)}:[ \t]+(?![|>&*{{\[])\S.*\n(?![ \t])", re.MULTILINE)
        self.text, count = line.subn(f"{name}: {json.dumps(value)}\n", self.text)
        if count != 1:
            raise VaultFileError(
                f"{name} is no text on one line: change it with `ansible-vault edit {self.path}`."
            )

    def write(self) -> None:
        """Encrypt the file and put it in place in one step, root's or the user's alone."""
        data = self._vault.encrypt(self.text.encode())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".vault-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
