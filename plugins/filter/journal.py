"""What role journal computes."""

import hashlib
from collections.abc import Callable
from typing import Any


def journal_sender_address(name: str) -> str:
    """Return the address on loopback that stands for a machine.

    journal-remote keeps one journal for each address that lines come from. All of 127.0.0.0/8 is this
    machine, and an address that is made of the name stays the machine's when others come and go.
    """
    first, second, third = hashlib.sha256(name.encode()).digest()[:3]
    # 127.0 is left to what the machine itself does there, and neither 0 nor 255 may end an address.
    return f"127.{1 + first % 255}.{second}.{1 + third % 254}"


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"journal_sender_address": journal_sender_address}
