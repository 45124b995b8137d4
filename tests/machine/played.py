"""What a playbook has printed."""

import re
import subprocess


def why(played: subprocess.CompletedProcess[str]) -> str:
    """Return what a playbook says of what failed, and how it ended, for a failed assertion."""
    # A result of several lines is indented.
    found = re.findall(r"^(?:fatal|failed): .*(?:\n .*)*", played.stdout, re.MULTILINE)
    fatal = [text[:3000] for text in found]
    return "\n".join([*fatal, "…", played.stdout[-2000:] + played.stderr[-2000:]])


def unbroken(text: str) -> str:
    """Return output of Ansible without the breaks of its lines: it wraps long messages."""
    return " ".join(text.split())
