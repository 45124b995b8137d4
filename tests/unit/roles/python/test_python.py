"""What role python promises, as far as it can be seen without a machine."""

from __future__ import annotations

import configparser
import tomllib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import MakeRole

ODD_URL = "https://user:p%40ss@pypi.example.org/simple/"


def test_the_default_asks_pypi_and_trusts_the_system(make_role: MakeRole) -> None:
    """uv uses the system's certificates and interpreter, and one index."""
    config = tomllib.loads(make_role("python").render("uv.toml.j2"))
    assert config == {
        "system-certs": True,
        "python-downloads": "never",
        "python-preference": "only-system",
        "index": [{"url": "https://pypi.org/simple", "default": True}],
    }


def test_extra_indexes_reach_pip_and_uv(make_role: MakeRole) -> None:
    """Both tools see every index, and both ask the company's one."""
    role = make_role("python", python_extra_index_urls=["https://a.example.org/simple", ODD_URL])
    config = tomllib.loads(role.render("uv.toml.j2"))
    assert [index["url"] for index in config["index"]] == [
        "https://a.example.org/simple",
        ODD_URL,
        "https://pypi.org/simple",
    ]
    pip = configparser.RawConfigParser()
    pip.read_string(role.render("pip.conf.j2"))
    assert pip["global"]["extra-index-url"].split() == ["https://a.example.org/simple", ODD_URL]


@pytest.mark.parametrize(
    ("urls", "mode"),
    [
        (["https://a.example.org/simple"], "0644"),
        ([ODD_URL], "0600"),
        (["https://a.example.org/@scope"], "0644"),
    ],
)
def test_a_password_in_an_index_address_is_not_world_readable(
    make_role: MakeRole, urls: list[str], mode: str
) -> None:
    """An `@` in the path is no password."""
    assert make_role("python", python_extra_index_urls=urls).value("__python_config_mode") == mode


def test_the_built_in_certificates_can_be_used(make_role: MakeRole) -> None:
    """Without system certificates pip and uv fall back to their own lists."""
    role = make_role("python", python_system_certs=False)
    assert tomllib.loads(role.render("uv.toml.j2"))["system-certs"] is False
    assert "cert =" not in role.render("pip.conf.j2")


def test_each_version_of_uv_has_its_own_directory(make_role: MakeRole) -> None:
    """A changed version is another path, so it is installed beside the old one."""
    home = make_role("python", python_uv_version="9.9.9").value("__python_uv_home")
    assert home == "/usr/local/lib/fastapi-metal/uv-9.9.9"
