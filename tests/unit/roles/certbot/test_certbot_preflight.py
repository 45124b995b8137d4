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

    sites = [{"name": "shop", "domains": [domain]}]
    complaints: list[str] = module.examine(sites, module.parse(own), ask)[0]
    return complaints


@pytest.mark.parametrize("found", [["198.18.0.10"], ["fd00:0::10"], ["198.18.0.10", "fd00::10"]])
def test_a_domain_that_leads_here_passes(preflight: ModuleType, found: list[str]) -> None:
    """By IPv4, by IPv6 in any spelling, or by both."""
    assert examine(preflight, "shop.example.org", found, OWN) == []


def test_one_foreign_address_is_enough(preflight: ModuleType) -> None:
    """The authority may come by IPv6 only: an old AAAA record makes it fail."""
    (sentence,) = examine(preflight, "shop.example.org", ["198.18.0.10", "fd00::99"], OWN)
    assert sentence == (
        "shop.example.org (`apps.shop.domain` in group_vars/all/apps.yml) resolves to fd00::99, which is not "
        "an address of this machine (198.18.0.10, fd00::10): set its AAAA record to fd00::10, or, if that "
        "leads here, set `certbot_public_addresses: [fd00::99]` in group_vars/all/certbot.yml"
    )


def test_a_record_for_which_the_machine_has_no_address_must_go(preflight: ModuleType) -> None:
    """Without IPv6 there is nothing to set it to; a link-local address is none for the world."""
    (sentence,) = examine(preflight, "shop.example.org", ["fd00::99"], ["fe80::1", "198.18.0.10"])
    assert ": remove its AAAA record, or, " in sentence


def test_an_alias_is_told_from_the_domain(preflight: ModuleType) -> None:
    """The sentence names the line to look at."""
    sites = [{"name": "shop", "domains": ["shop.example.org", "www.shop.example.org"]}]
    (sentence,), _ = preflight.examine(
        sites,
        preflight.parse(OWN),
        lambda domain: preflight.parse(["198.19.0.1" if "www" in domain else OWN[0]]),
    )
    assert sentence.startswith(
        "www.shop.example.org (`apps.shop.aliases` in group_vars/all/apps.yml) resolves"
    )


def test_public_addresses_count(preflight: ModuleType) -> None:
    """Behind a NAT the machine does not have the address that the world knows."""
    assert examine(preflight, "shop.example.org", ["198.19.0.1"], OWN)
    assert examine(preflight, "shop.example.org", ["198.19.0.1"], [*OWN, "198.19.0.1"]) == []


def test_a_domain_that_does_not_exist_is_told(preflight: ModuleType) -> None:
    """The sentence says what to do."""
    (sentence,) = examine(preflight, "shop.example.org", [], OWN)
    assert sentence == (
        "shop.example.org (`apps.shop.domain` in group_vars/all/apps.yml) does not resolve "
        "(Name or service not known): set its A record to 198.18.0.10"
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
        ("*.example.org", "is a wildcard, which a certificate over HTTP cannot hold"),
        ("localhost", "not a domain"),
        ("Shop.example.org", "not a domain in lower case"),
        ("bücher.example", "xn-- form"),
        ("-d.example.org --server http://evil.example", "not a domain"),
        ("198.18.0.10", "not a domain"),
        ("a" * 250 + ".org", "not a domain"),
    ],
)
def test_what_can_have_no_certificate_is_told(preflight: ModuleType, domain: str, sentence: str) -> None:
    """Certbot would say so too, but after Nginx was installed, and in more words."""
    (complaint,) = examine(preflight, domain, ["198.18.0.10"], OWN)
    assert sentence in complaint
