"""What is kept of what services say, and who may send it where."""

import re
from typing import Any

import pytest
import yaml


def test_the_journal_survives_reboots_and_is_bounded(make_role: Any) -> None:
    """Storage is persistent, and the cap is the variable's."""
    lines = make_role("journal", journal_max_use="300M").render("journald.conf.j2").splitlines()
    assert "Storage=persistent" in lines
    assert "SystemMaxUse=300M" in lines
    assert "RateLimitBurst=10000" in lines


def test_copies_go_over_tls_to_one_machine_alone(make_role: Any) -> None:
    """The address is the central machine's, and no other certificate than its own is trusted."""
    role = make_role(
        "journal", journal_central="log1", hostvars={"log1": {"ansible_host": "198.18.0.5"}, "web1": {}}
    )
    lines = role.render("upload.conf.j2").splitlines()
    assert "URL=https://198.18.0.5:19532" in lines
    assert "TrustedCertificateFile=/etc/fastapi-metal/journal/central.pem" in lines


@pytest.mark.parametrize(
    ("address", "alternative"),
    [
        ("198.18.0.5", "IP:198.18.0.5"),
        ("fd00::5", "IP:fd00::5"),
        ("log1.example.org", "DNS:log1.example.org"),
    ],
)
def test_a_certificate_says_the_address_that_the_others_use(
    make_role: Any, address: str, alternative: str
) -> None:
    """A name as a name, an address as an address: otherwise no machine would trust it."""
    role = make_role(
        "journal", journal_central="web1", journal_central_address=address, hostvars={"web1": {}}
    )
    assert role.value("__journal_alternative") == alternative


def test_a_machine_that_left_the_inventory_is_trusted_no_longer(make_role: Any) -> None:
    """Of the certificates on disk those count whose machine is named, and no machine whose name is alike."""
    role = make_role("journal", journal_central_senders=["web1.example.org", "web2"])
    pattern = re.compile(role.value("__journal_trusted"))
    assert pattern.search("web2.pem")
    assert pattern.search("web1.example.org.pem")
    assert not pattern.search("web22.pem")
    assert not pattern.search("web1-example.org.pem")


def test_certificates_that_were_shown_are_written(make_role: Any) -> None:
    """Those of machines that were not reached stay as they are on disk."""
    role = make_role(
        "journal",
        journal_central_senders=["web1", "web2"],
        hostvars={"web1": {"__journal_certificate": {"content": "UEVN"}}, "web2": {}},
    )
    assert yaml.safe_load(role.render("senders.yml.j2")) == [
        {"path": "/etc/fastapi-metal/journal/senders/web1.pem", "content": "PEM"}
    ]


def test_every_machine_has_an_address_that_stands_for_it(make_role: Any) -> None:
    """One journal per machine: addresses are loopback's, stay, and differ."""
    names = [f"web{number}.example.org" for number in range(300)]
    found = [
        make_role("journal").value("{{ '" + name + "' | journal_sender_address }}") for name in names[:3]
    ]
    assert len({*found}) == 3
    assert all(address.startswith("127.") for address in found)
    config = make_role(
        "journal", journal_central="mon1", journal_central_senders=names[:2], hostvars={"mon1": {}}
    )
    text = config.render("gateway.conf.j2")
    assert f'"CN={names[0]}" {found[0]};' in text
    assert "ssl_verify_client on;" in text
