"""What the host does for one step of a release. Standard library only, Python 3.11 and later."""

import json
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from fastapi_metal.transport import entry
else:
    from ansible.module_utils.fastapi_metal.transport import entry

DOCUMENTATION = r"""
module: release
short_description: One step of releasing an application
description:
  - Written for the role C(app); its action plugin of the same name adds what the controller sees.
  - A step that does not succeed returns I(problem) and does not fail, so that all hosts decide together.
options:
  step:
    description: The step, one of those in C(fastapi_metal/steps/dispatch.py), or C(check).
    type: str
    required: true
  name:
    description: The application's name.
    type: str
    required: true
  request:
    description: Everything else as one JSON text. It holds secrets, so it is one value that is never logged.
    type: str
    required: true
author: fastapi-metal
"""


def run() -> None:
    """Run the step that was asked for."""
    module = AnsibleModule(
        argument_spec={
            "step": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "request": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    request = json.loads(module.params["request"])
    module.exit_json(
        **entry.execute(module.params["step"], module.params["name"], request, module.check_mode)
    )


if __name__ == "__main__":
    run()
