"""Command line of `bin/secrets`."""

import argparse
import getpass
import os
import secrets
import sys
from pathlib import Path

from ansible import constants
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import get_file_vault_secret

from .file import VaultFile, VaultFileError
from .keys import another, is_list, newest, owners
from .needs import Need, needs

BRING = "`ansible-playbook playbooks/rotate.yml` brings it to the machines by a gated release."


def new_value() -> str:
    """Return a secret that fits into every address and shell: 192 bits in hexadecimal digits."""
    return secrets.token_hex(24)


def password(file: str | None, is_new: bool) -> bytes:
    """Return the vault's password: of a file, or of a script, as Ansible is told of it, or typed."""
    path = file or os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE") or constants.DEFAULT_VAULT_PASSWORD_FILE
    if path:
        found = get_file_vault_secret(filename=os.path.expanduser(path), loader=DataLoader())  # noqa: PTH111
        found.load()
        return bytes(found.bytes)
    typed = getpass.getpass("Vault password: ")
    if is_new and typed != getpass.getpass("Once more: "):
        raise VaultFileError("The two passwords differ; nothing was written.")
    return typed.encode()


def listed(found: list[Need], have: set[str]) -> list[str]:
    """Return a line for each secret: where it is named, and whether it is there. No value is shown."""
    rows = []
    for need in found:
        state = "there" if need.name in have else "missing" if need.ours else "missing, and not ours to make"
        rows.append(f"{need.name:40} {state:30} {', '.join(need.places)}")
    return rows


def make(vault: VaultFile, found: list[Need], also: list[str]) -> list[str]:
    """Give each missing secret of ours a value; return what to say."""
    have = vault.names()
    made = [need.name for need in found if need.name not in have and (need.ours or need.name in also)]
    made += [name for name in also if name not in have and name not in made]
    for name in made:
        vault.add(name, new_value())
    if made:
        vault.write()
    left = [need for need in found if need.name not in {*have, *made}]
    words = [f"{name}: made" for name in made] or ["Nothing was missing that can be made here."]
    words += [
        f"{need.name}: yours to set with `ansible-vault edit {vault.path}`, named in {', '.join(need.places)}"
        for need in left
    ]
    return words


def store(vault: VaultFile, name: str, value: str) -> None:
    """Give a name this value, whether it has one or not."""
    (vault.replace if name in vault.names() else vault.add)(name, value)
    vault.write()


def rotate(vault: VaultFile, name: str, owner: str | None) -> list[str]:
    """Give a secret another value, or the owner of a key another key; return what to say."""
    held = vault.value(name) or ""
    if owner is None:
        if is_list(held):
            raise VaultFileError(
                f"{name} is a list of keys: say whose is replaced, of {', '.join(owners(held))}, as in "
                f"`bin/secrets rotate {name} {owners(held)[0]}`."
            )
        vault.replace(name, new_value())
        vault.write()
        return [f"{name}: another value", BRING]
    changed, key = another(name, held, owner)
    store(vault, name, changed.value)
    return [
        f"{name}: another key for {owner}, known as {changed.newest}: {key}",
        "It is kept nowhere else.",
        *([f"No longer good: {', '.join(changed.gone)}"] if changed.gone else []),
        BRING,
        f"The one before stays good until `bin/secrets forget {name} {owner}`.",
    ]


def forget(vault: VaultFile, name: str, owner: str) -> list[str]:
    """Take away the keys of an owner that were replaced; return what to say."""
    changed = newest(name, vault.value(name) or "", owner)
    store(vault, name, changed.value)
    return [f"{name}: {', '.join(changed.gone)} forgotten, {changed.newest} stays", BRING]


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        prog="bin/secrets",
        description="Keep an inventory's secrets in group_vars/all/vault.yml, encrypted by Ansible Vault.",
    )
    parser.add_argument("--inventory", type=Path, default=Path("inventories/example"))
    parser.add_argument("--file", type=Path, help="another file than its group_vars/all/vault.yml")
    parser.add_argument("--vault-password-file", help="as of ansible-playbook; otherwise it is asked for")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="which secrets the inventory names, and which are missing")
    making = commands.add_parser("make", help="give random values to those that are missing; none is changed")
    making.add_argument("also", nargs="*", help="names that would otherwise be left to you")
    rotating = commands.add_parser("rotate", help="give one secret another random value, or a key its next")
    rotating.add_argument("name")
    rotating.add_argument("owner", nargs="?", help="of a list of keys (NAME:<hash>): whose is replaced")
    forgetting = commands.add_parser("forget", help="take away keys that were replaced")
    forgetting.add_argument("name")
    forgetting.add_argument("owner")
    arguments = parser.parse_args()
    if not arguments.inventory.is_dir():
        print(f"bin/secrets: {arguments.inventory} is no directory: use --inventory", file=sys.stderr)
        return 2
    path = arguments.file or arguments.inventory / "group_vars/all/vault.yml"
    found = needs(arguments.inventory)
    try:
        vault = VaultFile(path, password(arguments.vault_password_file, not path.exists()))
        if arguments.command == "make":
            words = make(vault, found, arguments.also)
        elif arguments.command == "rotate":
            words = rotate(vault, arguments.name, arguments.owner)
            places = [place for need in found if need.name == arguments.name for place in need.places]
            words.append(f"Named in {', '.join(places) or 'no file'}.")
        elif arguments.command == "forget":
            words = forget(vault, arguments.name, arguments.owner)
        else:
            words = listed(found, vault.names())
    except VaultFileError as sentence:
        print(f"bin/secrets: {sentence}", file=sys.stderr)
        return 1
    print("\n".join(words))
    return 0


if __name__ == "__main__":
    sys.exit(main())
