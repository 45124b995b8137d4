"""Kinds of text that more than one domain takes."""

from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints

# No control characters: PostgreSQL cannot store NUL, and none of the others belongs in a name. And something
# to be seen. Spaces around it are taken off after that, or a description with the pattern would not be true.
_TEXT = r"[^\x00-\x1f\x7f]*"
Name = Annotated[
    str,
    StringConstraints(max_length=200, pattern=rf"^{_TEXT}[^\s\x00-\x1f\x7f]{_TEXT}$"),
    AfterValidator(str.strip),
]
Description = Annotated[
    str, StringConstraints(max_length=10_000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")
]


def without_defaults(schema: dict[str, Any]) -> None:
    """Describe no defaults: those of a patch are never used, as only fields that were sent are looked at."""
    for field in schema["properties"].values():
        field.pop("default", None)
