"""How much a unit could do if what runs in it were taken over: `systemd-analyze security`."""

import re

from conftest import Lab, say
from guards import machine
from taken import TAKEN, VICTIM

APP, OURS = 1.5, 3.0
LIVE = "catalog@$(basename $(readlink /srv/catalog/current)).service"
# An instance of each template that we install; the others are their own.
INSTANCES = {
    "release-mend": "catalog",
    "release-retry": "catalog@x",
    "release-failed": "catalog@x",
    "undo-change": "firewall",
}
EXPORTERS = "systemctl list-units --all --plain --no-legend 'prometheus-*-exporter.service' | cut -d' ' -f1"


def exposure(lab: Lab, unit: str) -> float:
    """Return the exposure of a unit, from 0 to 10."""
    printed = machine(lab).check_output(
        f"SYSTEMD_COLORS=0 systemd-analyze security --no-pager {unit} | tail -1"
    )
    found = re.search(r"exposure level for .*: ([0-9.]+)", printed)
    assert found, printed
    return float(found[1])


def test_the_application_is_shut_in(lab: Lab) -> None:
    """1.5 or below, with a database, a cache and real workers. Red when its sandbox is loosened."""
    found = exposure(lab, LIVE)
    say(f"systemd-analyze security of the application: {found}")
    assert found <= APP


def test_every_unit_that_we_install_is_shut_in(lab: Lab) -> None:
    """3.0 or below: services of ours, and the exporters, whose sandbox is ours. Red when one is loosened."""
    host = machine(lab)
    files = host.check_output(
        "find /etc/systemd/system -maxdepth 1 -type f -name '*.service' -printf '%f\\n'"
    ).split()
    units = []
    for file in sorted(files):
        name, at, _rest = file.removesuffix(".service").partition("@")
        if name not in (VICTIM, TAKEN):
            units.append(f"{name}@{INSTANCES[name]}.service" if at else file)
    units += host.check_output(EXPORTERS).split()
    found = {unit: exposure(lab, unit) for unit in units}
    say("systemd-analyze security: " + ", ".join(f"{unit} {value}" for unit, value in sorted(found.items())))
    assert len(found) > 8
    assert {unit: value for unit, value in found.items() if value > OURS} == {}
