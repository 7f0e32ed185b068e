"""The bodies that the seed era's clients sent to 9003, translated.

A list with one item per role of one server: address, account, image, and the role's sections as a nested dictionary.
Values that repeat themselves in newer requests (Ansible's own variables, playbook paths) are taken where they mean
something and refused where they would be ignored.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final
from uuid import uuid4

from contrail_vsphere.model.errors import DocumentError
from contrail_vsphere.servermanager.catalogue import Catalogue, Role
from contrail_vsphere.servermanager.runs import (
    ContainerToRun,
    FileToWrite,
    HostToRun,
    RegistryToPull,
    RoleToRun,
    RunRequest,
)

REQUIRED: Final = ("ansible_host", "container_name", "container_image")


def translated(body: list[dict[str, Any]], *, roles: Catalogue, registry: RegistryToPull, conf_dir: str) -> RunRequest:
    """One run from the seed era's list; ``DocumentError`` with all that is missing."""
    problems: list[str] = []
    hosts: dict[str, HostToRun] = {}
    for number, item in enumerate(body):
        given = item.get("parameters") if isinstance(item, dict) else None
        if not isinstance(given, dict) or not item.get("server_id"):
            problems.append(f"$[{number}]: server_id and parameters are needed")
            continue
        missing = [key for key in REQUIRED if not given.get(key)]
        problems += [f"$[{number}].parameters.{key}: not defined in parameters" for key in missing]
        role = roles.find(str(given.get("container_name")))
        if not missing and role is None:
            problems.append(f"$[{number}].parameters.container_name: no role {given['container_name']!r}")
        if missing or role is None:
            continue
        name = str(item["server_id"])
        known = hosts.get(name)
        made = _role(role, given, conf_dir)
        if known is None:
            hosts[name] = HostToRun(
                address=str(given["ansible_host"]), port=22, user=str(given.get("ansible_user") or "root"), host_key="",
                password=str(given.get("ansible_password") or ""), roles=[made],
            )  # fmt: skip
        else:
            hosts[name] = known.model_copy(update={"roles": [*known.roles, made]})
    if problems or not hosts:
        raise DocumentError.of("run_playbook", problems or ["the list is empty"])
    plan = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return RunRequest(id=f"seed-{uuid4().hex[:16]}", cluster="", plan=plan, hosts=hosts, registry=registry)


def _role(role: Role, given: dict[str, Any], conf_dir: str) -> RoleToRun:
    sections = given.get(str(given["container_name"])) or {}
    content = "".join(
        f"[{section}]\n" + "".join(f"{key} = {' '.join(str(value).split())}\n" for key, value in options.items()) + "\n"
        for section, options in sections.items()
        if isinstance(options, dict)
    )
    path = f"{conf_dir}/{role.files[0].name}"
    image = str(given["container_image"])
    binds = [f"{conf_dir}:{role.config_dir}:ro", *(f"{mount.host}:{mount.container}" for mount in role.mounts)]
    spec = {
        "image": image, "network": "host", "privileged": True, "tty": True, "restart": "unless-stopped",
        "capabilities": ["AUDIT_WRITE"], "binds": binds, "labels": {"contrail.role": role.role},
        "command": list(role.command),
    }  # fmt: skip
    mark = hashlib.sha256(json.dumps([spec, content], sort_keys=True).encode()).hexdigest()
    health = role.health
    return RoleToRun(
        role=role.role, stage=role.stage, rolling=role.rolling,
        directories=[conf_dir, *(mount.host for mount in role.mounts)],
        # Nobody said which of its options are secret.
        files=[FileToWrite(path=path, mode="0640", content=content, secret=True)],
        container=ContainerToRun(name=role.container, image=image, action="create", spec_hash=mark, spec=spec),
        health={"kind": health.kind, "port": health.port, "path": health.path, "timeout": health.timeout},
    )  # fmt: skip
