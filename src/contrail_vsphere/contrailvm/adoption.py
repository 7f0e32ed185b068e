"""What other tools, or a manager whose journal is lost, left behind: recognised, never touched without a person's word.

An agency of another tool cannot change its owner: it is taken away cluster by cluster, and ours comes in its place.
Agencies with our own mark that no deployment names are adopted as they are by applying the deployment again, of which
a draft can be had here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from contrail_vsphere.contrailvm.desired import Key, key_of_agency
from contrail_vsphere.contrailvm.networks import trunk_mark
from contrail_vsphere.contrailvm.observed import InventoryView, is_contrailvm
from contrail_vsphere.model.eam import Agency
from contrail_vsphere.model.ids import AgencyId, ClusterId


@dataclass(frozen=True, slots=True)
class Foreign:
    """An agency of another tool that runs ContrailVMs."""

    id: AgencyId
    name: str
    owner: str
    """The solution, or the user, that made it."""
    status: str
    clusters: tuple[str, ...]
    vms: tuple[str, ...]


def foreign_agencies(
    agencies: Iterable[Agency], *, solution_id: str, cluster_names: Mapping[ClusterId, str]
) -> tuple[Foreign, ...]:
    """Those of other tools that run ContrailVMs, as an administrator sees them."""
    found = []
    for each in agencies:
        names = (each.config.name, each.config.agent_name, *(agent.vm_name for agent in each.agents))
        if each.solution_id == solution_id or not any(is_contrailvm(name) for name in names):
            continue
        found.append(
            Foreign(
                id=each.id,
                name=each.config.name,
                owner=each.solution_id,
                status=each.status,
                clusters=tuple(cluster_names.get(cluster, str(cluster)) for cluster in each.config.scope),
                vms=tuple(sorted(agent.vm_name or str(agent.vm) for agent in each.agents if agent.vm is not None)),
            )
        )
    return tuple(sorted(found, key=lambda each: (each.name, each.id)))


def draft(
    agencies: Iterable[Agency],
    *,
    solution_id: str,
    inventory: InventoryView,
    version_at: Mapping[str, str],
    roles_at: Mapping[str, tuple[str, ...]],
) -> str:
    """A deployments file for agencies with our mark, as they are; ``*_at`` tell of the package at a URL.

    What vCenter does not know (controllers, reservations, repair) is left to the operator, and said so.
    """
    by_deployment: dict[str, list[tuple[Key, Agency]]] = {}
    for agency in agencies:
        key = key_of_agency(solution_id, agency.config.name)
        if key is not None and agency.solution_id == solution_id:
            by_deployment.setdefault(key.deployment, []).append((key, agency))
    parts = []
    for deployment, found in sorted(by_deployment.items()):
        agency = found[0][1]
        url = agency.config.agents[0].ovf_url if agency.config.agents else ""
        clusters = [_name(inventory.clusters, key.cluster) for key, _ in found]
        lines = [
            f"[deployment.{json.dumps(deployment)}]",
            f"clusters = {json.dumps(clusters)}",
            f"package = {json.dumps(version_at.get(url, ''))}" + ("" if url in version_at else f"  # was at {url}"),
            f"datastores = {json.dumps([_name(inventory.datastores, each) for each in agency.config.datastores])}",
        ]
        size = agency.config.agents[0].deployment_option if agency.config.agents else ""
        lines += [f"size = {json.dumps(size)}"] if size else []
        lines += ["", f"[deployment.{json.dumps(deployment)}.networks]"]
        lines += _networks(agency, inventory, roles_at.get(url, ()), trunk_mark(solution_id))
        lines += ["", f"[deployment.{json.dumps(deployment)}.guest]", "controllers = []  # fill in: nobody else knows"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + ("\n" if parts else "")


def _networks(agency: Agency, inventory: InventoryView, roles: tuple[str, ...], mark: str) -> list[str]:
    """By the NICs of one of its ContrailVMs, which are in the order of the package's roles."""
    vms = (inventory.vms.get(each.vm) for each in agency.agents if each.vm is not None)
    vm = next((each for each in vms if each is not None), None)
    if vm is None:
        return [f"management = {json.dumps(_name(inventory.networks, each))}" for each in agency.config.networks[:1]]
    lines = []
    for role, nic in zip(roles, sorted(vm.nics, key=lambda each: each.key), strict=False):
        network = inventory.networks.get(nic.network) if nic.network is not None else None
        if network is None:
            continue
        switch = inventory.dvss.get(network.dvs) if network.dvs is not None else None
        if role == "overlay" and switch is not None and network.description == mark:
            value = f"{{ switch = {json.dumps(switch.name)}, port_group = {json.dumps(network.name)} }}"
        else:
            value = json.dumps(network.name)
        lines.append(f"{role} = {value}")
    return lines


class _Named(Protocol):
    @property
    def name(self) -> str: ...


I = TypeVar("I", bound=str)  # noqa: E741


def _name(known: Mapping[I, _Named], identity: I) -> str:
    """The name of an object of the inventory; its id where it is gone."""
    return known[identity].name if identity in known else str(identity)
