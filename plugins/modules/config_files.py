#!/usr/bin/python
"""Land several configuration files in one trip, all of them checked before the first one lands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from host_changes.files import OPTIONS, File, RefusedError, land
else:
    from ansible.module_utils.host_changes.files import OPTIONS, File, RefusedError, land

DOCUMENTATION = r"""
module: config_files
short_description: Land several configuration files in one trip
description:
  - A task costs half a second per host, and C(template) in a loop costs that for each file, twice. This
    writes all of them at once.
  - Each file that has a check is checked first; when one is refused, none lands, also with C(--check).
  - Directories that are missing on the way are made, root's and 0755.
author: fastapi-metal
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where it belongs.
        type: path
        required: true
      content:
        description: Its text.
        type: str
        required: true
      owner:
        description: User it belongs to.
        type: str
        default: root
      group:
        description: Group it belongs to.
        type: str
        default: root
      mode:
        description: Its mode, as octal text.
        type: str
        default: "0644"
      keep:
        description: Leave the text alone where there is a file already; owner and mode count all the same.
        type: bool
        default: false
      validate:
        description:
          - Command that must accept the text; C(%s) stands for a temporary file that holds it, C(%d) for the
            directory in which that lies alone.
          - With C(--check) on a machine that lacks the command, this one is not checked.
        type: str
"""

EXAMPLES = r"""
- name: configure | Write the files
  config_files:
    files:
      - path: /etc/default/prometheus
        content: "{{ lookup('ansible.builtin.template', 'default.j2') }}"
      - path: /etc/prometheus/prometheus.yml
        content: "{{ lookup('ansible.builtin.template', 'prometheus.yml.j2') }}"
        validate: promtool check config %s
  register: __prometheus_files
"""

RETURN = r"""
written:
  description: Paths that were changed, or would be.
  returned: always
  type: list
"""


def main() -> None:
    """Run as Ansible's module."""
    module = AnsibleModule(
        argument_spec={"files": {"type": "list", "elements": "dict", "required": True, "options": OPTIONS}},
        supports_check_mode=True,
    )
    try:
        diffs = land([File(wanted) for wanted in module.params["files"]], module.check_mode)
    except RefusedError as error:
        module.fail_json(msg=str(error))
    except (OSError, LookupError, ValueError) as error:
        module.fail_json(msg=f"A file could not be written: {error}")
    module.exit_json(changed=bool(diffs), written=[diff["after_header"] for diff in diffs], diff=diffs)


if __name__ == "__main__":
    main()
