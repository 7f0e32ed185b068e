"""A run's request as Ansible's inventory. Pure.

Everything a server needs stands in its variables, so that the playbooks are the same for every cluster, and what one
cluster has is never another's. Text that looks like a template is marked, else Ansible would expand it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

from contrail_vsphere.servermanager.runs import HostToRun, RoleToRun, RunRequest

REMOVALS: Final = 0
"""The stage in which servers lose what they should not have any more."""
_NOT_OURS_TO_MAKE: Final = ("/etc/", "/lib/", "/usr/")


class Unsafe(str):
    """A text that Ansible must take as it is."""

    __slots__ = ()


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc] # libyaml's is ten times as fast
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))


def inventory(request: RunRequest, *, keys: Mapping[str, str], known_hosts: str) -> str:
    """The inventory as YAML; ``keys`` are the private key files by server. It holds secrets."""
    stages = stage_groups(request)
    children: dict[str, Any] = {
        f"stage_{stage}": {"hosts": dict.fromkeys(servers)} for stage, servers in stages.items()
    }
    # Groups, since how many servers a play takes at once is decided before any server's variables are there.
    children |= {f"rolling_{stage}": {"hosts": dict.fromkeys(stages[stage])} for stage in rolling_stages(request)}
    if request.engine:
        children["engine_setup"] = {
            "hosts": dict.fromkeys(request.hosts), "vars": {"contrail_engine": request.engine}
        }  # fmt: skip
    variables = {
        "contrail_registry": request.registry.model_dump(),
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts} -o GlobalKnownHostsFile=/dev/null",
    }
    hosts = {name: _host(host, keys.get(name, "")) for name, host in request.hosts.items()}
    document = {"all": {"hosts": hosts, "children": children, "vars": variables}}
    return yaml.dump(_as_it_is(document), Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=1_000_000)


def known_hosts(request: RunRequest) -> str:
    """The pinned keys, as ssh reads them."""
    lines = []
    for host in request.hosts.values():
        if host.host_key:
            place = host.address if host.port == 22 else f"[{host.address}]:{host.port}"
            lines.append(f"{place} {host.host_key}\n")
    return "".join(lines)


def stage_of(role: RoleToRun) -> int:
    """What leaves goes first: it may hold a port that another role needs."""
    return REMOVALS if role.container.action == "remove" else role.stage


def stage_groups(request: RunRequest) -> dict[int, list[str]]:
    """Stage -> its servers, in order."""
    found: dict[int, list[str]] = {}
    for name, host in request.hosts.items():
        for stage in dict.fromkeys(stage_of(role) for role in host.roles):
            found.setdefault(stage, []).append(name)
    return dict(sorted(found.items()))


def rolling_stages(request: RunRequest) -> list[int]:
    """Stages done one server after the other: something that serves there is replaced."""
    roles = [role for host in request.hosts.values() for role in host.roles]
    return sorted({stage_of(role) for role in roles if role.rolling and role.container.action == "recreate"})


def secrets(request: RunRequest) -> list[str]:
    """Texts that nothing may show."""
    found = [request.registry.password]
    for host in request.hosts.values():
        found += [host.password, host.private_key]
    return [text for text in found if text]


def _host(host: HostToRun, key: str) -> dict[str, Any]:
    variables: dict[str, Any] = {
        "ansible_host": host.address,
        "ansible_port": host.port,
        "ansible_user": host.user,
        # Added without being reached: there is no key to hold it to yet, and the first one is taken.
        "ansible_ssh_extra_args": f"-o StrictHostKeyChecking={'yes' if host.host_key else 'accept-new'}",
        "contrail_roles": {role.role: _role(role) for role in host.roles},
        "contrail_stages": _stages(host.roles),
    }
    if host.user != "root":
        variables["ansible_become"] = True
    if key:
        variables["ansible_ssh_private_key_file"] = key
    elif host.password:
        variables["ansible_password"] = host.password
        if host.user != "root":
            variables["ansible_become_password"] = host.password
    return variables


def _stages(roles: Iterable[RoleToRun]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for role in roles:
        found.setdefault(str(stage_of(role)), []).append(role.role)
    return found


def _role(role: RoleToRun) -> dict[str, Any]:
    # A bind's source must exist; what belongs to the system is there, or is left out by the module.
    sources = [bind.split(":")[0] for bind in role.container.spec.get("binds", [])]
    made = [each for each in sources if not each.startswith(_NOT_OURS_TO_MAKE)]
    return {
        "role": role.role,
        "directories": list(dict.fromkeys([*role.directories, *made])),
        "files": [
            {"path": file.path, "mode": file.mode, "secret_content" if file.secret else "content": file.content}
            for file in role.files
        ],
        "container": role.container.model_dump(),
        "health": role.health,
    }


def _as_it_is(value: Any) -> Any:
    if isinstance(value, str):
        return Unsafe(value) if "{{" in value or "{%" in value or "{#" in value else value
    if isinstance(value, dict):
        return {key: _as_it_is(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_it_is(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float) else json.loads(json.dumps(value))
