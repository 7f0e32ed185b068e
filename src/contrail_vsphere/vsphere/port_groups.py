"""Port groups that stand for Contrail networks: made many in one task, repaired, renamed, destroyed.

Closed by default: a port is blocked and has no VLAN until it gets both of its own, and forgets them when its card
leaves. What a port group stands for is written into it twice: in ``vendorSpecificConfig``, which people do not see and
programs read, and in its description, which people read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from contrail_vsphere.model.ids import DvsId, NetworkId
from contrail_vsphere.model.inventory import Network
from contrail_vsphere.model.port_group import ADOPTING, MARK, NAME, GroupSpec, marked_network
from contrail_vsphere.vsphere.vcenter import VCenter
from contrail_vsphere.wire.soap.types import vim
from contrail_vsphere.wire.soap.values import build, reference

PORTS = 8
"""Ports a new port group has; it grows by itself."""
_DVS = vim.dvs.VmwareDistributedVirtualSwitch
_GROUP = vim.dvs.DistributedVirtualPortgroup


class PortGroups:
    """Changes port groups of one vCenter; every method raises errors of ``model.errors``."""

    def __init__(self, vcenter: VCenter) -> None:
        self._vcenter = vcenter

    async def create(self, dvs: DvsId, specs: Sequence[GroupSpec]) -> None:
        """Make them in one task, all or none. AlreadyExists when a name is taken."""
        await self._vcenter.run_task(
            reference(_DVS, dvs), "AddDVPortgroup_Task", spec=[_config(spec, new=True) for spec in specs]
        )

    async def repair(self, group: Network, spec: GroupSpec) -> None:
        """Everything as it must be, except the name; other programs' marks stay.

        Conflict when somebody else changed it meanwhile.
        """
        config = _config(spec, new=False)
        if spec.adopting:
            config.defaultPortConfig = None
        kept = [(key, data) for key, data in group.blobs if key not in (MARK, NAME, ADOPTING)]
        if spec.adopting or group.blob(ADOPTING):
            kept.append((ADOPTING, "yes" if spec.adopting else "no"))
        config.vendorSpecificConfig += [build(vim.dvs.KeyedOpaqueBlob, key=key, opaqueData=data) for key, data in kept]
        config.configVersion = group.config_version or None
        await self._vcenter.run_task(reference(_GROUP, group.id), "ReconfigureDVPortgroup_Task", spec=config)

    async def allow_overrides(self, group: Network) -> None:
        """Let its ports have a VLAN of their own and be blocked, and leave all else. Conflict as in ``repair``."""
        config = build(_GROUP.ConfigSpec, policy=_policy(), configVersion=group.config_version or None)
        await self._vcenter.run_task(reference(_GROUP, group.id), "ReconfigureDVPortgroup_Task", spec=config)

    async def rename(self, group: NetworkId, name: str) -> None:
        """``name`` as sent: escaped. AlreadyExists when it is taken."""
        await self._vcenter.run_task(reference(_GROUP, group), "Rename_Task", newName=name)

    async def destroy(self, group: NetworkId) -> None:
        """Busy (ResourceInUse) while a port of it is connected."""
        await self._vcenter.run_task(reference(_GROUP, group), "Destroy_Task")

    async def mark_of(self, group: NetworkId) -> UUID | None:
        """Read now, not from the cache, what it stands for. NotFound when it is gone."""
        ref = reference(_GROUP, group)
        blobs = (await self._vcenter.read(ref, "config.vendorSpecificConfig")).get("config.vendorSpecificConfig") or ()
        return marked_network(Network(group, "", blobs=tuple((blob.key, blob.opaqueData) for blob in blobs)))


def _config(spec: GroupSpec, *, new: bool) -> Any:
    setting = build(
        _DVS.VmwarePortConfigPolicy,
        vlan=build(_DVS.VlanIdSpec, inherited=False, vlanId=0),
        blocked=build(vim.BoolPolicy, inherited=False, value=True),
    )
    if spec.virtual_macs:
        setting.macManagementPolicy = build(
            _DVS.MacManagementPolicy, inherited=False, allowPromiscuous=True, forgedTransmits=True, macChanges=True
        )
    config = build(
        _GROUP.ConfigSpec,
        description=spec.description,
        autoExpand=True,
        policy=_policy(),
        defaultPortConfig=setting,
        vendorSpecificConfig=[build(vim.dvs.KeyedOpaqueBlob, key=MARK, opaqueData=str(spec.network))],
    )
    if spec.fq_name:
        config.vendorSpecificConfig.append(build(vim.dvs.KeyedOpaqueBlob, key=NAME, opaqueData=spec.fq_name))
    if new:
        config.name, config.type, config.numPorts = spec.name, "earlyBinding", PORTS
    return config


def _policy() -> Any:
    return build(
        _DVS.VMwarePortgroupPolicy,
        blockOverrideAllowed=True,
        vlanOverrideAllowed=True,
        portConfigResetAtDisconnect=True,
        # Required by the type; what a new port group has.
        shapingOverrideAllowed=False,
        vendorConfigOverrideAllowed=False,
        livePortMovingAllowed=False,
        uplinkTeamingOverrideAllowed=False,
        securityPolicyOverrideAllowed=False,
    )
