"""A domain that leads elsewhere is refused before anything changes."""

from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[4]
OWN = ["198.18.0.10", "fd00::10"]


@pytest.fixture(scope="module")
def preflight() -> ModuleType:
    """Load the module as Ansible would find it."""
    spec = importlib.util.spec_from_file_location(
        "certbot_preflight", ROOT / "plugins/modules/certbot_preflight.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["certbot_preflight"] = module
    spec.loader.exec_module(module)
    return module


def examine(module: ModuleType, domain: str, found: list[str], own: list[str]) -> list[str]:
    """Return the complaints about a domain for which DNS says `found`."""

    def ask(_domain: str) -> Any:
        if not found:
            raise socket.gaierror(-2, "Name or service not known")
        return module.parse(found)

    complaints: list[str] = module.examine([domain], module.parse(own), ask)[0]
    return complaints


@pytest.mark.parametrize("found", [["198.18.0.10"], ["fd00:0::10"], ["198.18.0.10", "fd00::10"]])
def test_a_domain_that_leads_here_passes(preflight: ModuleType, found: list[str]) -> None:
    """By IPv4, by IPv6 in any spelling, or by both."""
    assert examine(preflight, "shop.example.org", found, OWN) == []


def test_one_foreign_address_is_enough(preflight: ModuleType) -> None:
    """The authority may come by IPv6 only: an old AAAA record makes it fail."""
    (sentence,) = examine(preflight, "shop.example.org", ["198.18.0.10", "fd00::99"], OWN)
    assert "shop.example.org resolves to fd00::99" in sentence
    assert "certbot_public_addresses: [fd00::99]" in sentence


def test_public_addresses_count(preflight: ModuleType) -> None:
    """Behind a NAT the machine does not have the address that the world knows."""
    assert examine(preflight, "shop.example.org", ["198.19.0.1"], OWN)
    assert examine(preflight, "shop.example.org", ["198.19.0.1"], [*OWN, "198.19.0.1"]) == []


def test_a_domain_that_does_not_exist_is_told(preflight: ModuleType) -> None:
    """The sentence says what to do."""
    (sentence,) = examine(preflight, "shop.example.org", [], OWN)
    assert sentence == (
        "shop.example.org does not resolve (Name or service not known): "
        "add a DNS record that leads to this machine"
    )


def test_the_installers_line_in_etc_hosts_is_no_complaint(preflight: ModuleType) -> None:
    """Debian writes `127.0.1.1 web1.example.org`, which says nothing about DNS."""
    assert examine(preflight, "web1.example.org", ["127.0.1.1"], OWN) == []


def test_a_zone_is_no_part_of_an_address(preflight: ModuleType) -> None:
    """Facts list link-local addresses, some tools with their interface."""
    assert preflight.parse(["fe80::1%eth0"]) == preflight.parse(["fe80::1"])


@pytest.mark.parametrize(
    ("domain", "sentence"),
    [
        ("*.example.org", "cannot hold a wildcard"),
        ("localhost", "not a domain"),
        ("Shop.example.org", "not a domain in lower case"),
        ("bücher.example", "xn-- form"),
        ("-d.example.org --server http://evil.example", "not a domain"),
        ("a" * 250 + ".org", "not a domain"),
    ],
)
def test_what_can_have_no_certificate_is_told(preflight: ModuleType, domain: str, sentence: str) -> None:
    """Certbot would say so too, but after Nginx was installed, and in more words."""
    (complaint,) = examine(preflight, domain, ["198.18.0.10"], OWN)
    assert sentence in complaint
