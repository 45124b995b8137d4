"""Give each lab a slot: a number that all its names and addresses come from."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from lab.errors import LabError

# 198.18.0.0/15 is set aside for tests (RFC 2544): it collides with no real network.
SLOTS = range(1, 250)
FIRST_HOST = 11


@dataclass(frozen=True)
class Slot:
    """The names and addresses of one lab."""

    number: int

    @property
    def bridge(self) -> str:
        """Bridge, nft table and cgroup have one name."""
        return f"fmlab{self.number}"

    @property
    def subnet(self) -> str:
        """The lab's own IPv4 network."""
        return f"198.18.{self.number}.0/24"

    @property
    def gateway(self) -> str:
        """The host's end of the bridge."""
        return f"198.18.{self.number}.1"

    @property
    def subnet6(self) -> str:
        """The lab's own IPv6 network."""
        return f"fd00:198:18:{self.number}::/64"

    @property
    def gateway6(self) -> str:
        """The host's end of the bridge, IPv6."""
        return f"fd00:198:18:{self.number}::1"

    def address(self, index: int) -> str:
        """Return the IPv4 address of the machine at this place of the list."""
        return f"198.18.{self.number}.{FIRST_HOST + index}"

    def address6(self, index: int) -> str:
        """Return the IPv6 address, which ends like the IPv4 one."""
        return f"fd00:198:18:{self.number}::{FIRST_HOST + index}"

    def container(self, machine: str) -> str:
        """Return systemd-nspawn's name of a machine, unique on the host."""
        return f"fm{self.number}-{machine}"


def free_slot(claimed: Iterable[int], interfaces: Iterable[str], networks: Iterable[str]) -> Slot:
    """Return the first slot that no lab claims and whose name and addresses the host does not use.

    `networks` are the host's addresses and routes: another lab, or another program, may sit in
    198.18.0.0/15 without any state that this one could read.
    """
    taken = set(claimed)
    names = set(interfaces)
    used = [ipaddress.ip_network(network, strict=False) for network in networks]
    used = [network for network in used if network.prefixlen > 0]
    for number in SLOTS:
        slot = Slot(number)
        mine = (ipaddress.ip_network(slot.subnet), ipaddress.ip_network(slot.subnet6))
        if number in taken or slot.bridge in names:
            continue
        if any(network.version == own.version and network.overlaps(own) for network in used for own in mine):
            continue
        return slot
    raise LabError(
        f"all {len(SLOTS)} slots of 198.18.0.0/16 are in use: "
        "`bin/lab list` shows the labs, `bin/lab down NAME` frees one"
    )
