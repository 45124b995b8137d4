"""Slots: labs side by side never share a name or an address."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.errors import LabError
from lab.slots import SLOTS, Slot, free_slot

NOTHING: list[str] = []


def test_the_first_lab_gets_the_first_slot() -> None:
    """On a host without labs."""
    assert free_slot([], ["lo", "eth0"], ["127.0.0.1/8", "192.0.2.2/24", "fd00::2/64"]) == Slot(1)


@pytest.mark.parametrize(
    ("claimed", "interfaces", "networks"),
    [
        ([1], NOTHING, NOTHING),
        ([], ["fmlab1"], NOTHING),
        ([], NOTHING, ["198.18.1.1/24"]),
        ([], NOTHING, ["198.18.0.0/23"]),
        ([], NOTHING, ["198.18.1.77/32"]),
        ([], NOTHING, ["fd00:198:18:1::1/64"]),
    ],
    ids=["claimed by a lab", "bridge", "address", "wider route", "one address", "IPv6"],
)
def test_a_slot_in_use_is_left_alone(claimed: list[int], interfaces: list[str], networks: list[str]) -> None:
    """Whoever uses it: a lab that is only planned, one of another state directory, or another program."""
    assert free_slot(claimed, interfaces, networks) == Slot(2)


def test_a_default_route_takes_nothing() -> None:
    """A route to everywhere overlaps every network, and is not meant."""
    assert free_slot([], [], ["0.0.0.0/0", "::/0"]) == Slot(1)


def test_when_all_are_taken_the_way_out_is_told() -> None:
    """One sentence, with the commands that help."""
    with pytest.raises(LabError, match="bin/lab down"):
        free_slot(list(SLOTS), [], [])


@given(
    first=st.sampled_from(SLOTS),
    second=st.sampled_from(SLOTS),
    one=st.integers(0, 199),
    other=st.integers(0, 199),
)
def test_no_two_machines_share_an_address(first: int, second: int, one: int, other: int) -> None:
    """Neither in one lab nor across labs, on IPv4 and IPv6; and each is inside its lab's network."""
    here, there = Slot(first), Slot(second)
    same = (first, one) == (second, other)
    assert (here.address(one) == there.address(other)) == same
    assert (here.address6(one) == there.address6(other)) == same
    assert ipaddress.ip_address(here.address(one)) in ipaddress.ip_network(here.subnet)
    assert ipaddress.ip_address(here.address6(one)) in ipaddress.ip_network(here.subnet6)
    assert here.address(one) != here.gateway


def test_interface_names_fit_the_kernel() -> None:
    """A bridge's name has 15 letters at most."""
    assert all(len(Slot(number).bridge) <= 15 for number in SLOTS)
