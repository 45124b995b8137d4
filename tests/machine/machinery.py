"""Machines of a lab by their names, and what tests bring onto them."""

import testinfra
from conftest import information
from testinfra.host import Host


def machine(name: str) -> Host:
    """Return a machine; commands run as root through sudo."""
    return testinfra.get_host(f"ssh://{name}", ssh_config=information()["ssh_config"], sudo=True)


def put(host: Host, path: str, text: str) -> None:
    """Write a file of root's alone."""
    host.check_output("umask 077; printf '%%s\\n' %s > %s", text, path)


def purge(host: Host, *packages: str) -> None:
    """Take packages away, with their settings."""
    host.check_output(
        f"DEBIAN_FRONTEND=noninteractive apt-get purge -qq -y --auto-remove {' '.join(packages)} > /dev/null"
    )


def install(host: Host, *packages: str) -> None:
    """Have packages of Debian's there, and nothing of them running."""
    put(host, "/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101")
    host.check_output(
        "chmod 755 /usr/sbin/policy-rc.d; trap 'rm /usr/sbin/policy-rc.d' EXIT; "
        f"DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends {' '.join(packages)} "
        "> /dev/null"
    )
