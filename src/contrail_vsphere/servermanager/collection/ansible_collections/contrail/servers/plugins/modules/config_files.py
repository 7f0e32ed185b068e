"""Writes whole files, each in one step, and keeps what was there before."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.contrail.servers.plugins.module_utils.answers import done, failed
from ansible_collections.contrail.servers.plugins.module_utils.host_lock import host_lock
from ansible_collections.contrail.servers.plugins.module_utils.whole_files import FILE, read, wanted_content, write

DOCUMENTATION = """
module: config_files
short_description: Write whole configuration files
description:
  - A file is replaced in one step, so that readers see the old content or the new.
  - The old one stays beside it as PATH.previous.
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Absolute path; its directory exists., type: path, required: true}
      mode: {description: Octal., type: str, default: "0640"}
      content: {description: What may be shown., type: str}
      secret_content: {description: Instead of content; never shown; not even as a difference., type: str}
  role: {description: The Contrail role this is for; handed back., type: str, default: ""}
author: contrail-vsphere
"""
EXAMPLES = """
- contrail.servers.config_files:
    files: [{path: /etc/contrail/lb.conf, content: "[GLOBAL]\\n"}]
"""
RETURN = """
what: {description: The files that were not as they should be., returned: success, type: list, elements: str}
"""


def _one(wanted: dict[str, Any], *, check: bool) -> dict[str, str] | None:
    """The difference it makes; None if the file is as it should be."""
    content, mode = wanted_content(wanted)
    path = wanted["path"]
    before, mode_before = read(path)
    if before == content and mode_before == mode:
        return None
    if not check:
        if before is not None and before != content:
            write(path + ".previous", before, mode_before & 0o640)
        write(path, content, mode)
    if wanted["secret_content"] is not None:
        return {"before": "", "after": "(holds secrets, not shown)\n", "after_header": path}
    shown = "" if before is None else before.decode("utf-8", "replace")
    return {"before": shown, "after": content.decode(), "before_header": path, "after_header": path}


def main() -> None:
    """Run on the server."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list", "elements": "dict", "required": True, "options": FILE,
                "mutually_exclusive": [("content", "secret_content")],
            },
            "role": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )  # fmt: skip
    step = {"role": module.params["role"], "step": "files"}
    diffs, what = [], []
    try:
        with host_lock():
            for wanted in module.params["files"]:
                diff = _one(wanted, check=module.check_mode)
                if diff is not None:
                    diffs.append(diff)
                    what.append("file {}".format(wanted["path"]))
    except (OSError, ValueError) as error:
        failed(module, msg=f"configuration file: {error}", contrail=step)
    done(module, changed=bool(what), what=what, diff=diffs, contrail=step)


if __name__ == "__main__":
    main()
