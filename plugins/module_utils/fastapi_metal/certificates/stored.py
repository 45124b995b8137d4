"""What the machine keeps of the role's settings, so that it can ask again without the controller."""

import json
from pathlib import Path
from typing import Any

from .issuing import Binding, Dns, Run, Settings
from .sharing import Share, bring_all


def run_of(given: dict[str, Any], check: bool = False) -> Run:
    """Return a run with the settings of the role, by the names of the module's options."""
    settings = Settings(
        directory_url=given["directory_url"],
        email=given["email"],
        key_type=given["key_type"],
        webroot=Path(given["webroot"]),
        letsencrypt=Path(given["letsencrypt_directory"]),
        tls=Path(given["tls_directory"]),
        timeout=given["timeout"],
        binding=Binding(given["eab_key_id"], given["eab_hmac_key"]),
        dns=Dns(given["dns_plugin"], given["dns_credentials"], given["dns_wait"]),
    )
    return Run(settings, given["sites"], given["hook"], check)


def whole(given: dict[str, Any], work: Run) -> dict[str, Any]:
    """Ask for what is missing, and bring what is there to the other machines; return what Ansible is told."""
    result = work.all(bool(given["refuse"]))
    # With --check nobody is asked: the key and the machines may be announced only.
    brought = [] if work.check else shared(given, work)
    return {**result, "changed": result["changed"] or bool(brought), "brought": brought}


def shared(given: dict[str, Any], work: Run) -> list[str]:
    """Bring what is there to the other machines; return to whom it came."""
    return bring_all(Share.of(given["share"]), work)


def load(path: Path) -> tuple[dict[str, Any], Run]:
    """Return what a file says, and the run that it describes."""
    given: dict[str, Any] = json.loads(path.read_text())
    return given, run_of(given)
