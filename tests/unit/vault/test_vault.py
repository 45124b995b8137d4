"""`bin/secrets`: what is missing is made, what is there is never lost, and no value is shown."""

import os
import re
import subprocess
from pathlib import Path

import pytest
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
