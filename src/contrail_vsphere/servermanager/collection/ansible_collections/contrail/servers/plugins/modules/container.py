"""One container as it should be: compared by a hash of its specification, which it bears as a label."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.contrail.servers.plugins.module_utils.answers import done, failed
from ansible_collections.contrail.servers.plugins.module_utils.engine_api import (
    MARK,
    SPEC_HASH,
    Engine,
    EngineError,
    labels,
    running,
)
from ansible_collections.contrail.servers.plugins.module_utils.host_lock import host_lock

DOCUMENTATION = """
module: container
short_description: Create, recreate, start or remove one container through a Docker-compatible socket
description:
  - A container of that name without our label is somebody else's. It is never touched, and the module fails.
options:
  name: {description: The container's name., type: str, required: true}
  state: {description: Whether it should be there., type: str, choices: [present, absent], default: present}
  image: {description: Reference to run., type: str, default: ""}
  spec: {description: What Server Manager's plan says of it., type: dict, default: {}}
  spec_hash: {description: The specification's hash., type: str, default: ""}
  recreate: {description: Recreate it though its specification is the same., type: bool, default: false}
  socket: {description: The engine's socket., type: path, required: true}
  registry_username: {description: Account to pull with., type: str, default: ""}
  registry_password: {description: Its password., type: str, default: ""}
  pull_timeout: {description: Seconds., type: int, default: 1800}
  grace: {description: Seconds a container gets to end by itself., type: int, default: 10}
  role: {description: The Contrail role this is for; handed back., type: str, default: ""}
author: contrail-vsphere
"""
EXAMPLES = """
- contrail.servers.container:
    name: lb
    image: registry:5100/contrail-lb:4.1
    spec: {binds: ["/etc/contrail:/etc/contrailctl:ro"], network: host, restart: unless-stopped}
    spec_hash: 0d5c...
    socket: /run/podman/podman.sock
"""
RETURN = """
what: {description: What was not as it should be., returned: success, type: list, elements: str}
"""

ABSENT_IS_FINE = ("/etc/localtime", "/etc/timezone")
"""Not every distribution has both; a container without them runs in UTC."""


def _binds(binds: list[str]) -> list[str]:
    return [each for each in binds if not each.startswith(ABSENT_IS_FINE) or os.path.exists(each.split(":")[0])]


def _body(params: dict[str, Any]) -> dict[str, Any]:
    """What the engine is asked for."""
    spec = params["spec"]
    body = {
        "Image": params["image"],
        "Tty": bool(spec.get("tty")),
        "Labels": {**spec.get("labels", {}), SPEC_HASH: params["spec_hash"], MARK: "server-manager"},
        "HostConfig": {
            "Binds": _binds(spec.get("binds", [])),
            "NetworkMode": spec.get("network", "host"),
            "Privileged": bool(spec.get("privileged")),
            "CapAdd": spec.get("capabilities", []),
            "RestartPolicy": {"Name": spec.get("restart", "unless-stopped")},
        },
    }
    if spec.get("command"):
        body["Cmd"] = spec["command"]
    return body


def _reason(params: dict[str, Any], found: dict[str, Any] | None) -> str:
    """Why it cannot stay as it is; empty if it can."""
    name = params["name"]
    if found is None:
        return f"container {name} is missing"
    if labels(found).get(SPEC_HASH) != params["spec_hash"]:
        return f"container {name} has another specification"
    if params["recreate"]:
        return f"container {name} runs with an old configuration"
    return ""


def _present(engine: Engine, params: dict[str, Any], found: dict[str, Any] | None, *, check: bool) -> list[str]:
    name, reason = params["name"], _reason(params, found)
    if not reason:
        if found is not None and running(found):
            return []
        if not check:
            engine.start(name)
        return [f"container {name} does not run"]
    if not check:
        # Pulled while the old one still serves.
        if not engine.has_image(params["image"]):
            engine.pull(
                params["image"], username=params["registry_username"], password=params["registry_password"],
                timeout=params["pull_timeout"],
            )  # fmt: skip
        if found is not None:
            engine.remove(name, grace=params["grace"])
        engine.create(name, _body(params))
        engine.start(name)
    return [reason]


def _change(engine: Engine, params: dict[str, Any], *, check: bool) -> list[str]:
    found = engine.inspect(params["name"])
    if found is not None and MARK not in labels(found):
        message = "container {} is not ours (it lacks the label {}): rename or remove it".format(params["name"], MARK)
        raise EngineError(0, message)
    if params["state"] == "present":
        return _present(engine, params, found, check=check)
    if found is None:
        return []
    if not check:
        engine.remove(params["name"], grace=params["grace"])
    return ["container {} is still there".format(params["name"])]


def main() -> None:
    """Run on the server."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "image": {"type": "str", "default": ""},
            "spec": {"type": "dict", "default": {}},
            "spec_hash": {"type": "str", "default": ""},
            "recreate": {"type": "bool", "default": False},
            "socket": {"type": "path", "required": True},
            "registry_username": {"type": "str", "default": ""},
            "registry_password": {"type": "str", "default": "", "no_log": True},
            "pull_timeout": {"type": "int", "default": 1800},
            "grace": {"type": "int", "default": 10},
            "role": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    params = module.params
    step = {"role": params["role"], "step": "container"}
    try:
        with host_lock():
            what = _change(Engine(params["socket"]), params, check=module.check_mode)
    except (EngineError, OSError) as error:
        failed(module, msg="container {}: {}".format(params["name"], error), contrail=step)
    diff = {"before": "".join(line + "\n" for line in what), "after": "", "before_header": params["name"]}
    told = {**step, "done": params["state"] == "absent"}
    done(module, changed=bool(what), what=what, diff=diff if what else {}, contrail=told)


if __name__ == "__main__":
    main()
