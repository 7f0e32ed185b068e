"""Looks at several services at once and tells which of them are as they should be; it changes nothing."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.contrail.servers.plugins.module_utils.answers import done
from ansible_collections.contrail.servers.plugins.module_utils.engine_api import (
    MARK,
    SPEC_HASH,
    Engine,
    EngineError,
    labels,
)
from ansible_collections.contrail.servers.plugins.module_utils.host_lock import host_lock
from ansible_collections.contrail.servers.plugins.module_utils.service_answers import ONE_LOOK, trouble
from ansible_collections.contrail.servers.plugins.module_utils.whole_files import FILE, read, wanted_content

DOCUMENTATION = """
module: look
short_description: Tell which services are as they should be and healthy
description:
  - What the modules directories, config_files, container and health would find, in one module run for all services.
  - A service that is not told to be settled is theirs, whatever the reason.
options:
  services:
    description: The services; more may be said of each than is looked at.
    type: list
    elements: dict
    required: true
    suboptions:
      role: {description: The Contrail role., type: str, required: true}
      directories: {description: Absolute paths., type: list, elements: path, default: []}
      files: {description: As for config_files., type: list, elements: dict, default: []}
      container: {description: With name and action and spec_hash., type: dict, required: true}
      health: {description: With kind and port and path., type: dict, default: {}}
  socket: {description: The engine's socket., type: path, required: true}
  address: {description: Tried besides 127.0.0.1., type: str, default: ""}
author: contrail-vsphere
"""
EXAMPLES = """
- contrail.servers.look:
    services:
      - role: lb
        directories: [/etc/contrail]
        container: {name: lb, action: leave, spec_hash: 0d5c...}
        health: {kind: tcp, port: 8080}
    socket: /run/podman/podman.sock
"""
RETURN = """
differing: {description: Roles that something is to be done for., returned: success, type: list, elements: str}
"""

SERVICE = {
    "role": {"type": "str", "required": True},
    "directories": {"type": "list", "elements": "path", "default": []},
    "files": {"type": "list", "elements": "dict", "options": FILE, "default": []},
    "container": {"type": "dict", "required": True},
    "health": {"type": "dict", "default": {}},
}


def _settled(engine: Engine, service: dict[str, Any], *, address: str) -> bool:
    container, health = service["container"], service["health"]
    found = engine.inspect(container["name"])
    if container["action"] == "remove":
        return found is None
    if found is None or MARK not in labels(found) or labels(found).get(SPEC_HASH) != container["spec_hash"]:
        return False
    if not all(os.path.isdir(path) for path in service["directories"]):
        return False
    if any(read(wanted["path"]) != wanted_content(wanted) for wanted in service["files"]):
        return False
    return not trouble(
        engine, container["name"], kind=health.get("kind", "none"), port=int(health.get("port", 0)),
        path=health.get("path", "/"), address=address,
    )  # fmt: skip


def main() -> None:
    """Run on the server."""
    module = AnsibleModule(
        argument_spec={
            "services": {"type": "list", "elements": "dict", "required": True, "options": SERVICE},
            "socket": {"type": "path", "required": True},
            "address": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    settled = []
    engine = Engine(module.params["socket"], timeout=ONE_LOOK)
    try:
        # What a module left by another run is about to change must not be called settled.
        with host_lock():
            for service in module.params["services"]:
                if _settled(engine, service, address=module.params["address"]):
                    settled.append(service["role"])
    except (EngineError, OSError, ValueError, KeyError):
        pass  # Those whose work it is meet it too, wait where it is worth it, and say what it is.
    differing = [each["role"] for each in module.params["services"] if each["role"] not in settled]
    done(module, changed=False, differing=differing, contrail={"step": "look", "settled": settled})


if __name__ == "__main__":
    main()
