"""What makes two releases the same one."""

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from typing import Any

from .rendering import ANY_RELEASE, Rendered


def digest(value: Any) -> str:
    """Return the SHA-256 of a value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Identity:
    """Everything that a release was made from. Secrets are only recognised, never stored."""

    source: str
    lock: str
    install: dict[str, str]
    config: dict[str, str]
    secrets: dict[str, str]
    python: str
    architecture: str

    @property
    def digest(self) -> str:
        """The full digest."""
        return digest(asdict(self))


def identify(
    source: str,
    lock: str,
    install: dict[str, Any],
    rendered: Rendered,
    secrets: dict[str, str],
    key: bytes,
    python: str,
    architecture: str,
) -> Identity:
    """Return the identity of a release; `rendered` is rendered for ANY_RELEASE."""
    assert ANY_RELEASE in rendered.env
    return Identity(
        source=source,
        lock=lock,
        install={name: digest(value) for name, value in install.items()},
        config={name: hashlib.sha256(text.encode()).hexdigest() for name, text in rendered.texts().items()},
        secrets={
            name: hmac.new(key, f"{name}\0{value}".encode(), hashlib.sha256).hexdigest()
            for name, value in secrets.items()
        },
        python=python,
        architecture=architecture,
    )


def differences(before: dict[str, Any], now: Identity) -> list[str]:
    """Return what changed since the release with the recorded identity, for a human."""
    after = asdict(now)
    found = [part for part in ("source", "lock") if before.get(part) != after[part]]
    for part, label in (("install", "install"), ("config", "config"), ("secrets", "secret")):
        old, new = before.get(part, {}), after[part]
        changed = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        if changed:
            found.append(f"{label} ({', '.join(changed)})")
    for part in ("python", "architecture"):
        if before.get(part) != after[part]:
            found.append(f"{part} ({before.get(part)} -> {after[part]})")
    return found
