"""DistributedVirtualSwitchManager: finding switches and port groups by what devices know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from contrail_vsphere.simulator.core.entity import Entity, operation
from contrail_vsphere.simulator.vcenter import dvs_members, dvs_projection
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, fault, found
from contrail_vsphere.simulator.vcenter.task import TaskManager
from contrail_vsphere.wire.soap.types import vim

VERSIONS = ("6.5.0", "6.6.0", "7.0.0", "7.0.2", "7.0.3", "8.0.0", "8.0.3")
"""Of distributed switches, oldest first."""
RECOMMENDED = VERSIONS[VERSIONS.index("7.0.0") :]
"""Those that hosts of today can be members of."""


@dataclass(slots=True, eq=False, kw_only=True)
class DistributedVirtualSwitchManager(Entity):
    """One per vCenter."""

    wsdl: ClassVar[str] = "DistributedVirtualSwitchManager"
    singleton: ClassVar[str] = "DVSManager"

    @operation("QueryDvsByUuid")
    def QueryDvsByUuid(self, call: Any, uuid: str) -> DistributedVirtualSwitch:
        return self._by_uuid(uuid)

    def _by_uuid(self, uuid: str) -> DistributedVirtualSwitch:
        dvs = next((dvs for dvs in self.world.of_type(DistributedVirtualSwitch) if dvs.uuid == uuid), None)
        if dvs is None:
            raise fault(vim.fault.NotFound, f"There is no distributed switch '{uuid}'.")
        return dvs

    @operation("DVSManagerLookupDvPortGroup")
    def DVSManagerLookupDvPortGroup(self, call: Any, switchUuid: str, portgroupKey: str) -> DistributedVirtualPortgroup:
        dvs = self._by_uuid(switchUuid)
        group = self.world.get(portgroupKey)
        if not isinstance(group, DistributedVirtualPortgroup) or group.dvs is not dvs:
            raise fault(vim.fault.NotFound, "There is no such port group.")
        return group

    @operation("RectifyDvsOnHost_Task")
    def RectifyDvsOnHost_Task(self, call: Any, hosts: list[Any]) -> Any:
        wanted = [found(self, host, HostSystem) for host in hosts]
        switches = {dvs.moid: dvs for host in wanted for dvs in dvs_members.switches_of(host)}

        async def work(handle: Any) -> None:
            await dvs_members.rectify(self.world, list(switches.values()), wanted, user=handle.user, chain=handle.chain)

        return self.world.service(TaskManager).start(None, f"{self.wsdl}.rectifyHost", work, call=call)

    @operation("QueryAvailableDvsSpec")
    def QueryAvailableDvsSpec(self, call: Any, recommended: bool | None = None) -> list[Any]:
        versions = RECOMMENDED if recommended else VERSIONS
        return [dvs_projection.product_spec(version) for version in versions]

    @operation("QueryDvsFeatureCapability", note="The same for every version.")
    def QueryDvsFeatureCapability(self, call: Any, switchProductSpec: Any = None) -> Any:
        return dvs_projection.features()

    @operation("QueryCompatibleHostForNewDvs", note="Every host; containers are hosts, clusters and above.")
    def QueryCompatibleHostForNewDvs(
        self, call: Any, container: Any, recursive: bool, switchProductSpec: Any = None
    ) -> list[Any]:
        return self._hosts_in(container)

    @operation("QueryCompatibleHostForExistingDvs", note="Hosts that are not members.")
    def QueryCompatibleHostForExistingDvs(self, call: Any, container: Any, recursive: bool, dvs: Any) -> list[Any]:
        switch = found(self, dvs, DistributedVirtualSwitch)
        return [host for host in self._hosts_in(container) if host not in switch.hosts]

    def _hosts_in(self, container: Any) -> list[Any]:
        top = found(self, container, ManagedEntity)
        hosts = self.world.of_type(HostSystem)
        return [host for host in hosts if host is top or any(above is top for above in host.ancestors())]
