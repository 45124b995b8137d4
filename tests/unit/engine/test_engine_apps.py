"""`apps` is refused with sentences that help, or read the same way by everybody."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from fastapi_metal.apps.specs import SPECS, complete, entry_options
from fastapi_metal.apps.validation import problems

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def filters() -> ModuleType:
    """Return the filter plugin as Ansible loads it."""
    spec = importlib.util.spec_from_file_location("apps_filter", ROOT / "plugins/filter/apps.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def shop(tmp_path: Path) -> dict[str, Any]:
    """Return an application with nothing wrong."""
    return {"domain": "shop.example.org", "source": {"path": str(tmp_path)}, "module": "shop.main:app"}


def test_a_right_application_passes(shop: dict[str, Any]) -> None:
    """No false alarm: neither for the least nor for a full entry."""
    full = {
        **shop,
        "aliases": ["www.shop.example.org"],
        "hosts": "all",
        "workdir": "backend/api",
        "env": {"EMPTY": "", "NUMBER": 5, "ON": True, "NOTHING": None},
        "secrets": {"api_key": "s3cret-value"},
        "database": "postgresql",
        "server": {"workers": 4, "preload": True},
        "limits": {"memory": "2G"},
        "state": ["uploads"],
        "module": "shop.main:create_app('a')",
    }
    assert problems({"shop": shop}, {"web": ["web1"]}) == []
    assert problems({"shop": full}, {"all": ["web1"], "web": ["web1"]}) == []


@pytest.mark.parametrize(
    ("name", "change", "variable", "words"),
    [
        (
            "shop",
            {"domain": None},
            "apps.shop.domain",
            "is missing; add for example `domain: shop.example.org`",
        ),
        ("shop", {"source": None}, "apps.shop.source", "is missing"),
        ("shop", {"module": None}, "apps.shop.module", "is missing; add for example `module: shop.main:app`"),
        (
            "shop",
            {"secrtes": {}},
            "apps.shop.secrtes",
            "did you mean `secrets`? allowed here: after_start,",
        ),
        ("shop", {"web": {"max_bdy": "1m"}}, "apps.shop.web.max_bdy", "did you mean `max_body`?"),
        (
            "shop",
            {"server": {"timeout": "soon"}},
            "apps.shop.server.timeout",
            "must be a whole number; try `timeout: 30`",
        ),
        ("shop", {"server": {"workers": "many"}}, "apps.shop.server.workers", "use `auto` or a number"),
        ("shop", {"database": "mysql"}, "apps.shop.database", "must be one of postgresql"),
        (
            "shop",
            {"source": {"path": ".", "git": "x", "version": "v1"}},
            "apps.shop.source",
            "names 2 sources (path, git)",
        ),
        ("shop", {"source": {}}, "apps.shop.source", "names no source"),
        (
            "shop",
            {"source": {"path": "/nowhere"}},
            "apps.shop.source.path",
            "is no directory on the controller",
        ),
        ("shop", {"domain": "no domain"}, "apps.shop.domain", "is no host name"),
        ("shop", {"module": "shop.main"}, "apps.shop.module", "use `module:attribute`"),
        ("shop", {"health": {"path": "ready"}}, "apps.shop.health.path", "begin it with `/`"),
        ("shop", {"workdir": "../.."}, "apps.shop.workdir", "leads elsewhere"),
        ("shop", {"state": ["/var/lib/other"]}, "apps.shop.state", "leads elsewhere"),
        ("shop", {"release_batch": "0%"}, "apps.shop.release_batch", "as in `1` or `25%`"),
        ("shop", {"keep_releases": 1}, "apps.shop.keep_releases", "use 2 or more"),
        ("shop", {"limits": {"memory": "much"}}, "apps.shop.limits.memory", "use for example `512M`"),
        ("shop", {"env": {"A-B": "x"}}, "apps.shop.env.A-B", "no name of an environment variable"),
        ("shop", {"env": {"APP_RELEASE": "x"}}, "apps.shop.env.APP_RELEASE", "is set by the release itself"),
        ("shop", {"env": {"LIST": [1]}}, "apps.shop.env.LIST", "as in `LIST: '[1]'`"),
        ("shop", {"env": {"NUL": "\0"}}, "apps.shop.env.NUL", "no environment can hold"),
        ("shop", {"secrets": {"key": "changeme"}}, "apps.shop.secrets.key", "is empty or a placeholder"),
        ("shop", {"secrets": {"key": ""}}, "apps.shop.secrets.key", "is empty or a placeholder"),
        ("shop", {"secrets": {"../key": "value"}}, "apps.shop.secrets.../key", "cannot be a file name"),
        ("shop", {"before_start": [""]}, "apps.shop.before_start[0]", "which is no command; write a text"),
        (
            "shop",
            {"before_start": [["alembic", "upgrade"]]},
            "apps.shop.before_start[0]",
            "which is no command",
        ),
        (
            "shop",
            {"after_start": [{"comand": "x", "command": "x"}]},
            "apps.shop.after_start[0].comand",
            "allowed",
        ),
        ("shop", {"after_start": [{"workdir": "x"}]}, "apps.shop.after_start[0].command", "is null"),
        (
            "shop",
            {"before_start": ["a", {"command": "b", "workdir": "../b"}]},
            "apps.shop.before_start[1].workdir",
            "leads elsewhere",
        ),
        ("shop", {"before_start_lock_timeout": -1}, "apps.shop.before_start_lock_timeout", "use 0 or more"),
        ("shop", {"processes": {"Worker": {"command": "x"}}}, "apps.shop.processes.Worker", "small letters"),
        ("shop", {"processes": {"a.b": {"command": "x"}}}, "apps.shop.processes.a.b", "small letters"),
        ("shop", {"processes": {"w": "arq"}}, "apps.shop.processes.w", "write `worker: {command: arq"),
        ("shop", {"processes": {"w": {}}}, "apps.shop.processes.w.command", "which is no command"),
        (
            "shop",
            {"processes": {"w": {"command": "x", "host": 1}}},
            "apps.shop.processes.w.host",
            "allowed here",
        ),
        (
            "shop",
            {"processes": {"w": {"command": "x", "hosts": "web1"}}},
            "apps.shop.processes.w.hosts",
            "one of all, first",
        ),
        (
            "shop",
            {"processes": {"w": {"command": "x", "stop_timeout": "soon"}}},
            "apps.shop.processes.w.stop_timeout",
            "it must be seconds",
        ),
        ("shop", {"timers": {"t": {"command": "x"}}}, "apps.shop.timers.t.schedule", "as in `daily`"),
        (
            "shop",
            {"timers": {"t": {"command": "x", "schedule": "daily\nOnBootSec=1"}}},
            "apps.shop.timers.t.schedule",
            "which is no time",
        ),
        (
            "shop",
            {
                "processes": {"w": {"command": "x"}},
                "timers": {"w": {"command": "x", "schedule": "daily"}},
            },
            "apps.shop.timers.w",
            "has the name of a process",
        ),
        ("shop", {"hosts": "wbe"}, "apps.shop.hosts", "use one that has machines: web"),
        ("Shop", {}, "apps.Shop", "small letters"),
        ("nginx", {}, "apps.nginx", "name of a system user or service"),
    ],
)
def test_a_wrong_value_gets_one_sentence(
    shop: dict[str, Any], name: str, change: dict[str, Any], variable: str, words: str
) -> None:
    """It names the variable, the file, and a value that works."""
    found = problems({name: {**shop, **change}}, {"web": ["web1"]})
    assert len(found) == 1
    assert found[0].startswith(f"`{variable}` in group_vars/all/apps.yml ")
    assert words in found[0]


def test_everything_is_told_at_once(shop: dict[str, Any]) -> None:
    """Nobody should need three runs to find three mistakes."""
    wrong = {"shop": {"domain": shop["domain"]}, "copy": {**shop, "secrets": "plain-secret"}, "none": None}
    found = problems(wrong)
    assert {text.split("`")[1] for text in found} == {
        "apps.shop.source",
        "apps.shop.module",
        "apps.copy.secrets",
        "apps.copy.domain",
        "apps.none",
    }
    assert "plain-secret" not in "".join(found)


@pytest.mark.parametrize("hosts", ["workers", "all"])
def test_a_host_that_the_playbooks_do_not_serve_is_refused(shop: dict[str, Any], hosts: str) -> None:
    """It would get the release without Python, Nginx and certificates. All such hosts are named."""
    groups = {"web": ["web1"], hosts: ["web1", "job1", "job2"]}
    assert problems({"shop": {**shop, "hosts": hosts}}, groups) == [
        f"`apps.shop.hosts` in group_vars/all/apps.yml is {hosts}, but the playbooks make only the machines "
        "of group web ready for applications; in the file hosts.yml of the inventory put these hosts into "
        "group web too: job1, job2."
    ]
    assert problems({"shop": {**shop, "hosts": hosts}}, groups, hosts) == []


def test_a_part_of_the_served_hosts_may_have_an_application(shop: dict[str, Any]) -> None:
    """A group within `web` is how one application gets machines of its own."""
    groups = {"web": ["web1", "web2"], "europe": ["web2"]}
    assert problems({"shop": {**shop, "hosts": "europe"}}, groups) == []


def test_a_source_that_is_none_gets_a_path_that_depends_on_no_directory(shop: dict[str, Any]) -> None:
    """`../shop` would mean another directory wherever somebody stands."""
    for source in ({}, {"path": "/nowhere"}):
        (found,) = problems({"shop": {**shop, "source": source}})
        assert '`path: "{{ inventory_dir }}/../../shop"`' in found


def test_two_applications_cannot_share_a_name(shop: dict[str, Any]) -> None:
    """Neither as domain nor as alias."""
    second = {**shop, "domain": "b.example.org", "aliases": ["Shop.example.org".lower()]}
    assert problems({"a": shop, "b": second}) == [
        "`apps.b.domain` in group_vars/all/apps.yml or an alias of it is shop.example.org, which apps.a has "
        "too; give each application names of its own, for example `b.example.org`."
    ]


@pytest.mark.parametrize("apps", [None, [], "shop"])
def test_what_is_no_dictionary_is_told(apps: Any) -> None:
    """A list of applications is a common mistake."""
    assert "is no dictionary" in problems(apps)[0]


def test_every_key_is_described_and_has_a_value_that_works() -> None:
    """A refusal can always show an example, and every example passes."""

    def walk(options: dict[str, dict[str, Any]], path: str) -> None:
        for key, option in options.items():
            assert option.get("description"), f"{path}.{key} has no description"
            assert "example" in option or "options" in option, f"{path}.{key} has no example"
            walk(option.get("options", {}), f"{path}.{key}")

    walk(entry_options(), "apps.shop")
    examples = {key: option["example"] for key, option in entry_options().items()}
    examples["source"] = {"path": str(ROOT)}
    examples["secrets"] = {**examples["secrets"], "cache_password": "correct-horse-battery-staple"}
    assert problems({"shop": examples}, {"web": ["web1"], "cache": ["web1"]}) == []


def test_defaults_are_filled_in_at_every_depth(shop: dict[str, Any]) -> None:
    """A dictionary that is left out, or given in part, is complete."""
    entry = complete({**shop, "health": {"path": "/ready"}})
    assert entry["health"] == {"path": "/ready", "status": 200, "timeout": 60, "stable": 3}
    assert entry["server"]["workers"] == "auto"
    assert entry["database"] is None


def test_filters_give_each_role_its_rows(filters: ModuleType, shop: dict[str, Any]) -> None:
    """Only what runs on a machine of these groups; the rows are what the roles' specs ask for."""
    apps = {
        "shop": {
            **shop,
            "aliases": ["www.example.org"],
            "database": "postgresql",
            "web": {"max_body": "25m"},
        },
        "other": {**shop, "domain": "other.example.org", "hosts": "other", "web": {"metrics": False}},
    }
    assert filters.nginx_sites(apps, ["web"]) == [
        {
            "name": "shop",
            "server_names": ["shop.example.org", "www.example.org"],
            "upstream": "unix:/srv/shop/current/app.sock",
            "max_body": "25m",
            "websocket": True,
            "buffering": True,
            "read_timeout": 60,
            "metrics": True,
            "path": "/",
            "strip_path": False,
            "static": [],
            **{key: complete(shop)["web"][key] for key in ("cache", "tls", "rate_limit")},
            "hsts": "week",
            "headers": {},
            "trusted_proxies": [],
            "client_header": "X-Forwarded-For",
            "max_connections": 0,
            "max_header": "16k",
        }
    ]
    assert filters.certbot_sites(apps, ["web"]) == [
        {"name": "shop", "domains": ["shop.example.org", "www.example.org"]}
    ]
    assert filters.exporters_apps(apps, ["web"]) == [
        {
            "name": "shop",
            "host": "shop.example.org",
            "site": "shop.example.org",
            "certificate": "/etc/nginx/tls/shop/fullchain.pem",
        }
    ]
    assert filters.app_names(apps, ["other"]) == ["other"]


@pytest.mark.parametrize(
    ("groups", "clients"),
    [
        (None, "remote"),
        ({"web": ["one"], "database": ["one"]}, "local"),
        ({"web": ["one", "two"], "database": ["one"]}, "remote"),
        ({"web": ["two"], "database": ["one"]}, "remote"),
    ],
)
def test_a_database_knows_where_its_clients_are(
    filters: ModuleType, shop: dict[str, Any], groups: dict[str, list[str]] | None, clients: str
) -> None:
    """One application that runs elsewhere too needs the network; a machine of its own does not."""
    apps = {"shop": {**shop, "database": "postgresql"}, "plain": {**shop, "domain": "plain.example.org"}}
    rows = filters.postgresql_databases(apps, ["database"], groups, "one")
    assert rows == [{"name": "shop", "owner": "shop", "clients": clients}]


def test_defaults_of_the_role_do_not_repeat_the_specification() -> None:
    """The one fallback outside of the file is the same as in it."""
    defaults = yaml.safe_load((SPECS.parents[1] / "defaults/main.yml").read_text())
    assert f"default('{entry_options()['hosts']['default']}')" in defaults["app_hosts"]
