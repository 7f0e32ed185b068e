"""A second distributed switch beside the first, and what is true on both."""

from __future__ import annotations

from typing import Any

from plugin_stand import MARK, PluginStand

from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import (
    DistributedVirtualPortgroup,
    DistributedVirtualSwitch,
)
from contrail_vsphere.wire.soap.types import vim


class TwoSwitches(PluginStand):
    """To be mixed in: ``second`` makes the other switch, ``groups_on`` and ``ports`` look at both."""

    async def second(self, name: str = "dvs1") -> None:
        members = [
            vim.dvs.HostMember.ConfigSpec(operation="add", host=host.ref) for host in self.vcenter.scenario.hosts()
        ]
        config = vim.dvs.VmwareDistributedVirtualSwitch.ConfigSpec(name=name, host=members)
        spec = vim.DistributedVirtualSwitch.CreateSpec(configSpec=config)
        await self.admin.run_task(self.dvs.parent.ref, "CreateDVS_Task", spec=spec)

    def groups_on(self, switch: str) -> dict[str, str]:
        """Network -> name of its port group there; a network with two fails the test."""
        found: dict[str, str] = {}
        for group in self.vcenter.world.of_type(DistributedVirtualPortgroup):
            for blob in group.vendor if group.dvs.name == switch else ():
                if blob.key == MARK:
                    assert blob.opaqueData not in found, f"two port groups for one network on {switch}"
                    found[blob.opaqueData] = group.name
        return found

    def ports(self, vm: Any) -> list[Any]:
        switches = self.vcenter.world.of_type(DistributedVirtualSwitch)
        return [port for dvs in switches for port in dvs.ports.ports.values() if port.vm is vm]
