"""Writes whole files, each in one step, and keeps what was there before."""

from __future__ import annotations

import os
import stat
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.contrail.servers.plugins.module_utils.host_lock import host_lock

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

FILE = {
    "path": {"type": "path", "required": True},
    "mode": {"type": "str", "default": "0640"},
    "content": {"type": "str"},
    "secret_content": {"type": "str", "no_log": True},
}


def _before(path: str) -> tuple[bytes | None, int]:
    """Content and mode; None if there is none. A link counts as none: it is replaced, never followed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None, 0
    with os.fdopen(handle, "rb") as file:
        return file.read(), stat.S_IMODE(os.fstat(file.fileno()).st_mode)


def _write(path: str, content: bytes, mode: int) -> None:
    scratch = f"{path}.{os.getpid()}.new"
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise


def _one(wanted: dict[str, Any], *, check: bool) -> dict[str, str] | None:
    """The difference it makes; None if the file is as it should be."""
    secret = wanted["secret_content"] is not None
    text = wanted["secret_content"] if secret else wanted["content"] or ""
    content, mode, path = text.encode(), int(wanted["mode"], 8), wanted["path"]
    before, mode_before = _before(path)
    if before == content and mode_before == mode:
        return None
    if not check:
        if before is not None and before != content:
            _write(path + ".previous", before, mode_before & 0o640)
        _write(path, content, mode)
    if secret:
        return {"before": "", "after": "(holds secrets, not shown)\n", "after_header": path}
    shown = "" if before is None else before.decode("utf-8", "replace")
    return {"before": shown, "after": text, "before_header": path, "after_header": path}


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
        module.fail_json(msg=f"configuration file: {error}", contrail=step)
    module.exit_json(changed=bool(what), what=what, diff=diffs, contrail=step)


if __name__ == "__main__":
    main()
