"""What the machine keeps of the role's settings, so that it can ask again without the controller."""

import json
from pathlib import Path
from typing import Any

from .issuing import Binding, Dns, Run, Settings


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


def load(path: Path) -> tuple[Run, bool]:
    """Return the run that a file describes, and whether a port 80 that leads elsewhere ends it."""
    given = json.loads(path.read_text())
    return run_of(given), bool(given["refuse"])
