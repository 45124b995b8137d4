"""What the kernel and the system were told."""

from conftest import Lab
from guards import login, machine

# A container takes no others; docs/security.md names the rest.
TAKEN = {
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.all.log_martians": "1",
    "net.ipv6.conf.all.accept_redirects": "0",
    "net.ipv4.tcp_syncookies": "1",
}


def test_the_kernel_has_the_settings_that_it_takes(lab: Lab) -> None:
    """Those of the network, which each container has of its own. Red when one differs."""
    host = machine(lab)
    found = {name: host.check_output(f"cat /proc/sys/{name.replace('.', '/')}") for name in TAKEN}
    assert found == TAKEN


def test_nobody_leaves_a_core_dump(lab: Lab) -> None:
    """Neither somebody who has logged in nor an application. Red when one may."""
    assert login(lab, "ulimit -Hc").stdout.strip() == "0"
    host = machine(lab)
    pid = host.check_output(
        "systemctl show --value -p MainPID catalog@$(basename $(readlink /srv/catalog/current)).service"
    )
    limits = host.check_output(f"grep 'Max core' /proc/{pid}/limits").split()
    assert limits[4] == "0", limits


def test_the_banner_tells_nothing(lab: Lab) -> None:
    """Before one logs in one learns neither version nor name. Red when Debian's own text is shown."""
    assert "For authorised use only." in login(lab, "true", "-o", "LogLevel=INFO").stderr
    assert "Debian" not in machine(lab).check_output("cat /etc/issue /etc/issue.net")
