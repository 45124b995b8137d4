"""What uv prints when it fails, as one sentence and its last lines."""

import re
from typing import Any

LAST_LINES = 20

UNREACHABLE = re.compile(
    r"error sending request|dns error|resolving DNS|lookup address|[Cc]onnection (refused|reset)|timed out|"
    r"[Nn]etwork is unreachable|No route to host|Could not connect"
)
REFUSED = re.compile(r"\b(401|403)\b|[Uu]nauthorized|Missing credentials")
PYTHON = re.compile(
    r"does not satisfy Python\s*(?P<wanted>[<>=!~][^\s,;]*)|requires Python\s*(?P<needs>[<>=!~]\S*)"
)


def sentence_for(text: str, app: str, settings: dict[str, Any], python: str) -> str | None:
    """Return what a failure means and what to do; nothing if it is of no kind that is known."""
    install, file = f"apps.{app}.install", "group_vars/all/apps.yml"
    index = settings["index"] or "the package index of this machine (`python_index_url`)"
    plain = " ".join(text.split())
    if "Hash mismatch" in text or "hash mismatch" in text:
        return (
            "a package has another hash than the lock names, so nothing of it is used; make the lock anew "
            "from an "
            "index that you trust, or look at who changed it"
        )
    if match := PYTHON.search(plain):
        return (
            f"a package asks for Python {match['wanted'] or match['needs']} and this machine has {python}; "
            f"pin "
            "another version of it, or run the application on a machine with another Debian"
        )
    if REFUSED.search(text):
        return (
            f"{index} refuses the account; set `{install}.index_username` and `{install}.index_password` in "
            f"{file} to one that it lets in"
        )
    if UNREACHABLE.search(text):
        shown = settings["index"] or "<python_index_url>"
        return (
            f"{index} does not answer; set `{install}.index` in {file} to one that does or "
            f"`{install}.offline` "
            f"to true, `curl -I {shown}` on this machine shows more"
        )
    if "provided package locations" in text:
        return (
            f"the packages that were shipped do not suffice; set `{install}.offline` in {file} to false, or "
            f"add "
            f"what is missing to `{install}.packages`"
        )
    return None
