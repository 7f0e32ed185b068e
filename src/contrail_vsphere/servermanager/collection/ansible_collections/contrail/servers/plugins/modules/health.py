"""Waits until a container runs and its service answers; in check mode it looks once."""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.contrail.servers.plugins.module_utils.answers import done, failed
from ansible_collections.contrail.servers.plugins.module_utils.engine_api import Engine, EngineError
from ansible_collections.contrail.servers.plugins.module_utils.service_answers import ONE_LOOK, trouble

DOCUMENTATION = """
module: health
short_description: Wait until a container runs and its service answers
options:
  container: {description: The container's name., type: str, required: true}
  socket: {description: The engine's socket., type: path, required: true}
  kind: {description: What counts as an answer., type: str, choices: [none, tcp, http], default: none}
  port: {description: On this server., type: int, default: 0}
  path: {description: Of the page; any answer below 500 counts., type: str, default: /}
  address: {description: Tried besides 127.0.0.1., type: str, default: ""}
  timeout: {description: Seconds., type: int, default: 60}
  role: {description: The Contrail role this is for; handed back., type: str, default: ""}
author: contrail-vsphere
"""
EXAMPLES = """
- contrail.servers.health: {container: controller, socket: /run/podman/podman.sock, kind: http, port: 8082}
"""
RETURN = """
what: {description: In check mode - what is not healthy., returned: success, type: list, elements: str}
"""

PAUSE = 0.5
"""Seconds between two looks."""


def main() -> None:
    """Run on the server."""
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "socket": {"type": "path", "required": True},
            "kind": {"type": "str", "choices": ["none", "tcp", "http"], "default": "none"},
            "port": {"type": "int", "default": 0},
            "path": {"type": "str", "default": "/"},
            "address": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 60},
            "role": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    params = module.params
    step = {"role": params["role"], "step": "health"}
    where = {each: params[each] for each in ("kind", "port", "path", "address")}
    engine = Engine(params["socket"], timeout=ONE_LOOK)
    deadline = time.monotonic() + params["timeout"]
    while True:
        try:
            wrong = trouble(engine, params["container"], **where)
        except EngineError as error:
            wrong = str(error)
        if not wrong or module.check_mode:
            # In check mode a role is done when it was looked at.
            done(module, changed=bool(wrong), what=[wrong] if wrong else [], contrail={**step, "done": True})
        if time.monotonic() > deadline:
            failed(module, msg="not healthy after {} s: {}".format(params["timeout"], wrong), contrail=step)
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
