"""What a provision would do, per server: files with their difference, mounts, containers, order. Pure.

A plan compares what the parameters ask for with what was put on the server last. It is what ``provision --plan`` prints
and what is stored, under its hash, before anything is done; secrets are masked in it, and a file whose only change is
a secret says so.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from contrail_vsphere.servermanager.catalogue import Role
from contrail_vsphere.servermanager.render import Text
from contrail_vsphere.servermanager.resolve import Effective

FileAction = Literal["create", "change", "leave"]
ContainerAction = Literal["create", "recreate", "leave", "remove"]
Fingerprint = Callable[[bytes], str]
"""Keyed, so that a fingerprint does not give away a short secret."""

CAPABILITIES = ("AUDIT_WRITE",)


@dataclass(frozen=True, slots=True)
class FileStep:
    """One file; ``diff`` has secrets masked."""

    path: str
    mode: str
    action: FileAction
    fingerprint: str
    shown: str
    diff: str = ""


@dataclass(frozen=True, slots=True)
class ContainerStep:
    """One container; ``spec`` is what the engine is asked for."""

    name: str
    image: str
    action: ContainerAction
    reasons: tuple[str, ...]
    spec_hash: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RoleStep:
    """One role on one server."""

    role: str
    stage: int
    rolling: bool
    directories: tuple[str, ...]
    files: tuple[FileStep, ...]
    container: ContainerStep
    health: Mapping[str, Any]

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return self.container.action != "leave" or any(file.action != "leave" for file in self.files)


@dataclass(frozen=True, slots=True)
class HostPlan:
    """Everything on one server, in the order it is done."""

    server: str
    roles: tuple[RoleStep, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """What is done on all its servers before the next stage begins; one after the other where it rolls."""

    order: int
    roles: tuple[str, ...]
    servers: tuple[str, ...]
    rolling: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole provision."""

    cluster: str
    image: str
    hosts: tuple[HostPlan, ...]
    stages: tuple[Stage, ...]

    @property
    def changes(self) -> int:
        """How many files and containers it touches."""
        return sum(
            (step.container.action != "leave") + sum(file.action != "leave" for file in step.files)
            for host in self.hosts
            for step in host.roles
        )

    def document(self) -> dict[str, Any]:
        """As JSON, with its hash."""
        body = {
            "cluster": self.cluster,
            "image": self.image,
            "changes": self.changes,
            "stages": [
                {"order": s.order, "roles": list(s.roles), "servers": list(s.servers), "rolling": s.rolling}
                for s in self.stages
            ],
            "hosts": [
                {"server": host.server, "roles": [_role_document(step) for step in host.roles]} for host in self.hosts
            ],
        }
        return {"hash": canonical_hash(body), **body}


def _role_document(step: RoleStep) -> dict[str, Any]:
    return {
        "role": step.role,
        "stage": step.stage,
        "rolling": step.rolling,
        "directories": list(step.directories),
        "files": [
            {
                "path": file.path,
                "mode": file.mode,
                "action": file.action,
                "fingerprint": file.fingerprint,
                "shown": file.shown,
                "diff": file.diff,
            }
            for file in step.files
        ],
        "container": {
            "name": step.container.name,
            "image": step.container.image,
            "action": step.container.action,
            "reasons": list(step.container.reasons),
            "spec_hash": step.container.spec_hash,
            "spec": dict(step.container.spec),
        },
        "health": dict(step.health),
    }


def deployed_document(step: Mapping[str, Any]) -> dict[str, Any]:
    """What is remembered of a role that was put on its server, from its part of a plan's document."""
    container = step["container"]
    return {
        "files": {file["path"]: {"fingerprint": file["fingerprint"], "shown": file["shown"]} for file in step["files"]},
        "container": {key: container[key] for key in ("name", "image", "spec_hash", "spec")},
    }


def canonical_hash(value: Any) -> str:
    """SHA-256 of a JSON value, however its objects are ordered."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One role as it should be on one server."""

    effective: Effective
    texts: tuple[Text, ...]
    image: str
    """The container image, by digest where it is known."""


def plan(
    cluster: str,
    image: str,
    *,
    wanted: Mapping[str, Sequence[Wanted]],
    deployed: Mapping[str, Mapping[str, Any]],
    config_dir: str,
    fingerprint: Fingerprint,
    roles: Callable[[str], Role | None],
) -> Plan:
    """The difference for the servers in ``wanted``; ``deployed`` is what each bears: server -> role -> document.

    ``roles`` finds the data of a role that a server bears and should not bear any more.
    """
    hosts = []
    for server in sorted(wanted):
        bears = deployed.get(server, {})
        steps = [_role(each, bears.get(each.effective.role.role), config_dir, fingerprint) for each in wanted[server]]
        here = {step.role for step in steps}
        steps += [_removal(name, bears[name], roles(name)) for name in sorted(bears) if name not in here]
        # What leaves goes first: it may hold a port that another role needs.
        steps.sort(key=lambda step: (step.container.action != "remove", step.stage, step.role))
        hosts.append(HostPlan(server, tuple(steps)))
    return Plan(cluster, image, tuple(hosts), _stages(hosts))


def _role(wanted: Wanted, bears: Mapping[str, Any] | None, config_dir: str, fingerprint: Fingerprint) -> RoleStep:
    role = wanted.effective.role
    known = (bears or {}).get("files", {})
    files = tuple(_file(f"{config_dir}/{text.name}", text, known, fingerprint) for text in wanted.texts)
    directories = (config_dir, *(mount.host for mount in role.mounts))
    container = _container(wanted, files, (bears or {}).get("container"), config_dir)
    return RoleStep(role.role, role.stage, role.rolling, directories, files, container, _health(wanted.effective))


def _file(path: str, text: Text, known: Mapping[str, Any], fingerprint: Fingerprint) -> FileStep:
    mark = fingerprint(text.content.encode())
    before = known.get(path)
    if before is None:
        return FileStep(path, text.mode, "create", mark, text.shown, _diff(path, "", text.shown))
    if before["fingerprint"] == mark:
        return FileStep(path, text.mode, "leave", mark, text.shown)
    diff = _diff(path, before["shown"], text.shown) or "(only a secret value changes)\n"
    return FileStep(path, text.mode, "change", mark, text.shown, diff)


def _diff(path: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), f"{path} (now)", f"{path} (planned)")
    return "".join(lines)


def _container(
    wanted: Wanted, files: Sequence[FileStep], before: Mapping[str, Any] | None, config_dir: str
) -> ContainerStep:
    role = wanted.effective.role
    spec: dict[str, Any] = {
        "image": wanted.image,
        "network": "host",
        "privileged": True,
        "tty": True,
        "restart": "unless-stopped",
        "capabilities": list(CAPABILITIES),
        "binds": _binds(role, config_dir),
        "command": list(role.command),
        "labels": {"contrail.role": role.role, "contrail.managed-by": "server-manager"},
        "config": {file.path: file.fingerprint for file in files},
    }
    spec_hash = canonical_hash(spec)
    if before is None:
        return ContainerStep(role.container, wanted.image, "create", ("not there yet",), spec_hash, spec)
    if before["spec_hash"] == spec_hash:
        return ContainerStep(role.container, wanted.image, "leave", (), spec_hash, spec)
    reasons = tuple(_reasons(before["spec"], spec)) or ("its specification changes",)
    return ContainerStep(role.container, wanted.image, "recreate", reasons, spec_hash, spec)


def _binds(role: Role, config_dir: str) -> list[str]:
    system = ("/etc/localtime:/etc/localtime:ro", "/etc/timezone:/etc/timezone:ro", "/var/crashes:/var/crashes")
    mounts = (f"{mount.host}:{mount.container}{':ro' if mount.read_only else ''}" for mount in role.mounts)
    return [f"{config_dir}:{role.config_dir}:ro", *mounts, *system]


def _reasons(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[str]:
    if before.get("image") != after["image"]:
        yield f"image {before.get('image')} -> {after['image']}"
    if before.get("config") != after["config"]:
        old, new = before.get("config", {}), after["config"]
        changed = sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
        yield "configuration changes: " + ", ".join(changed)
    for key in sorted({*before, *after} - {"image", "config"}):
        if before.get(key) != after.get(key):
            yield f"{key} changes"


def _removal(name: str, bears: Mapping[str, Any], role: Role | None) -> RoleStep:
    container = bears["container"]
    step = ContainerStep(
        container["name"], container["image"], "remove", ("the server has no such role any more",), "", {}
    )
    return RoleStep(name, role.stage if role else 0, False, (), (), step, {"kind": "none"})


def _health(effective: Effective) -> dict[str, Any]:
    health = effective.role.health
    port: int = health.port
    if health.option:
        section, _, option = health.option.rpartition(".")
        value = effective.value(section, option)
        port = int(value) if value is not None else port
    return {"kind": health.kind, "port": port, "path": health.path, "timeout": health.timeout}


def _stages(hosts: Sequence[HostPlan]) -> tuple[Stage, ...]:
    """Removals are the first stage, then the roles' stages in order."""
    found: dict[int, list[tuple[str, RoleStep]]] = {}
    for host in hosts:
        for step in host.roles:
            order = 0 if step.container.action == "remove" else step.stage
            found.setdefault(order, []).append((host.server, step))
    return tuple(
        Stage(
            order,
            tuple(sorted({step.role for _, step in steps})),
            tuple(sorted({server for server, _ in steps})),
            any(step.rolling for _, step in steps),
        )
        for order, steps in sorted(found.items())
    )
