"""Whether a project's `requires-python` lets a machine's Python in, which is told as 3.13, not 3.13.5."""

import re
from collections.abc import Callable

SPECIFIER = re.compile(
    r"(?P<operator>~=|===?|!=|<=|>=|<|>)\s*(?P<version>\d+(?:\.\d+)*)(?P<any>\.\*)?[\w.+-]*"
)

Numbers = tuple[int, ...]

COMPARE: dict[str, Callable[[Numbers, Numbers], bool]] = {
    # `>3.11` lets 3.11.1 in, and `<3.11.5` 3.11.4: only what excludes every patch version excludes a minor
    # one.
    ">=": lambda have, want: have >= want[:2],
    ">": lambda have, want: have >= want[:2],
    "<=": lambda have, want: have <= want[:2],
    "<": lambda have, want: have <= want[:2] if any(want[2:]) else have < want[:2],
    "==": lambda have, want: have == want[:2],
    "===": lambda have, want: have == want[:2],
    "!=": lambda have, want: True,
    "~=": lambda have, want: have >= want[:2] and (have[0] == want[0] if len(want) < 3 else have == want[:2]),
}


def numbers(version: str) -> Numbers:
    """Return a version's numbers."""
    return tuple(int(part) for part in version.split("."))


def allows(specifiers: str, python: str) -> bool:
    """Tell whether a list of specifiers, as `>=3.12,<4`, lets a minor version of Python in."""
    have = numbers(python)
    for specifier in specifiers.split(","):
        match = SPECIFIER.fullmatch(specifier.strip())
        if match is None:
            # uv decides about what is not understood here, and its refusal is shown.
            continue
        want = numbers(match["version"])
        if match["any"]:
            if (have[: len(want)] == want[:2]) != (match["operator"] == "=="):
                return False
        elif not COMPARE[match["operator"]](have, want if len(want) > 1 else (*want, 0)):
            return False
    return True
