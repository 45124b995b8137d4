"""Secrets are replaced while visitors come: the catalogue on one machine, its database on the other."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from client import Load, Site, load, product, wait_until
from conftest import ROOT, Lab, say
from fleet import Fleet
from played import unbroken, why
from traffic import traffic

SERVER, CLIENT = "web1", "web2"
CERTIFICATE = "/etc/ssl/database-of-the-lab.crt"
# As the inventory of the lab has it, but for what is told here.
CATALOG = yaml.safe_load((ROOT / "inventories/lab/group_vars/all/apps.yml").read_text())["apps"]["catalog"]
PASSWORD, KEYS = "vault_catalog_database_password", "vault_catalog_api_keys"


def variables(lab: Lab) -> dict[str, Any]:
    """Return the variables of an inventory whose database is on another machine."""
    address = lab.address(SERVER)
    catalog = {key: value for key, value in CATALOG.items() if key != "cache"}
    here = {"source": {"path": str(ROOT / "app")}, "hosts": "shop_window", "keep_releases": 10}
    secrets = {"database_password": f"{{{{ {PASSWORD} }}}}", "api_keys": f"{{{{ {KEYS} }}}}"}
    return {
        "apps": {"catalog": {**catalog, **here, "secrets": secrets}},
        # The name leads nowhere here, and nobody asks for a certificate.
        "certbot_preflight": False,
        "certbot_sites": [],
        "postgresql_listen_addresses": [address],
        "postgresql_client_networks": [lab.address(CLIENT)],
        "postgresql_monitors": [],
        "app_database_wait": f"tcp:{address}:5432",
        "app_database_url": f"postgresql://{{{{ app_database_login }}}}@{address}/{{{{ app_name }}}}"
        f"?sslmode=verify-full&sslrootcert={CERTIFICATE}",
    }


@dataclass
class Shop:
    """The catalogue, and what its administrator types."""

    fleet: Fleet
    inventory: Path
    key: str = ""

    def secrets(self, *words: str) -> str:
        """Run `bin/secrets`."""
        password = ("--vault-password-file", str(self.inventory.parent / "password"))
        done = self.fleet.lab.run(ROOT / "bin/secrets", "--inventory", self.inventory, *password, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def another_key(self) -> str:
        """Rotate the key of the visitors and return the new one."""
        found = re.search(r"known as \S+: (\S+)$", self.secrets("rotate", KEYS, "visitors"), re.MULTILINE)
        assert found
        return found[1]

    def play(self, name: str, *options: str, **more: Any) -> "subprocess.CompletedProcess[str]":
        """Run a playbook on this inventory."""
        password = f"--vault-password-file={self.inventory.parent / 'password'}"
        return self.fleet.lab.playbook(name, password, *options, **more)

    def site(self, key: str = "") -> Site:
        """Return the site, for whoever has a key."""
        address = self.fleet.lab.address(CLIENT)
        return Site("catalog.lab.test", address, self.inventory.parent / "authority.pem", key or self.key)

    def live(self) -> str:
        """Return the live release."""
        return self.fleet.root(CLIENT, "basename $(readlink /srv/catalog/current)")

    def login(self, release: str = "current") -> str:
        """Return as whom the live release logs in at its database, or the one before it."""
        text = self.fleet.root(CLIENT, f"cat /srv/catalog/{release}/env")
        found = re.search(r'^DATABASE_URL="postgresql://([^@]+)@', text, re.MULTILINE)
        assert found, text
        return found[1]

    def ask(self, query: str) -> list[str]:
        """Ask the database's server as its administrator."""
        command = f'cd /; runuser -u postgres -- psql -qAtX catalog -c "{query}"'
        return self.fleet.root(SERVER, command).splitlines()

    def logins(self) -> dict[str, bool]:
        """Return the owner and its logins, and whether they may log in."""
        query = "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname LIKE 'catalog%'"
        return {name: may == "t" for name, may in (row.split("|") for row in self.ask(query))}

    def writes(self, key: str) -> int:
        """Return the status that a write with a key gets."""
        return self.site(key).request("POST", *product(time.time_ns())).status


@pytest.fixture(scope="module")
def shop(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Return the catalogue with its database on the other machine, taken away afterwards."""
    directory = tmp_path_factory.mktemp("shop")
    inventory = directory / "inventory"
    (inventory / "group_vars/all").mkdir(parents=True)
    groups: dict[str, Any] = {"database": {"hosts": {SERVER: {}}}, "shop_window": {"hosts": {CLIENT: {}}}}
    (inventory / "hosts.yml").write_text(json.dumps({"all": {"children": groups}}))
    (inventory / "group_vars/all/shop.yml").write_text(json.dumps(variables(lab)))
    (directory / "password").write_text("of the vault\n")
    here = Fleet(replace(lab, inventories=(*lab.inventories, str(inventory))), directory)
    made = Shop(here, inventory)
    made.secrets("make")
    made.key = made.another_key()
    try:
        done = made.play("site", "--tags=postgresql,nginx")
        assert done.returncode == 0, why(done)
        trusted = here.root(SERVER, "cat /etc/postgresql/tls/self-signed-*.crt")
        here.root(CLIENT, f"echo '{trusted}' > {CERTIFICATE}")
        (directory / "authority.pem").write_text(
            here.root(CLIENT, "cat /etc/nginx/tls/catalog/fullchain.pem") + "\n"
        )
        done = made.play("deploy")
        assert done.returncode == 0, why(done)
        yield made
    finally:
        # As the other tests find the machines.
        done = made.play("remove", app="catalog", remove_data=True, apps=lab.variable("apps"))
        assert done.returncode == 0, why(done)
        here.root(SERVER, "systemctl disable --now postgresql 'postgresql@*' 2>/dev/null || true")
        shutil.rmtree(inventory)


# What a release was like that lay on a machine before secrets were encrypted there.
AS_BEFORE = """\
release=$(basename $(readlink /srv/probe/current)); place=/etc/probe/credentials/$release
systemd-creds decrypt --name=token $place/token@ $place/token
chmod 400 $place/token; rm $place/token@
sed -i "s|^LoadCredentialEncrypted=token:.*|LoadCredential=token:$place/token|" \
    /etc/systemd/system/probe@$release.service.d/release.conf
grep -q ^LoadCredential=token /etc/systemd/system/probe@$release.service.d/release.conf
systemctl daemon-reload
"""
HANDED_OVER = "cat /run/credentials/probe@$(basename $(readlink /srv/probe/current)).service/token"


@pytest.mark.full
def test_a_release_of_before_secrets_were_encrypted_can_be_gone_back_to(lab: Lab, tmp_path: Path) -> None:
    """It is started as it was made, with its secret plain and root's alone, and forward again goes as well.

    Red when a way back looks for an encrypted file, or when a visitor gets no answer meanwhile.
    """
    fleet = Fleet(lab, tmp_path)
    fleet.good_deploy("of before")
    fleet.everywhere(AS_BEFORE)
    fleet.good_deploy("encrypted", secrets={"token": "of-now"})
    with traffic(fleet.light(), tmp_path) as found:
        fleet.back("the way back")
        assert fleet.words() == {"of before"}
        assert set(fleet.everywhere(HANDED_OVER).values()) == {"lab-token"}
        fleet.back("forward again")
        assert set(fleet.everywhere(HANDED_OVER).values()) == {"of-now"}
    assert not found.failed(), found.failed()[:5]
    say(f"back to a release with plain secrets and forth: {found.summary()}")


def trial(number: int) -> tuple[str, Any]:
    """Return where a product is made, and one that no other load has made."""
    return product(f"{time.time_ns()}-{number}")


def told(label: str, found: Load) -> str:
    """Return the figures in a line."""
    return (
        f"{label}: {len(found.records)} requests, {len(found.bad())} failed, longest pause "
        f"{found.longest_pause():.3f} s"
    )


def test_a_database_password_is_replaced_under_load(shop: Shop) -> None:
    """The new release logs in as another role of the same owner; then nobody comes as the old one.

    Red when the old password ends before the new release serves, or is good afterwards, or when a table is
    the login's instead of the owner's.
    """
    before, released = shop.login(), shop.live()
    assert re.fullmatch("catalog_[0-9a-f]{6}", before)
    with load(shop.site(), trial, clients=2) as found:
        wait_until("requests", lambda: len(found.records) > 20)
        shop.secrets("rotate", PASSWORD)
        done = shop.play("rotate")
        time.sleep(1)
    assert done.returncode == 0, why(done)
    assert not found.bad(), found.bad()[:5]
    assert found.releases() == [released, shop.live()]
    after = shop.login()
    assert after != before
    assert {name for name, may in shop.logins().items() if may} == {"catalog", after}
    sessions = "SELECT DISTINCT usename FROM pg_stat_activity WHERE usename LIKE 'catalog%'"
    assert shop.ask(sessions) == [after]
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert shop.ask(owners) == ["catalog"]
    say(told("a database password replaced", found))
    again = shop.play("rotate")
    assert again.returncode == 0, why(again)
    assert len(re.findall(r"changed=0 ", again.stdout)) == 2, why(again)


@pytest.mark.full
def test_a_way_back_does_not_open_what_was_locked(shop: Shop) -> None:
    """It is refused with a sentence while visitors are answered; who unlocks the role by hand gets back.

    Red when the gate alone finds out, or when the next rotation leaves the role open.
    """
    live, now = shop.live(), shop.login()
    before = shop.login("previous")
    assert before != now
    with load(shop.site(), trial, clients=2) as found:
        done = shop.play("rollback", app="catalog")
        assert done.returncode != 0, why(done)
        said = unbroken(done.stdout)
        assert f"as `{before}`, which is locked since the password was replaced" in said, why(done)
        assert shop.live() == live
        shop.ask(f"ALTER ROLE {before} LOGIN")
        done = shop.play("rollback", app="catalog")
        assert done.returncode == 0, why(done)
        assert shop.login() == before
        done = shop.play("rotate")
        assert done.returncode == 0, why(done)
    assert not found.bad(), found.bad()[:5]
    assert (shop.live(), shop.login()) == (live, now)
    assert not shop.logins()[before]
    say(told("back and forth over it", found))


def test_a_key_is_replaced_under_load(shop: Shop) -> None:
    """Both keys are good from the first release on; the second takes the old one away, and only that.

    Red when the old key ends with the first release, or is good after the second.
    """
    old = shop.key
    new = shop.another_key()
    with load(shop.site(old), trial, clients=2) as before:
        done = shop.play("rotate", app="catalog")
        assert done.returncode == 0, why(done)
        assert (shop.writes(old), shop.writes(new)) == (201, 201)
    shop.key = new
    with load(shop.site(new), trial, clients=2) as after:
        shop.secrets("forget", KEYS, "visitors")
        done = shop.play("rotate", app="catalog")
        assert done.returncode == 0, why(done)
    assert not [*before.bad(), *after.bad()], [*before.bad(), *after.bad()][:5]
    assert (shop.writes(old), shop.writes(new)) == (401, 201)
    say(told("a key handed out", before))
    say(told("the one before forgotten", after))
