"""Datacenters and their four folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import managed_property, operation
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, found
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


@dataclass(slots=True, eq=False, kw_only=True)
class Datacenter(ManagedEntity):
    """A datacenter."""

    wsdl: ClassVar[str] = "Datacenter"
    prefix: ClassVar[str] = "datacenter-"
    argument_class: ClassVar[Any] = vim.event.DatacenterEventArgument
    argument_name: ClassVar[str] = "datacenter"
    rename_event: ClassVar[Any] = vim.event.DatacenterRenamedEvent

    vm_folder: Folder
    host_folder: Folder
    network_folder: Folder
    datastore_folder: Folder

    def siblings(self) -> Iterator[ManagedEntity]:
        """Datacenters of one folder have different names."""
        return iter(self.parent.children if isinstance(self.parent, Folder) else ())

    async def destroy(self, *, user: str = "", chain: int | None = None) -> None:
        """Take the datacenter out with all that is in it: hosts and VMs are unregistered and run on, files stay."""
        folders = (self.host_folder, self.vm_folder, self.network_folder, self.datastore_folder)
        for folder in folders:
            await folder.empty(user=user, chain=chain)
        with self.world.commit(user, chain=chain) as tx:
            if isinstance(self.parent, Folder):
                self.parent.release(tx, self)
            for folder in folders:
                tx.remove(folder)
            tx.remove(self)

    @operation("PowerOnMultiVM_Task", note="No recommendations: every VM is powered on or fails at once.")
    def PowerOnMultiVM_Task(self, call: Any, vm: list[Any], option: list[Any] | None = None) -> Any:
        from contrail_vsphere.simulator.vcenter import vm_life
        from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

        machines = [found(self, ref, VirtualMachine) for ref in vm]

        async def work(handle: Any) -> Any:
            failed: list[tuple[VirtualMachine, SoapFault]] = []
            for machine in machines:
                try:
                    await vm_life.power_on(self.world, machine, user=handle.user, chain=handle.chain)
                except SoapFault as error:
                    failed.append((machine, error))
            result = vim.cluster.PowerOnVmResult
            return data_object(
                result,
                attempted=[data_object(vim.cluster.AttemptedVmInfo, vm=machine) for machine in machines],
                notAttempted=[
                    data_object(vim.cluster.NotAttemptedVmInfo, vm=machine, fault=error.fault)
                    for machine, error in failed
                ],
            )

        return self.start_task(call, "powerOnVm", work)

    @managed_property("vmFolder")
    def _vm_folder(self) -> Any:
        return self.vm_folder

    @managed_property("hostFolder")
    def _host_folder(self) -> Any:
        return self.host_folder

    @managed_property("networkFolder")
    def _network_folder(self) -> Any:
        return self.network_folder

    @managed_property("datastoreFolder")
    def _datastore_folder(self) -> Any:
        return self.datastore_folder

    @managed_property("datastore")
    def _datastore(self) -> list[Any]:
        return list(self.datastore_folder.within(Datastore))

    @managed_property("network")
    def _network(self) -> list[Any]:
        return list(self.network_folder.within(Network))

    @managed_property("configuration")
    def _configuration(self) -> Any:
        return data_object(vim.Datacenter.ConfigInfo)
