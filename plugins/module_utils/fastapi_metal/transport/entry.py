"""The one door through which a step reaches the engine on a host, whatever way its request came."""

from typing import Any

from ..engine import drill
from ..engine.engine import Engine
from ..machine.debian import Debian
from ..release.settings import from_request
from ..steps.dispatch import run


def execute(step: str, name: str, request: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Run one step on this machine."""
    observer = drill.observer(request.get("drill", ""))
    return run(Engine(from_request(name, request), Debian(), observer), step, request, check_mode)
