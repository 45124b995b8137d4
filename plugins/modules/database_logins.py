#!/usr/bin/python
"""Say as whom the releases on this machine log in at databases elsewhere. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from fastapi_metal.database.login import in_use
    from fastapi_metal.machine.debian import Debian
    from fastapi_metal.release.layout import Layout
else:
    from ansible.module_utils.fastapi_metal.database.login import in_use
    from ansible.module_utils.fastapi_metal.machine.debian import Debian
    from ansible.module_utils.fastapi_metal.release.layout import Layout

DOCUMENTATION = r"""
module: database_logins
short_description: Say as whom releases log in at databases on other machines
description:
  - Looks at the live release of each application, and at those that still run.
author: fastapi-metal
options:
  apps:
    description: Names of the applications.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: See as whom releases log in
  database_logins:
    apps: [shop]
  register: __database_logins
"""

RETURN = r"""
logins:
  description: Roles of the database, by application.
  returned: always
  type: dict
"""


def main() -> None:
    """Run as Ansible's module."""
    spec = {"apps": {"type": "list", "elements": "str", "required": True}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    machine = Debian()
    logins = {app: in_use(Layout(app), machine) for app in module.params["apps"]}
    module.exit_json(changed=False, logins=logins)


if __name__ == "__main__":
    main()
