"""What a release remembers of the settings that it was made with."""

from typing import Any

# Not recorded: what the release holds already, what may be a secret, and what is no matter of a release.
NOT_RECORDED = {"env", "secrets", "source", "install", "before_start", "after_start", "hosts", "aliases"}


def recordable(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the settings by which a release is started, watched, switched and drained later."""
    return {key: value for key, value in entry.items() if key not in NOT_RECORDED}
