"""Filter of role exporters: a password as Nginx keeps it."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any


def exporters_salted(password: str, salt: str) -> str:
    """Return a password as a salted digest; the same salt gives the same text: nothing changes by itself.

    Nginx knows no slow digest that all of Debian's versions share, so the password itself must be long.
    """
    grain = hashlib.sha256(salt.encode()).digest()[:8]
    digest = hashlib.sha1(password.encode() + grain, usedforsecurity=False).digest()
    return "{SSHA}" + base64.b64encode(digest + grain).decode()


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"exporters_salted": exporters_salted}
