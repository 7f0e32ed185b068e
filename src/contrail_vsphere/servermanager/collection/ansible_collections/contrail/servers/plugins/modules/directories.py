"""Makes directories that are missing; those that are there stay as they are."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.contrail.servers.plugins.module_utils.answers import done, failed

DOCUMENTATION = """
module: directories
short_description: Make missing directories, all in one module run
options:
  paths: {description: Absolute paths., type: list, elements: path, required: true}
  role: {description: The Contrail role this is for; handed back., type: str, default: ""}
author: contrail-vsphere
"""
EXAMPLES = """
- contrail.servers.directories: {paths: [/etc/contrail, /var/log/contrail]}
"""
RETURN = """
what: {description: The directories that were missing., returned: success, type: list, elements: str}
"""


def main() -> None:
    """Run on the server."""
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "required": True},
            "role": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    step = {"role": module.params["role"], "step": "directories"}
    missing = [path for path in dict.fromkeys(module.params["paths"]) if not os.path.isdir(path)]
    for path in missing:
        if os.path.lexists(path):
            failed(module, msg=f"{path} is there and is no directory", contrail=step)
        if not module.check_mode:
            try:
                os.makedirs(path, mode=0o755, exist_ok=True)
            except OSError as error:
                failed(module, msg=f"{path}: {error.strerror}", contrail=step)
    diff = {"before": "", "after": "".join(path + "\n" for path in missing), "after_header": "directories"}
    what = [f"directory {path}" for path in missing]
    done(module, changed=bool(missing), what=what, diff=diff if missing else {}, contrail=step)


if __name__ == "__main__":
    main()
