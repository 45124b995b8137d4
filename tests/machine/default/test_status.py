"""The fleet at a glance, without Grafana."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from client import Site, wait_until
from conftest import ROOT, Lab
from played import unbroken
from testinfra.host import Host

MIB = 1024 * 1024


def live(host: Host) -> str:
    """Return the release that is live."""
    return str(host.check_output("readlink /srv/catalog/current")).rsplit("/", 1)[-1]


def screenshot(page: Path, target: Path, dark: bool) -> None:
    """Let headless Chromium take a picture of a page; it has no network, and needs none."""
    browser = shutil.which("chromium")
    assert browser, "chromium is missing: run bin/setup tests"
    scheme = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []
    argv = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *scheme]
    argv += ["--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1400,3600", f"--screenshot={target}"]
    done = subprocess.run([*argv, page.as_uri()], capture_output=True, text=True, timeout=120, check=False)
    assert target.is_file(), done.stderr[-2000:]


def colours(picture: Path) -> tuple[float, float]:
    """Return the mean brightness of a picture and how much it varies: a blank page does not."""
    from matplotlib.image import imread

    pixels = imread(picture)[..., :3]
    return float(pixels.mean()), float(pixels.std())


def test_the_fleet_is_shown_and_drawn(host: Host, lab: Lab, site: Site, tmp_path: Path) -> None:
    """One command prints the live release with its figures and writes a page for light and dark.

    Red when the table says another release, Prometheus' figures are missing, or the page cannot be drawn.
    """
    asked = 'query=app_host:http_request_duration_seconds:p95_5m{app="catalog"} >= 0'

    def has_figures() -> bool:
        for _ in range(10):
            assert site.get("/products").status == 200
        answer = host.check_output(
            "curl -fsS --get --data-urlencode %s http://127.0.0.1:9090/api/v1/query", asked
        )
        return bool(json.loads(answer)["data"]["result"])

    # With Prometheus stopped the table itself has to say so.
    if host.service("prometheus").is_running:
        wait_until("figures of requests", has_figures, 90)
    page = tmp_path / "status.html"
    done = lab.playbook("status", page=str(page), hours=1)
    assert done.returncode == 0, done.stdout + done.stderr
    line = re.search(r"web1 +catalog +(\S+) +(\S+) +.*", done.stdout)
    assert line, done.stdout
    assert (line[1], line[2]) == (live(host), "active")
    assert not re.search(r" - ", line[0]), f"a figure is missing: {line[0]}"
    assert "changed=0" in done.stdout
    html = page.read_text()
    assert html.count("<svg") >= 12
    assert "http" not in re.sub(r"https?://(www\.w3\.org|catalog\.lab\.test)", "", html)
    # Kept, so that a reader can look at what the test saw.
    kept = ROOT / ".cache/status"
    kept.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        screenshot(page, kept / f"{scheme}.png", scheme == "dark")
    (light, varied), (dark, varied_too) = colours(kept / "light.png"), colours(kept / "dark.png")
    assert light > 0.8 > 0.3 > dark
    assert min(varied, varied_too) > 0.03
    assert page.stat().st_size < 4 * MIB


def test_the_state_is_shown_without_prometheus(host: Host, lab: Lab) -> None:
    """Whoever has no figures sees which release runs, and that there are no figures.

    Red when the table needs Prometheus, or claims that no alert fires.
    """
    host.check_output("systemctl stop prometheus")
    try:
        done = lab.playbook("status", page="")
    finally:
        host.check_output("systemctl start prometheus")
    assert done.returncode == 0, done.stdout + done.stderr
    line = re.search(rf"web1 +catalog +{live(host)} +active +.*", done.stdout)
    assert line, done.stdout
    assert line[0].split()[-1] == "-", f"alerts without Prometheus: {line[0]}"
    assert "no figures: " in done.stdout


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hours": "soon"}, "hours is soon; say how far to look back"),
        ({"page": "/nowhere/at/all.html"}, "page is /nowhere/at/all.html, whose directory does not exist"),
        ({"app": "sohp"}, "app is sohp, which group_vars/all/apps.yml does not name"),
    ],
)
def test_what_cannot_be_shown_is_refused(lab: Lab, given: dict[str, str], words: str) -> None:
    """One sentence, before any machine is asked. Red when the playbook goes on."""
    done = lab.playbook("status", **given)
    assert done.returncode != 0
    assert words in unbroken(done.stdout + done.stderr)
