#!/usr/bin/python
"""Ask the certificate authority for what is missing, and let Nginx serve what is there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from fastapi_metal.certificates.issuing import RefusedError
    from fastapi_metal.certificates.stored import run_of, whole
else:
    from ansible.module_utils.fastapi_metal.certificates.issuing import RefusedError
    from ansible.module_utils.fastapi_metal.certificates.stored import run_of, whole

DOCUMENTATION = r"""
module: certbot_certificates
short_description: Issue certificates by webroot and let Nginx serve them
description:
  - Asks the authority only for a certificate that is missing, broken, about to expire, for other domains,
    of another kind of key or from another authority. Renewal is the business of Certbot's timer.
  - Before it asks, the machine fetches a random token of its own from each domain over port 80.
  - An authority that is down or refuses is a warning. The site keeps what it has.
  - A site's directory under C(tls_directory) becomes a link to the issued certificate, in one step. A
    directory that was made by hand is left alone.
author: fastapi-metal
options:
  sites:
    description: List of C(name) and C(domains).
    type: list
    elements: dict
    required: true
  directory_url:
    description: Address of the ACME directory.
    type: str
    required: true
  email:
    description: Address of the account.
    type: str
    default: ""
  key_type:
    description: Kind of the keys.
    type: str
    choices: [ecdsa, rsa]
    default: ecdsa
  webroot:
    description: Directory that Nginx serves on port 80.
    type: path
    required: true
  hook:
    description: Content of the script that loads renewed certificates.
    type: str
    required: true
  refuse:
    description: Fail if port 80 of a domain does not lead here; otherwise only warn.
    type: bool
    default: true
  eab_key_id:
    description: Key identifier of an authority that knows its customers before (EAB).
    type: str
    default: ""
  eab_hmac_key:
    description: The key that belongs to it.
    type: str
    default: ""
  dns_plugin:
    description: Name of Certbot's plugin for a challenge over DNS, as in C(cloudflare); webroot without it.
    type: str
    default: ""
  dns_credentials:
    description: File on the machine with what the plugin logs in with.
    type: path
    default: ""
  dns_wait:
    description: Seconds that the authority is left waiting for a record; the plugin's own number without one.
    type: int
    default: 0
  share:
    description:
      - Other machines behind the same names, to which each certificate is brought over SSH. C(key),
        C(known_hosts) (a directory with a file for each machine), C(user), and C(peers), a list of C(name),
        C(address) and C(port).
    type: dict
    default: {}
  tls_directory:
    description: Where Nginx looks for certificates.
    type: path
    default: /etc/nginx/tls
  letsencrypt_directory:
    description: Certbot's directory.
    type: path
    default: /etc/letsencrypt
  timeout:
    description: Seconds that Certbot may take for one certificate.
    type: int
    default: 180
"""

EXAMPLES = r"""
- name: certificates | Have one for the shop
  certbot_certificates:
    sites: [{name: shop, domains: [shop.example.org, www.shop.example.org]}]
    directory_url: https://acme-v02.api.letsencrypt.org/directory
    webroot: /var/www/acme
    hook: "{{ lookup('ansible.builtin.template', 'reload-nginx.j2') }}"
"""

RETURN = r"""
issued:
  description: Sites that got a certificate, and why they needed one.
  returned: always
  type: dict
pending:
  description: Sites that still need one, and what kept it from them.
  returned: always
  type: dict
brought:
  description: Which sites' certificates came to which machine.
  returned: always
  type: list
kept:
  description: Sites with a certificate that was put there by hand.
  returned: always
  type: list
"""


def main() -> None:
    """Speak to Ansible."""
    text: dict[str, Any] = {"type": "str", "default": ""}
    module = AnsibleModule(
        argument_spec={
            "sites": {"type": "list", "elements": "dict", "required": True},
            "directory_url": {"type": "str", "required": True},
            "email": text,
            "key_type": {"type": "str", "choices": ["ecdsa", "rsa"], "default": "ecdsa"},
            "webroot": {"type": "path", "required": True},
            "hook": {"type": "str", "required": True},
            "refuse": {"type": "bool", "default": True},
            "eab_key_id": text,
            "eab_hmac_key": {**text, "no_log": True},
            "dns_plugin": text,
            "dns_credentials": {"type": "path", "default": ""},
            "dns_wait": {"type": "int", "default": 0},
            "share": {"type": "dict", "default": {}},
            "tls_directory": {"type": "path", "default": "/etc/nginx/tls"},
            "letsencrypt_directory": {"type": "path", "default": "/etc/letsencrypt"},
            "timeout": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    work = run_of(module.params, module.check_mode)
    try:
        result = whole(module.params, work)
    except RefusedError as sentence:
        module.fail_json(msg=str(sentence))
    else:
        for warning in work.warnings:
            module.warn(warning)
        module.exit_json(**result)


if __name__ == "__main__":
    main()
