"""Standard networks (port groups of the hosts' own switches, one object per name and datacenter)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import managed_property, operation
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, fault, without
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.devices import NicState
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


@dataclass(slots=True, eq=False, kw_only=True)
class Network(ManagedEntity):
    """A network that VMs can be connected to, on these hosts."""

    wsdl: ClassVar[str] = "Network"
    prefix: ClassVar[str] = "network-"
    argument_class: ClassVar[Any] = vim.event.NetworkEventArgument
    argument_name: ClassVar[str] = "network"
    event_field: ClassVar[str] = "net"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "name": ("name", "summary.name"),
        "hosts": ("host",),
        "vms": ("vm",),
    }

    hosts: tuple[HostSystem, ...] = ()
    vms: tuple[VirtualMachine, ...] = ()

    def nic_backing(self, nic: NicState) -> Any:
        """Backing of a card on this network."""
        return data_object(
            vim.vm.device.VirtualEthernetCard.NetworkBackingInfo,
            deviceName=self.name,
            network=self,
            useAutoDetect=False,
        )

    def backing_summary(self) -> str:
        """What ``deviceInfo.summary`` of a card says."""
        return self.name

    def apply_rename(self, tx: Transaction, name: str) -> None:
        """Cards of a standard network name it in their backing, hosts list it as a port group."""
        ManagedEntity.apply_rename(self, tx, name)
        for host in self.hosts:
            tx.touch(host, "config.network")
        for vm in self.vms:
            tx.touch(vm, "config.hardware.device", "guest.net")

    def siblings(self) -> Any:
        """Networks of one folder have different names."""
        return iter(self.parent.children if isinstance(self.parent, Folder) else ())

    @managed_property("summary")
    def _summary(self) -> Any:
        return data_object(vim.Network.Summary, network=self, name=self.name, accessible=True, ipPoolName="")

    @managed_property("host")
    def _host(self) -> list[Any]:
        return list(self.hosts)

    @managed_property("vm")
    def _vm(self) -> list[Any]:
        return list(self.vms)

    @operation("DestroyNetwork", privilege="Network.Delete")
    async def DestroyNetwork(self, call: Any) -> None:
        await self.destroy(user=call.user)

    async def destroy(self, *, user: str = "", chain: int | None = None) -> None:
        """Take the network out; refused while a VM uses it."""
        self.check_unused()
        with self.world.commit(user, chain=chain) as tx:
            self.leave(tx)

    def check_unused(self) -> None:
        """Raise ResourceInUse while VMs are connected."""
        if self.vms:
            message = f"The resource '{self.name}' is in use."
            raise fault(vim.fault.ResourceInUse, message, type=type(self.ref), name=self.name)

    def leave(self, tx: Transaction) -> None:
        """Inside a commit: forget the network everywhere."""
        for host in self.hosts:
            tx.set(host, networks=without(host.networks, self))
            tx.touch(host.compute_resource, "network")
        if isinstance(self.parent, Folder):
            self.parent.release(tx, self)
        tx.remove(self)
