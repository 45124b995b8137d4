"""What the machine keeps to ask again by itself is what the role would have asked with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

SITES = [{"name": "shop", "domains": ["shop.example.org"]}]
STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"


def files(make_role: Any, **variables: Any) -> dict[str, dict[str, Any]]:
    """Return the files that role certbot writes, by path."""
    role = make_role("certbot", certbot_sites=SITES, **variables)
    return {entry["path"]: entry for entry in yaml.safe_load(role.render("files.yml.j2"))}


def laid_out(make_role: Any, root: Path, **variables: Any) -> tuple[Path, Path]:
    """Write the program and the settings below a directory; return where they are."""
    found = files(make_role, **variables)
    for name, entry in found.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(entry["content"])
    home = root / "usr/local/lib/fastapi-metal-certificates"
    return home, root / "etc/letsencrypt/fastapi-metal-settings.json"


def test_the_program_is_whole(make_role: Any, tmp_path: Path) -> None:
    """With Debian's Python and nothing else it starts, reads its settings, and says what is in its way.

    A module that it imports and the role does not bring would end it.
    """
    home, settings = laid_out(make_role, tmp_path)
    given = json.loads(settings.read_text())
    given |= {
        "directory_url": "http://127.0.0.1:9/directory",
        "webroot": str(tmp_path / "acme"),
        "letsencrypt_directory": str(tmp_path / "letsencrypt"),
        "tls_directory": str(tmp_path / "tls"),
        "refuse": False,
    }
    settings.write_text(json.dumps(given))
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys, runpy; sys.path.insert(0, {str(home)!r}); "
         f"sys.argv = ['certificates', {str(settings)!r}]; "
         "runpy.run_module('fastapi_metal.certificates', run_name='__main__', alter_sys=True)"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.returncode == 1
    assert (
        "No certificate for shop (there is none): http://127.0.0.1:9/directory cannot be used" in done.stdout
    )


def test_an_account_is_of_root_alone(make_role: Any) -> None:
    """The settings hold the key of the account, and the plugin's file what logs in to the DNS."""
    found = files(
        make_role,
        certbot_eab_key_id="kid",
        certbot_eab_hmac_key="hmac",
        certbot_dns_plugin="cloudflare",
        certbot_dns_credentials="dns_cloudflare_api_token = token\n",
    )
    secret = [path for path, entry in found.items() if "api_token = token" in entry["content"]]
    assert secret == ["/etc/letsencrypt/dns-cloudflare.ini"]
    for path in ("/etc/letsencrypt/fastapi-metal-settings.json", *secret):
        assert found[path]["mode"] == "0600", path
    given = json.loads(found["/etc/letsencrypt/fastapi-metal-settings.json"]["content"])
    assert (given["eab_hmac_key"], given["dns_credentials"]) == ("hmac", secret[0])


@pytest.mark.parametrize(("staging", "asked"), [(True, STAGING), (False, "https://ca.example.org/dir")])
def test_the_staging_switch_goes_before_the_address(make_role: Any, staging: bool, asked: str) -> None:
    """Taken out again, the address counts."""
    role = make_role("certbot", certbot_staging=staging, certbot_directory_url="https://ca.example.org/dir")
    assert role.value("__certbot_directory_url") == asked
