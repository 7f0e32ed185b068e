"""Finds the container engine, and has it trust the registry's CA."""

from __future__ import annotations

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.contrail.servers.plugins.module_utils.answers import done, failed
from ansible_collections.contrail.servers.plugins.module_utils.engine_api import SOCKETS, Engine, EngineError
from ansible_collections.contrail.servers.plugins.module_utils.host_lock import host_lock

DOCUMENTATION = """
module: engine
short_description: Find the container engine and have it trust a registry's CA
options:
  socket: {description: The engine's Docker-compatible socket; without it the usual places are tried., type: path}
  registry: {description: HOST:PORT of the registry., type: str, default: ""}
  ca_pem: {description: CA certificates of the registry., type: str, default: ""}
author: contrail-vsphere
"""
EXAMPLES = """
- contrail.servers.engine: {registry: "10.0.0.1:5100", ca_pem: "{{ lookup('file', 'ca.pem') }}"}
"""
RETURN = """
socket: {description: Where the engine answers., returned: success, type: str}
engine: {description: Its name and version., returned: success, type: str}
"""

CERTIFICATES = {"podman": "/etc/containers/certs.d", "docker": "/etc/docker/certs.d"}
PATIENCE = 60.0
"""Seconds for an engine that restarts, or has more to do than it can."""
ANSWER = 15.0
"""Seconds for one answer."""
HINT = (
    "install podman and start podman.socket (Debian: apt-get install podman runc; systemctl enable --now podman.socket)"
)


def _look(candidates: list[str]) -> tuple[str, str, str]:
    """Where it answers, what it is; or why none does."""
    reasons = []
    for path in candidates:
        try:
            return path, Engine(path, timeout=ANSWER).ping(), ""
        except EngineError as error:
            reasons.append(str(error))
    return "", "", "; ".join(reasons)


def _engine(candidates: list[str]) -> tuple[str, str]:
    """A socket that is there belongs to an engine that is restarting, or busy: it is waited for."""
    there = any(os.path.exists(each) for each in candidates)
    deadline = time.monotonic() + PATIENCE
    while True:
        path, engine, reason = _look(candidates)
        if path:
            return path, engine
        if not there or time.monotonic() > deadline:
            raise EngineError(0, reason)
        time.sleep(0.5)


def _trust(path: str, content: str, *, check: bool) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == content:
                return False
    except OSError:
        pass
    if not check:
        with host_lock():
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            scratch = path + ".new"
            with open(scratch, "w", encoding="utf-8") as file:
                file.write(content)
            os.replace(scratch, path)
    return True


def main() -> None:
    """Run on the server."""
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path"},
            "registry": {"type": "str", "default": ""},
            "ca_pem": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    given = module.params["socket"]
    try:
        path, engine = _engine([given] if given else list(SOCKETS))
    except EngineError as error:
        failed(module, msg=f"no container engine answers: {error} ({HINT})")
    changed = False
    if module.params["registry"] and module.params["ca_pem"]:
        kind = "docker" if "docker" in path else "podman"
        place = os.path.join(CERTIFICATES[kind], module.params["registry"], "ca.crt")
        try:
            changed = _trust(place, module.params["ca_pem"], check=module.check_mode)
        except (OSError, TimeoutError) as error:
            failed(module, msg=f"{place}: {error}")
    done(module, changed=changed, socket=path, engine=engine, what=["the registry's CA"] if changed else [])


if __name__ == "__main__":
    main()
