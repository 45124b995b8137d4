"""Renders the templates and variables of a role as Ansible would, without a machine."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Protocol

import pytest
from ansible import module_utils
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import filter_loader, init_plugin_loader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parents[3]

# As on a machine, where Ansible packs what the project's modules import.
module_utils.__path__.append(str(ROOT / "plugins/module_utils"))

# What the first play of site.yml gathers, as far as roles ask for it.
FACTS: dict[str, Any] = {
    "architecture": "x86_64",
    "default_ipv4": {"address": "198.18.0.10", "interface": "host0"},
    "distribution": "Debian",
    "distribution_major_version": "13",
    "distribution_release": "trixie",
    "distribution_version": "13.2",
    "fqdn": "web1.example.org",
    "hostname": "web1",
    "memtotal_mb": 3934,
    "mount_points": {},
    "processor_vcpus": 2,
    "python_version": "3.13.5",
    "swaptotal_mb": 0,
    "user_id": "root",
}


class Role:
    """One role with its defaults and vars, some variables of the user's, and the facts of a Debian 13 server.

    `render` prints a template, `value` resolves one variable: either of the role's own, so that
    arithmetic in `vars/` can be tested, or any Jinja expression in `{{ }}`.
    """

    def __init__(self, name: str, facts: dict[str, Any], variables: dict[str, Any]) -> None:
        self.path = ROOT / "roles" / name
        self._loader = DataLoader()
        self._loader.set_basedir(str(self.path))
        own: dict[str, Any] = {}
        for file in (self.path / "defaults/main.yml", self.path / "vars/main.yml"):
            if file.exists():
                own |= self._loader.load_from_file(str(file), cache="none", trusted_as_template=True) or {}
        self._variables = {
            "ansible_facts": FACTS | facts,
            "ansible_check_mode": False,
            "ansible_managed": "Ansible managed",
            "ansible_search_path": [str(self.path)],
            "group_names": ["database", "monitoring", "web"],
            "groups": {"all": ["web1"], "database": ["web1"], "monitoring": ["web1"], "web": ["web1"]},
            "hostvars": {"web1": {"group_names": ["database", "monitoring", "web"]}},
            "inventory_hostname": "web1",
            "role_path": str(self.path),
            **own,
            **_trusted(variables),
        }

    def render(self, template: str) -> str:
        """Return what `ansible.builtin.template` would write for this file of `templates/`."""
        return str(self.value("{{ lookup('ansible.builtin.template', '" + template + "') }}"))

    def value(self, expression: str) -> Any:
        """Return the value of a variable (`"nginx_sites"`) or of an expression in `{{ }}`."""
        if "{{" not in expression:
            expression = "{{ " + expression + " }}"
        templar = Templar(loader=self._loader, variables=self._variables)
        return templar.template(trust_as_template(expression))


class MakeRole(Protocol):
    """The type of the fixture `make_role`."""

    def __call__(self, name: str, *, facts: dict[str, Any] | None = None, **variables: Any) -> Role:
        """Load a role; `facts` are laid over those of a Debian 13 server."""


def _trusted(value: Any) -> Any:
    """Return the value with each string allowed to hold Jinja, like one from an inventory file."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, dict):
        return {key: _trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_trusted(item) for item in value]
    return value


@pytest.fixture(scope="session", autouse=True)
def _plugins() -> None:
    """Let Ansible find the project's filters, as ansible.cfg does."""
    # Another folder's tests may have done it in this process.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        init_plugin_loader()
    filter_loader.add_directory(str(ROOT / "plugins/filter"))


@pytest.fixture
def make_role() -> MakeRole:
    """Load a role and render what is in it.

    In a test of role nginx:

        def test_large_uploads_pass(make_role):
            site = {"name": "shop", "server_names": ["shop.example.org"], "max_body": "64m", ...}
            role = make_role("nginx", nginx_sites=[site])
            assert "client_max_body_size 64m;" in role.render("sites.conf.j2")

        def test_connections_grow_with_the_machine(make_role):
            role = make_role("nginx", facts={"processor_vcpus": 8})
            assert role.value("nginx_worker_connections") == 4096

    Variables given as keywords win over defaults and `vars/`; their strings may hold Jinja. A template
    that needs a loop variable gets it the same way: `make_role("x", x_item={...})`.
    An undefined variable raises `ansible.errors.AnsibleError`, as it would fail a play.
    """

    def make(name: str, *, facts: dict[str, Any] | None = None, **variables: Any) -> Role:
        return Role(name, facts or {}, variables)

    return make
