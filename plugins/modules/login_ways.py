#!/usr/bin/python
"""Say who can log in to this machine with a key, and as whom this task has come. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from host_changes import logins
    from host_changes.connection import current
else:
    from ansible.module_utils.host_changes import logins
    from ansible.module_utils.host_changes.connection import current

DOCUMENTATION = r"""
module: login_ways
short_description: Say who can log in with a key
description:
  - Looks at the shells, accounts and files of authorized keys of all users, as sshd does.
author: fastapi-metal
"""

EXAMPLES = r"""
- name: guard | Look who can log in
  login_ways:
  register: __ssh_ways
"""

RETURN = r"""
logins:
  description: The users with a shell and a key.
  returned: always
  type: list
elsewhere:
  description: Whether sshd asks for keys in other places too, a command or an authority.
  returned: always
  type: bool
users:
  description: All users.
  returned: always
  type: list
me:
  description: As whom the connection of this task has logged in; empty if it came by another way than SSH.
  returned: always
  type: str
"""


def main() -> None:
    """Run as Ansible's module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    connection = current()
    module.exit_json(changed=False, me=connection.user if connection else "", **logins.read())


if __name__ == "__main__":
    main()
