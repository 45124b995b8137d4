"""The whole description of the interface against the application, with every check of schemathesis."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import APP, KEY, gunicorn, wait_for


@pytest.mark.slow
def test_the_description_is_true(postgresql_url: str, tmp_path: Path) -> None:
    """What fits the description is accepted, what does not is refused, and every answer is described."""
    with gunicorn({"DATABASE_URL": postgresql_url, "CATALOG_WRITE_RATE": "1000000"}, tcp=True) as app:
        wait_for(app.ready, "not ready", app.output)
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(APP / "schemathesis.toml")),
            *("run", f"{app.url}/openapi.json", "--checks", "all", "--max-examples", "20"),
            *("--header", f"Authorization: Bearer {KEY}"),
        ]
        done = subprocess.run(command, cwd=APP, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr
        assert "Tested: 19" in done.stdout
