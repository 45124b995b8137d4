"""`bin/secrets`: what is missing is made, what is there is never lost, and no value is shown."""

import hashlib
import os
import re
import subprocess
from pathlib import Path

import pytest
from fastapi_metal.vault import keys
from fastapi_metal.vault.file import VaultFile, VaultFileError
from fastapi_metal.vault.needs import needs, placeholders

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Return an inventory that names three secrets, and a fourth in a comment."""
    place = tmp_path / "inventory/group_vars/all"
    place.mkdir(parents=True)
    (place / "apps.yml").write_text(
        'apps:\n  shop:\n    secrets: {session: "{{ vault_shop_session_secret }}",\n'
        '      key: "{{ vault_shop_api_key }}"}\n  # old: "{{ vault_gone_password }}"\n'
    )
    (place / "grafana.yml").write_text('grafana_admin_password: "{{ vault_grafana_password }}"  # vault_x\n')
    (tmp_path / "password").write_text("of the vault\n")
    return tmp_path / "inventory"


def secrets(inventory: Path, *words: str, status: int = 0) -> str:
    """Run the command."""
    command = [ROOT / "bin/secrets", "--inventory", inventory, *words]
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "ANSIBLE_VAULT_PASSWORD_FILE": str(inventory.parent / "password")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def opened(inventory: Path) -> VaultFile:
    """Return the file, decrypted."""
    return VaultFile(inventory / "group_vars/all/vault.yml", b"of the vault")


def value(inventory: Path, name: str) -> str:
    """Return a value of the file."""
    found = re.search(rf'^{name}: "(.*)"$', opened(inventory).text, re.MULTILINE)
    assert found is not None
    return found[1]


def test_what_is_named_is_found(inventory: Path) -> None:
    """With the places, but for comments; what only we use can be made, what others give cannot."""
    found = {need.name: (need.ours, need.places) for need in needs(inventory)}
    assert found == {
        "vault_grafana_password": (True, ("group_vars/all/grafana.yml:1",)),
        "vault_shop_api_key": (False, ("group_vars/all/apps.yml:4",)),
        "vault_shop_session_secret": (True, ("group_vars/all/apps.yml:3",)),
    }


def test_what_is_missing_is_made_once(inventory: Path) -> None:
    """The second run changes nothing, the file is encrypted and its owner's alone, and no value was shown."""
    said = secrets(inventory, "make")
    path = inventory / "group_vars/all/vault.yml"
    assert "vault_shop_api_key: yours to set" in said
    assert path.read_bytes().startswith(b"$ANSIBLE_VAULT")
    assert path.stat().st_mode & 0o777 == 0o600
    first = opened(inventory).text
    assert len(value(inventory, "vault_grafana_password")) == 48
    assert value(inventory, "vault_grafana_password") not in said
    assert value(inventory, "vault_grafana_password") != value(inventory, "vault_shop_session_secret")
    before = path.read_bytes()
    assert "Nothing was missing" in secrets(inventory, "make")
    assert path.read_bytes() == before
    assert opened(inventory).text == first


def test_what_others_give_is_made_when_it_is_named(inventory: Path) -> None:
    """An application's own key may be any text, which only its owner knows."""
    secrets(inventory, "make", "vault_shop_api_key")
    assert len(value(inventory, "vault_shop_api_key")) == 48


def test_one_is_rotated_and_the_others_stay(inventory: Path) -> None:
    """Comments and what else stands in the file stay too."""
    vault = opened(inventory)
    vault.text = "---\n# ours\nvault_grafana_password: old\nvault_pair: |\n  one\n  two\n"
    vault.write()
    said = secrets(inventory, "rotate", "vault_grafana_password")
    assert "group_vars/all/grafana.yml:1" in said
    text = opened(inventory).text
    assert re.sub(r'"[0-9a-f]{48}"', "old", text) == vault.text
    assert "no text on one line" in secrets(inventory, "rotate", "vault_pair", status=1)
    assert "no text on one line" in secrets(inventory, "rotate", "vault_nobody", status=1)
    assert opened(inventory).text == text


def test_what_cannot_be_read_is_not_written(inventory: Path) -> None:
    """Neither with another password nor over a file that is not encrypted."""
    secrets(inventory, "make")
    with pytest.raises(VaultFileError, match="another password"):
        VaultFile(inventory / "group_vars/all/vault.yml", b"another one")
    path = inventory / "group_vars/all/vault.yml"
    path.write_text("vault_grafana_password: plain\n")
    assert "is not encrypted" in secrets(inventory, "make", status=1)
    assert path.read_text() == "vault_grafana_password: plain\n"


def test_a_value_that_is_there_is_never_overwritten(inventory: Path) -> None:
    """Also not by who asks for it by name."""
    vault = opened(inventory)
    vault.add("vault_shop_api_key", "given")
    vault.write()
    secrets(inventory, "make", "vault_shop_api_key")
    assert value(inventory, "vault_shop_api_key") == "given"
    with pytest.raises(VaultFileError, match="has a value already"):
        vault.add("vault_shop_api_key", "again")


def test_placeholders_are_found(inventory: Path) -> None:
    """Each in a sentence with a way out; what is no secret of a vault is not looked at."""
    found = list(
        placeholders({"vault_a": "changeme", "vault_b": "", "vault_c": None, "vault_d": "good", "other": ""})
    )
    assert [each.split("`")[1] for each in found] == ["vault_a", "vault_b", "vault_c"]
    assert "bin/secrets rotate vault_a" in found[0]


def names(value: str) -> list[str]:
    """Return the names in a list of keys."""
    return [word.split(":")[0] for word in value.split()]


def test_a_key_gets_its_next_beside_it() -> None:
    """Both are good until the older one is forgotten; the keys of others stay, and the list has hashes alone.

    Red when the first goes with the second, or when more than two are good.
    """
    held = keys.another("it", "", "till")[0].value
    held = keys.another("it", held, "stock-2.b")[0].value
    assert names(held) == ["till", "stock-2.b"]
    changed, key = keys.another("it", held, "stock-2.b")
    assert changed.value.startswith(f"{held} stock-2.b.2:")
    assert changed.value.endswith(hashlib.sha256(key.encode()).hexdigest())
    assert len(key) == 43
    third, _ = keys.another("it", changed.value, "stock-2.b")
    assert names(third.value) == ["till", "stock-2.b.2", "stock-2.b.3"]
    assert third.gone == ["stock-2.b"]
    last = keys.newest("it", third.value, "stock-2.b")
    assert (names(last.value), last.gone) == (["till", "stock-2.b.3"], ["stock-2.b.2"])
    for owner, words in (("till", "has 1 key of till"), ("nobody", "has no key of nobody")):
        with pytest.raises(VaultFileError, match=words):
            keys.newest("it", last.value, owner)
    for value_of_another, owner in (("of no list", "till"), (held, "a b")):
        with pytest.raises(VaultFileError, match=r"is no list of keys|is no name for a key"):
            keys.another("it", value_of_another, owner)


def test_a_list_of_keys_is_not_replaced_as_a_whole(inventory: Path) -> None:
    """A random text in its place would shut out everybody. A key is shown once, and kept nowhere."""
    said = secrets(inventory, "rotate", "vault_shop_api_key", "till")
    key = re.search(r"known as till: (\S{43})$", said, re.MULTILINE)
    assert key
    kept = opened(inventory).text
    assert hashlib.sha256(key[1].encode()).hexdigest() in kept
    assert key[1] not in kept
    assert "say whose is replaced, of till" in secrets(inventory, "rotate", "vault_shop_api_key", status=1)
    assert opened(inventory).text == kept
    secrets(inventory, "rotate", "vault_shop_api_key", "till")
    assert "till forgotten, till.2 stays" in secrets(inventory, "forget", "vault_shop_api_key", "till")
    assert names(value(inventory, "vault_shop_api_key")) == ["till.2"]
