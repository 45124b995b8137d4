"""What role postgresql promises, as far as it can be seen without a machine."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.errors import AnsibleError, AnsibleFilterError

if TYPE_CHECKING:
    from types import ModuleType

    from conftest import MakeRole

ROOT = Path(__file__).resolve().parents[4]
LOCAL = {"name": "catalog", "owner": "catalog", "clients": "local"}
REMOTE = {"name": "shop-2", "owner": "shop-2", "clients": "remote"}
NETWORK: dict[str, Any] = {
    "postgresql_databases": [LOCAL, REMOTE],
    "postgresql_listen_addresses": ["10.0.0.5"],
    "postgresql_client_networks": ["10.0.0.0/24"],
    "postgresql_passwords": {"shop-2": "s3cret"},
}


@pytest.fixture(scope="module")
def filters() -> ModuleType:
    """Load the filter plugin as a module."""
    spec = importlib.util.spec_from_file_location("postgresql_filters", ROOT / "plugins/filter/postgresql.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def statements(text: str) -> list[str]:
    """Return the lines of a configuration file that say something."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def complaints(make_role: MakeRole, **variables: Any) -> list[str]:
    """Return the sentences with which the role refuses these variables."""
    return list(make_role("postgresql", **variables).value("__postgresql_complaints"))


# --- who may connect -------------------------------------------------------------------------------------


def test_a_local_app_opens_no_port(make_role: MakeRole) -> None:
    """Without remote clients there is one rule, and only localhost is listened on."""
    role = make_role("postgresql", postgresql_databases=[LOCAL])
    assert statements(role.render("pg_hba.conf.j2")) == ["local all all peer"]
    assert "listen_addresses = 'localhost'" in role.render("postgresql.conf.j2")
    assert "ssl" not in role.render("postgresql.conf.j2")


def test_a_remote_app_gets_in_over_tls_and_to_its_own_database(make_role: MakeRole) -> None:
    """Only hostssl lines, only for databases with remote clients, only from the networks named."""
    variables = NETWORK | {"postgresql_client_networks": ["10.0.0.0/24", "10.1.0.7", "fd00::5"]}
    role = make_role("postgresql", **variables)
    assert statements(role.render("pg_hba.conf.j2")) == [
        "local all all peer",
        "hostssl shop-2 +shop-2 10.0.0.0/24 scram-sha-256",
        "hostssl shop-2 +shop-2 10.1.0.7/32 scram-sha-256",
        "hostssl shop-2 +shop-2 fd00::5/128 scram-sha-256",
    ]
    settings = statements(role.render("postgresql.conf.j2"))
    assert "listen_addresses = 'localhost,10.0.0.5'" in settings
    assert "ssl = on" in settings


def test_own_lines_come_first(make_role: MakeRole) -> None:
    """The first line that fits decides, so the user's win."""
    line = "host all backup 10.0.0.9/32 scram-sha-256"
    role = make_role("postgresql", postgresql_databases=[LOCAL], postgresql_hba_lines=[line])
    assert statements(role.render("pg_hba.conf.j2")) == [line, "local all all peer"]


def test_a_network_that_is_none_is_refused_by_name(make_role: MakeRole) -> None:
    """A typo in a network names the variable, not a line of a file on a server."""
    role = make_role("postgresql", **NETWORK | {"postgresql_client_networks": ["10.0.0.5/24"]})
    with pytest.raises(AnsibleError, match="postgresql_client_networks"):
        role.render("pg_hba.conf.j2")


# --- variables that cannot work --------------------------------------------------------------------------


def test_good_variables_get_no_complaint(make_role: MakeRole) -> None:
    """Local alone, and local and remote together."""
    assert complaints(make_role, postgresql_databases=[LOCAL]) == []
    assert complaints(make_role, **NETWORK) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"postgresql_listen_addresses": []}, ["shop-2", "postgresql_listen_addresses", "198.18.0.10"]),
        ({"postgresql_client_networks": []}, ["shop-2", "postgresql_client_networks", "10.0.0.0/24"]),
        ({"postgresql_passwords": {"catalog": "x"}}, ["database_password", "shop-2"]),
        ({"postgresql_listen_addresses": ["*"]}, ["wildcard", "10.0.0.5"]),
        ({"postgresql_tls_key": "x"}, ["postgresql_tls_certificate", "both"]),
        ({"postgresql_monitors": ["x'; DROP"]}, ["x'; DROP", "postgresql_monitors"]),
        ({"postgresql_databases": [LOCAL | {"name": "postgres"}]}, ["postgres", "belong to PostgreSQL"]),
        ({"postgresql_databases": [LOCAL | {"owner": "pg_monitor"}]}, ["pg_monitor"]),
        ({"postgresql_shared_buffers_mb": 5000}, ["5000", "3934 MB", "983"]),
    ],
)
def test_variables_that_cannot_work_are_refused(
    make_role: MakeRole, changed: dict[str, Any], words: list[str]
) -> None:
    """Before anything changes, one sentence names the variable and a value that would work."""
    found = complaints(make_role, **NETWORK | changed)
    assert len(found) == 1
    assert all(word in found[0] for word in words)
    assert found[0].endswith(".")


# --- apps ------------------------------------------------------------------------------------------------


def test_passwords_come_from_the_apps_secrets(make_role: MakeRole) -> None:
    """Only apps with the secret appear, and a value from Vault is resolved."""
    apps = {
        "shop": {"secrets": {"database_password": "{{ vault_shop }}", "token": "t"}},
        "blog": {"secrets": {"token": "t"}},
        "wiki": {},
    }
    role = make_role("postgresql", apps=apps, vault_shop="hush")
    assert role.value("postgresql_passwords") == {"shop": "hush"}


def test_without_apps_the_role_makes_nothing(make_role: MakeRole) -> None:
    """The role works alone."""
    role = make_role("postgresql")
    assert role.value("postgresql_databases") == []
    assert "CREATE" not in role.render("databases.sql.j2")


# --- memory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("memory", "shared", "work"),
    [(512, 64, 4), (3934, 491, 4), (16000, 2000, 20), (512_000, 8192, 64)],
)
def test_memory_follows_the_machine(make_role: MakeRole, memory: int, shared: int, work: int) -> None:
    """A small server still starts, a large one leaves its memory to the kernel's cache."""
    role = make_role("postgresql", facts={"memtotal_mb": memory})
    text = role.render("postgresql.conf.j2")
    assert f"shared_buffers = '{shared}MB'" in text
    assert f"work_mem = '{work}MB'" in text


def test_the_users_settings_win(make_role: MakeRole) -> None:
    """Each setting appears once, as the server wants it written."""
    settings = {"log_lock_waits": False, "random_page_cost": 1.1, "log_line_prefix": "it's \\ %m "}
    lines = statements(make_role("postgresql", postgresql_settings=settings).render("postgresql.conf.j2"))
    assert "log_lock_waits = off" in lines
    assert "random_page_cost = 1.1" in lines
    assert "log_line_prefix = 'it''s \\\\ %m '" in lines
    names = [line.split(" = ")[0] for line in lines]
    assert len(names) == len(set(names))


def test_a_setting_of_several_lines_is_refused(filters: ModuleType) -> None:
    """A line break would be another setting."""
    with pytest.raises(AnsibleFilterError, match="one line"):
        filters.postgresql_literal("a\nb")


@pytest.mark.parametrize(("release", "version"), [("12", "15"), ("13", "17")])
def test_the_version_is_debians(make_role: MakeRole, release: str, version: str) -> None:
    """Unit and paths follow the release."""
    role = make_role("postgresql", facts={"distribution_major_version": release})
    assert role.value("__postgresql_unit") == f"postgresql@{version}-main.service"


# --- statements ------------------------------------------------------------------------------------------


def test_check_mode_only_reads(make_role: MakeRole) -> None:
    """In check mode no query's result is executed; otherwise each one is, except those that only report."""
    variables: dict[str, Any] = NETWORK | {"postgresql_monitors": ["prometheus"]}
    variables["postgresql_logins_in_use"] = {"shop-2": []}
    for template in ("databases.sql.j2", "passwords.sql.j2", "lock.sql.j2"):
        checked = make_role("postgresql", **variables | {"ansible_check_mode": True}).render(template)
        assert "\\gexec" not in checked
        real = make_role("postgresql", **variables).render(template)
        assert real.count("\\gexec") == checked.count(";\n") - real.count(";\n")
        assert real.count("\\gexec") >= 1


def test_a_password_is_sent_only_as_the_server_stores_it(make_role: MakeRole, filters: ModuleType) -> None:
    """The script holds the verifier and not the password, for the logins of remote owners alone."""
    script = make_role("postgresql", **NETWORK).render("passwords.sql.j2")
    assert "s3cret" not in script
    login = filters.postgresql_login("s3cret", "shop-2")
    assert script.count(filters.postgresql_verifier("s3cret", login, "web1")) == 2
    assert '"shop-2"' not in script
    assert "catalog" not in script


def test_the_verifier_is_that_of_the_standard(filters: ModuleType) -> None:
    """The example of RFC 7677: a server that holds this verifier answers with the signature printed there."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    prefix, keys = filters.scram_verifier("pencil", salt).rsplit("$", 1)
    assert prefix == "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
    stored_key, server_key = (base64.b64decode(key) for key in keys.split(":"))
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = (
        f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}".encode()
    )
    signature = hmac.digest(server_key, message, "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    mask = hmac.digest(stored_key, message, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, mask, strict=True))
    assert hashlib.sha256(client_key).digest() == stored_key


def test_the_verifier_is_stable_and_differs_by_role_and_server(filters: ModuleType) -> None:
    """A second run has nothing to change, and equal passwords do not look equal."""
    same = {filters.postgresql_verifier("pw", "shop", "db1") for _ in range(2)}
    others = {filters.postgresql_verifier("pw", *where) for where in (("blog", "db1"), ("shop", "db2"))}
    assert len(same) == 1
    assert len(same | others) == 3


@pytest.mark.parametrize("password", ["", "naïve", "tab\there"])
def test_a_password_that_clients_would_read_otherwise_is_refused(filters: ModuleType, password: str) -> None:
    """The sentence names the role and a way to a good password, and not the password."""
    with pytest.raises(AnsibleFilterError, match="password of shop") as raised:
        filters.postgresql_verifier(password, "shop", "db1")
    assert "openssl rand" in str(raised.value)
    assert not password or password not in str(raised.value)


# --- logins ----------------------------------------------------------------------------------------------


def test_another_password_is_another_login_of_the_same_owner(make_role: MakeRole) -> None:
    """Both are members of the owner and act as it, so that what one has made the other can change."""
    names = []
    for password in ("s3cret", "an0ther"):
        changed = NETWORK | {"postgresql_passwords": {"shop-2": password}}
        role = make_role("postgresql", **changed)
        script = role.render("databases.sql.j2")
        (login,) = role.value("__postgresql_logins").values()
        assert f'GRANT "shop-2" TO "{login}"' in script
        assert f"ALTER ROLE \"{login}\" SET role = ''shop-2''" in script
        assert f'ALTER ROLE "{login}" SET statement_timeout' in script
        assert "catalog_" not in script, "who comes over the socket needs no login"
        names.append(login)
    assert len(set(names)) == 2
    assert all(re.fullmatch("shop-2_[0-9a-f]{6}", name) for name in names)


def test_a_login_says_nothing_of_its_password(filters: ModuleType) -> None:
    """The name is the same each time, differs by owner, and without a password it is the owner."""
    assert filters.postgresql_login("pw", "shop") == filters.postgresql_login("pw", "shop")
    assert filters.postgresql_login("pw", "shop")[5:] != filters.postgresql_login("pw", "blog")[5:]
    assert filters.postgresql_login("", "shop") == "shop"
    with pytest.raises(AnsibleFilterError, match="longer than 56"):
        filters.postgresql_login("pw", "s" * 57)


def test_only_what_no_release_has_is_locked(make_role: MakeRole, filters: ModuleType) -> None:
    """The login of now and those in use stay; an owner of whose releases nothing is known keeps all."""
    now = filters.postgresql_login("s3cret", "shop-2")
    script = make_role(
        "postgresql", **NETWORK, postgresql_logins_in_use={"shop-2": ["shop-2_0a0a0a"]}
    ).render("lock.sql.j2")
    assert f"NOT IN ({', '.join(repr(name) for name in sorted([now, 'shop-2_0a0a0a']))})" in script
    assert 'ALTER ROLE "shop-2" PASSWORD NULL' in script
    script = make_role("postgresql", **NETWORK, postgresql_logins_in_use={"shop-2": ["shop-2"]}).render(
        "lock.sql.j2"
    )
    assert "PASSWORD NULL" not in script, "a release of before logs in as the owner"
    unknown = make_role("postgresql", **NETWORK, postgresql_logins_in_use={"blog": []})
    assert unknown.value("__postgresql_locks") == []


def test_a_machine_that_has_not_answered_keeps_everything(filters: ModuleType) -> None:
    """What is in use is the sum of all machines; where one is missing, nothing is known."""
    apps = {"shop": {"hosts": "web", "database": "postgresql"}, "blog": {"hosts": "web"}}
    groups = {"web": ["web1", "web2"]}
    answers: dict[str, Any] = {
        "web1": {"__database_logins": {"logins": {"shop": ["shop_aaaaaa"]}}},
        "web2": {"__database_logins": {"logins": {"shop": ["shop_bbbbbb"]}}},
    }
    found = filters.postgresql_logins_in_use(apps, groups, answers)
    assert found == {"shop": ["shop_aaaaaa", "shop_bbbbbb"]}
    answers["web2"] = {}
    assert filters.postgresql_logins_in_use(apps, groups, answers) == {}


# --- certificate and scripts -----------------------------------------------------------------------------


def test_names_and_addresses_go_where_clients_look(make_role: MakeRole) -> None:
    """Clients compare an address only with addresses, and doubles are refused by openssl's readers."""
    addresses = ["db1.example.org", "10.0.0.5", "fd00::5", "10.0.0.5"]
    names = make_role("postgresql", postgresql_tls_names=addresses).value(
        "postgresql_tls_names | tls_alt_names"
    )
    assert names == "DNS:db1.example.org,IP:10.0.0.5,IP:fd00::5"


def test_other_names_are_another_certificate(make_role: MakeRole) -> None:
    """A changed address makes a new self-signed pair; a pair of the user's has a fixed place."""
    first = make_role("postgresql", postgresql_tls_names=["a"]).value("__postgresql_tls_base")
    second = make_role("postgresql", postgresql_tls_names=["b"]).value("__postgresql_tls_base")
    assert first != second
    own = make_role("postgresql", postgresql_tls_certificate="PEM", postgresql_tls_key="PEM")
    assert own.value("__postgresql_tls_base") == "/etc/postgresql/tls/server"


def test_the_validation_survives_the_modules_formatting(make_role: MakeRole) -> None:
    """The module fills in the file's name with `%` and splits the line as a shell would."""
    role = make_role("postgresql")
    command = shlex.split(str(role.value("__postgresql_validate_hba")) % "/etc/a.conf")
    assert command[:2] == ["/bin/sh", "-c"]
    assert command[2] == str(role.value("__postgresql_check_hba"))
    assert command[3:] == ["check-hba", "/etc/a.conf", "/usr/lib/postgresql/17/bin"]


@pytest.mark.parametrize("script", ["__postgresql_check_hba", "__postgresql_make_certificate"])
def test_scripts_are_shell(make_role: MakeRole, script: str) -> None:
    """The shell reads them without a complaint."""
    text = str(make_role("postgresql").value(script))
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
