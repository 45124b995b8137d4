"""What Ansible and other programs are told about a lab."""

from typing import Any

from lab import services, ssh
from lab.state import Lab


def info(lab: Lab) -> dict[str, Any]:
    """Return all that one may want to know about a lab that is up."""
    return {
        "name": lab.name,
        "gateway": lab.slot.gateway,
        "gateway6": lab.slot.gateway6,
        "bridge": lab.slot.bridge,
        "subnet": lab.slot.subnet,
        "subnet6": lab.slot.subnet6,
        "state_dir": str(lab.directory),
        "ssh_key": f"{lab.directory}/key",
        "ssh_user": ssh.USER,
        "ssh_config": f"{lab.directory}/ssh_config",
        "known_hosts": f"{lab.directory}/known_hosts",
        "ca_file": f"{lab.directory}/ca/ca.pem",
        "acme_directory": services.acme_directory(lab),
        "acme_root": f"{lab.directory}/acme-root.pem",
        "grafana_apt_url": lab.apt["url"],
        "grafana_apt_key_file": lab.apt["key_file"],
        "grafana_standin": lab.apt["standin"],
        "machines": {machine.name: lab.address(machine.name) for machine in lab.machines},
        "machines6": {machine.name: lab.address6(machine.name) for machine in lab.machines},
    }


def ansible(lab: Lab, directory: str | None = None) -> dict[str, Any]:
    """Return the lab as a dynamic inventory.

    `directory` becomes inventory_dir, which Ansible takes from the inventory that names a host first.
    """
    found: dict[str, Any] = {"_meta": {"hostvars": {}}}
    common = {} if directory is None else {"inventory_dir": directory}
    for machine in lab.machines:
        found["_meta"]["hostvars"][machine.name] = {
            **common,
            "ansible_host": lab.address(machine.name),
            # A connection kept to a machine of an earlier lab at the same address would hang: this one is
            # ended together with its machine.
            "ansible_control_path": str(lab.sockets / lab.address(machine.name)),
            "lab_address6": lab.address6(machine.name),
        }
        for group in machine.groups:
            found.setdefault(group, {"hosts": []})["hosts"].append(machine.name)
    found["all"] = {
        "hosts": [machine.name for machine in lab.machines],
        "vars": {
            "ansible_user": ssh.USER,
            "ansible_ssh_private_key_file": f"{lab.directory}/key",
            "ansible_ssh_common_args": " ".join(ssh.options(lab)),
            "lab_name": lab.name,
            "lab_state_dir": str(lab.directory),
            "lab_gateway": lab.slot.gateway,
            "lab_ca_file": f"{lab.directory}/ca/ca.pem",
            "lab_acme_directory": services.acme_directory(lab),
            "lab_acme_root_file": f"{lab.directory}/acme-root.pem",
            "lab_grafana_apt_url": lab.apt["url"],
            "lab_grafana_apt_key_file": lab.apt["key_file"],
            "lab_grafana_standin": lab.apt["standin"],
        },
    }
    return found
