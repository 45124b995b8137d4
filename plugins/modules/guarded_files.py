#!/usr/bin/python
"""Land files that could lock everybody out; see the action plugin of the same name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from host_changes import guarded
    from host_changes.connection import current
    from host_changes.files import OPTIONS, File, RefusedError
else:
    from ansible.module_utils.host_changes import guarded
    from ansible.module_utils.host_changes.connection import current
    from ansible.module_utils.host_changes.files import OPTIONS, File, RefusedError

DOCUMENTATION = r"""
module: guarded_files
short_description: Land files that could lock everybody out; a new connection must confirm them
description:
  - What is there is kept first, and a timer started that puts it back. Then the files land, and their unit
    reads them.
  - The action plugin of the same name opens a new connection and confirms over it, which stops the timer.
  - If nobody confirms (the controller is shut out or has died, the machine was started again), what was there
    before comes back by itself, and the task fails and says so.
author: fastapi-metal
options:
  name:
    description: Of the change; one of each name waits at a time.
    type: str
    required: true
  step:
    description: What the action plugin wants.
    choices: [land, confirm, ask]
    type: str
    default: land
  token:
    description: The word that C(land) has returned; without it nobody confirms.
    type: str
    default: ""
  files:
    description: The files, as for C(config_files).
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Where it belongs., type: path, required: true}
      content: {description: Its text., type: str, required: true}
      owner: {description: User it belongs to., type: str, default: root}
      group: {description: Group it belongs to., type: str, default: root}
      mode: {description: Its mode as octal text., type: str, default: "0644"}
      keep: {description: Leave the text alone where there is a file already., type: bool, default: false}
      validate: {description: Command that must accept the text., type: str}
  absent:
    description: Files that go.
    type: list
    elements: path
    default: []
  unit:
    description: The unit that reads them.
    type: str
    default: ""
  start:
    description: The unit must run. Otherwise it reads the files only if it does.
    type: bool
    default: false
  check:
    description:
      - A shell command that must accept all files together, when they lie there and no unit has read them.
    type: str
    default: ""
  seconds:
    description: How long a new connection may take.
    type: int
    default: 60
  ways:
    description:
      - By which ports the controller may come and from where. What would shut it out is refused beforehand.
    type: list
    elements: dict
    default: []
    suboptions:
      ports: {description: The ports., type: list, elements: int, required: true}
      sources: {description: Networks; none is all., type: list, elements: str, default: []}
  variable:
    description: The variable that the refusal names.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: apply | Let in whom the inventory names
  guarded_files:
    name: firewall
    files:
      - path: /etc/fastapi-metal/firewall.nft
        content: "{{ lookup('ansible.builtin.template', 'firewall.nft.j2') }}"
        validate: nft -c -f %s
    unit: host-firewall.service
    start: true
"""

RETURN = r"""
pending:
  description: Whether the change waits to be confirmed.
  returned: always
  type: bool
"""

WAY = {
    "ports": {"type": "list", "elements": "int", "required": True},
    "sources": {"type": "list", "elements": "str", "default": []},
}
SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "step": {"type": "str", "default": "land", "choices": ["land", "confirm", "ask"]},
    # It proves who confirms, and is worth nothing afterwards.
    "token": {"type": "str", "default": "", "no_log": False},
    "files": {"type": "list", "elements": "dict", "default": [], "options": OPTIONS},
    "absent": {"type": "list", "elements": "path", "default": []},
    "unit": {"type": "str", "default": ""},
    "start": {"type": "bool", "default": False},
    "check": {"type": "str", "default": ""},
    "seconds": {"type": "int", "default": 60},
    "ways": {"type": "list", "elements": "dict", "default": [], "options": WAY},
    "variable": {"type": "str", "default": ""},
}


def step(wanted: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do what the action plugin wants."""
    machine = guarded.Machine()
    if wanted["step"] == "confirm":
        return guarded.confirm(machine, wanted["name"], wanted["token"], current())
    if wanted["step"] == "ask":
        return guarded.pending(machine, wanted["name"])
    change = guarded.Change(
        name=wanted["name"],
        files=[File(file) for file in wanted["files"]],
        absent=[Path(path) for path in wanted["absent"]],
        unit=wanted["unit"],
        start=wanted["start"],
        check=wanted["check"],
        seconds=wanted["seconds"],
        ways=[guarded.Way(way["ports"], way["sources"]) for way in wanted["ways"]],
        variable=wanted["variable"],
    )
    return guarded.land(machine, change, current(), check_mode)


def main() -> None:
    """Run as Ansible's module."""
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        module.exit_json(**step(module.params, module.check_mode))
    except RefusedError as error:
        module.fail_json(msg=str(error))
    except (OSError, LookupError, ValueError) as error:
        module.fail_json(msg=f"A file could not be written: {error}")


if __name__ == "__main__":
    main()
