"""The last test of the machine: after a reboot everything is there again, without a hand."""

import time

from client import Site, product, wait_until
from conftest import Lab
from testinfra.host import Host


def test_a_rebooted_machine_answers_again(lab: Lab, host: Host, site: Site) -> None:
    """The machine is rebooted; the same release answers, and what was written is there.

    Red when a unit is started but not enabled.
    """
    path, document = product(f"before-{time.time_ns()}")
    made = site.request("POST", path, document).json()
    release = site.get("/version").json()["release"]
    boot = host.check_output("cat /proc/sys/kernel/random/boot_id; stat -c %Y /run/systemd/private")
    lab.reboot("web1")
    print(f"well {wait_until('the site after the reboot', site.is_well):.1f} s after SSH")
    assert host.check_output("cat /proc/sys/kernel/random/boot_id; stat -c %Y /run/systemd/private") != boot
    assert site.get("/version").json()["release"] == release
    assert site.get(f"{path}/{made['id']}").status == 200
    failed = host.check_output("systemctl list-units --state=failed --plain --no-legend")
    assert failed == ""
