"""What a host name is, in one place for all who take one. It goes to machines too."""

import re

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
TOP = re.compile(r"[a-z][a-z0-9-]*[a-z0-9]")


def is_host_name(name: str) -> bool:
    """Tell whether a name can be a host's, in lower case and the xn-- form of other letters."""
    return len(name) <= 253 and all(LABEL.fullmatch(label) for label in name.split("."))


def is_domain(name: str) -> bool:
    """Tell whether a host name can be one of the world's: no address, and nothing like `localhost`."""
    _, dot, top = name.rpartition(".")
    return bool(dot) and is_host_name(name) and TOP.fullmatch(top) is not None
