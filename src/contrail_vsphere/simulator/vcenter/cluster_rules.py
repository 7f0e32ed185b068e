"""DRS rules and groups of a cluster: added, edited and removed as ReconfigureComputeResource_Task asks.

They are kept and shown, and no more: neither DRS nor HA of the simulator looks at them when it places a VM.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource


def changed_rules(cluster: ClusterComputeResource, specs: Iterable[Any]) -> tuple[Any, ...]:
    """The cluster's rules after the operations. DuplicateName: the name is taken; InvalidArgument: no such key."""
    found = {rule.key: rule for rule in cluster.rules}
    for spec in specs:
        if spec.operation == "remove":
            _known(found, spec.removeKey, "rulesSpec.removeKey")
            del found[spec.removeKey]
            continue
        info = copy.copy(spec.info)
        if spec.operation == "add":
            info.key = max(found, default=0) + 1
            info.ruleUuid = info.ruleUuid or str(uuid.uuid5(uuid.NAMESPACE_OID, f"{info.key}/{info.name}"))
        else:
            _known(found, info.key, "rulesSpec.info.key")
            info.ruleUuid = found[info.key].ruleUuid
        _free(cluster, info.name, (rule for rule in found.values() if rule.key != info.key))
        info.userCreated, info.inCompliance = True, None
        found[info.key] = info
    return tuple(found.values())


def changed_groups(cluster: ClusterComputeResource, specs: Iterable[Any]) -> tuple[Any, ...]:
    """Its groups of VMs and hosts after the operations; a group is known by its name."""
    found = {group.name: group for group in cluster.groups}
    for spec in specs:
        if spec.operation == "remove":
            _known(found, spec.removeKey, "groupSpec.removeKey")
            del found[spec.removeKey]
            continue
        if spec.operation == "add":
            _free(cluster, spec.info.name, found.values())
        else:
            _known(found, spec.info.name, "groupSpec.info.name")
        found[spec.info.name] = spec.info
    return tuple(found.values())


def _known(found: dict[Any, Any], key: Any, where: str) -> None:
    if key not in found:
        raise fault(vmodl.fault.InvalidArgument, "A specified parameter was not correct.", invalidProperty=where)


def _free(cluster: ClusterComputeResource, name: str, others: Iterable[Any]) -> None:
    if any(other.name == name for other in others):
        raise fault(vim.fault.DuplicateName, f"The name '{name}' already exists.", name=name, object=cluster.ref)
