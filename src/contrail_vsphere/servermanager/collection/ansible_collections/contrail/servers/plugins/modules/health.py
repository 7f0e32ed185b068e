"""Waits until a container runs and its service answers; in check mode it looks once."""

from __future__ import annotations

import http.client
import socket
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.contrail.servers.plugins.module_utils.engine_api import Engine, EngineError

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
ONE_LOOK = 5.0


def _tcp(address: str, port: int) -> str:
    try:
        with socket.create_connection((address, port), ONE_LOOK):
            return ""
    except OSError as error:
        return f"port {port} does not answer: {error.strerror or error}"


def _http(address: str, port: int, path: str) -> str:
    connection = http.client.HTTPConnection(address, port, timeout=ONE_LOOK)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
        return "" if status < 500 else f"port {port} answers HTTP {status}"
    except (OSError, http.client.HTTPException) as error:
        return f"port {port} does not answer: {error}"
    finally:
        connection.close()


def _trouble(engine: Engine, params: dict[str, Any]) -> str:
    """What is wrong now; empty if all is well."""
    found = engine.inspect(params["container"])
    if found is None:
        return "container {} is missing".format(params["container"])
    if not (found.get("State") or {}).get("Running"):
        return "container {} does not run: {}".format(params["container"], engine.last_words(params["container"]))
    if params["kind"] == "none":
        return ""
    trouble = ""
    for address in dict.fromkeys(["127.0.0.1", params["address"]]):
        if address:
            port = params["port"]
            trouble = _tcp(address, port) if params["kind"] == "tcp" else _http(address, port, params["path"])
            if not trouble:
                return ""
    return trouble


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
    engine = Engine(params["socket"], timeout=ONE_LOOK)
    deadline = time.monotonic() + params["timeout"]
    while True:
        try:
            trouble = _trouble(engine, params)
        except EngineError as error:
            trouble = str(error)
        if not trouble or module.check_mode:
            # In check mode a role is done when it was looked at.
            done = {**step, "done": True}
            module.exit_json(changed=bool(trouble), what=[trouble] if trouble else [], contrail=done)
        if time.monotonic() > deadline:
            module.fail_json(msg="not healthy after {} s: {}".format(params["timeout"], trouble), contrail=step)
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
