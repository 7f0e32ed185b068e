"""DistributedVirtualSwitchManager: finding switches and port groups by what devices know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from contrail_vsphere.simulator.core.entity import Entity, operation
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.wire.soap.types import vim


@dataclass(slots=True, eq=False, kw_only=True)
class DistributedVirtualSwitchManager(Entity):
    """One per vCenter."""

    wsdl: ClassVar[str] = "DistributedVirtualSwitchManager"
    singleton: ClassVar[str] = "DVSManager"

    @operation("QueryDvsByUuid")
    def QueryDvsByUuid(self, call: Any, uuid: str) -> DistributedVirtualSwitch | None:
        return next((dvs for dvs in self.world.of_type(DistributedVirtualSwitch) if dvs.uuid == uuid), None)

    @operation("DVSManagerLookupDvPortGroup")
    def DVSManagerLookupDvPortGroup(self, call: Any, switchUuid: str, portgroupKey: str) -> DistributedVirtualPortgroup:
        dvs = self.QueryDvsByUuid(call, switchUuid)
        group = self.world.get(portgroupKey)
        if dvs is None or not isinstance(group, DistributedVirtualPortgroup) or group.dvs is not dvs:
            raise fault(vim.fault.NotFound, "There is no such port group.")
        return group
