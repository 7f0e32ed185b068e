"""Resource pools: the tree of reservations and shares under a compute resource."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import managed_property, operation
from contrail_vsphere.simulator.vcenter import pool_usage
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, fault, found, without
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.compute_resource import ComputeResource
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """ResourceAllocationInfo of CPU (MHz) or memory (MB)."""

    reservation: int = 0
    limit: int = -1
    """-1: unlimited."""
    expandable: bool = True
    level: str = "normal"
    """``low``, ``normal``, ``high`` or ``custom``."""
    shares: int = 4000

    def patched(self, info: Any) -> Allocation:
        """With what a ResourceAllocationInfo sets put over it."""
        if info is None:
            return self
        new: dict[str, Any] = {}
        if info.reservation is not None:
            new["reservation"] = int(info.reservation)
        if info.limit is not None:
            new["limit"] = int(info.limit)
        if info.expandableReservation is not None:
            new["expandable"] = bool(info.expandableReservation)
        if info.shares is not None:
            new.update(level=str(info.shares.level), shares=int(info.shares.shares))
        return dataclasses.replace(self, **new)

    def value(self) -> Any:
        """ResourceAllocationInfo."""
        return data_object(
            vim.ResourceAllocationInfo,
            reservation=self.reservation,
            limit=self.limit,
            expandableReservation=self.expandable,
            shares=data_object(vim.SharesInfo, level=self.level, shares=self.shares),
        )


DEFAULT_CPU, DEFAULT_MEMORY = Allocation(shares=4000), Allocation(shares=163840)


@dataclass(slots=True, eq=False, kw_only=True)
class ResourcePool(ManagedEntity):
    """A resource pool; a root pool's parent is its compute resource and its name is ``Resources``."""

    wsdl: ClassVar[str] = "ResourcePool"
    prefix: ClassVar[str] = "resgroup-"
    argument_class: ClassVar[Any] = vim.event.ResourcePoolEventArgument
    argument_name: ClassVar[str] = "resourcePool"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "name": ("name", "summary.name"),
        "vms": ("vm",),
        "children": ("resourcePool",),
        "cpu": ("config.cpuAllocation", "summary.config.cpuAllocation", "runtime.cpu", "summary.runtime.cpu"),
        "memory": (
            "config.memoryAllocation",
            "summary.config.memoryAllocation",
            "runtime.memory",
            "summary.runtime.memory",
        ),
        "change_version": ("config.changeVersion", "summary.config.changeVersion"),
    }

    owner: ComputeResource
    vms: tuple[VirtualMachine, ...] = ()
    children: tuple[ResourcePool, ...] = ()
    cpu: Allocation = DEFAULT_CPU
    memory: Allocation = DEFAULT_MEMORY
    change_version: int = 1

    def siblings(self) -> Iterator[ManagedEntity]:
        """Pools of one parent have different names."""
        return iter(self.parent.children if isinstance(self.parent, ResourcePool) else ())

    def make_child(
        self, tx: Transaction, name: str, *, cpu: Allocation = DEFAULT_CPU, memory: Allocation = DEFAULT_MEMORY
    ) -> ResourcePool:
        """Inside a commit: a pool in this one. Raises DuplicateName."""
        existing = next((child for child in self.children if child.name == name), None)
        if existing is not None:
            raise fault(vim.fault.DuplicateName, f"The name '{name}' already exists.", name=name, object=existing.ref)
        pool = ResourcePool(
            world=self.world,
            moid=self.world.new_id(self.prefix),
            name=name,
            parent=self,
            owner=self.owner,
            cpu=cpu,
            memory=memory,
        )
        tx.add(pool)
        tx.set(self, children=(*self.children, pool))
        tx.event(inventory_event(vim.event.ResourcePoolCreatedEvent, pool, parent=self))
        return pool

    # -- API ----------------------------------------------------------------------------------------------------

    @operation("CreateResourcePool", privilege="Resource.CreatePool")
    def CreateResourcePool(self, call: Any, name: str, spec: Any) -> ResourcePool:
        cpu, memory = DEFAULT_CPU.patched(spec.cpuAllocation), DEFAULT_MEMORY.patched(spec.memoryAllocation)
        pool_usage.check_allocations(self, cpu=cpu, memory=memory)
        with self.world.commit(call.user) as tx:
            return self.make_child(tx, name, cpu=cpu, memory=memory)

    @operation("UpdateConfig", privilege="Resource.EditPool")
    def UpdateConfig(self, call: Any, name: str | None = None, config: Any = None) -> None:
        above, cpu, memory = self.parent, self.cpu, self.memory
        if not isinstance(above, ResourcePool):
            what = "config" if name is None else "name"
            raise fault(vmodl.fault.InvalidArgument, "The system configures the root pool.", invalidProperty=what)
        if name is not None and name != self.name:
            self.check_new_name(name)
        if config is not None:
            cpu, memory = cpu.patched(config.cpuAllocation), memory.patched(config.memoryAllocation)
            pool_usage.check_allocations(above, cpu=cpu, memory=memory, pool=self)
        with self.world.commit(call.user) as tx:
            changed = tx.set(self, name=self.name if name is None else name, cpu=cpu, memory=memory)
            if changed:
                tx.set(self, change_version=self.change_version + 1)
                tx.event(inventory_event(vim.event.ResourcePoolReconfiguredEvent, self))

    @operation("ImportVApp", privilege="VApp.Import", note="One VM; no vApps.")
    def ImportVApp(self, call: Any, spec: Any, folder: Any = None, host: Any = None) -> Any:
        """Begin the import that CreateImportSpec described; the lease says when and where to upload."""
        from contrail_vsphere.simulator.vcenter.datacenter import Datacenter
        from contrail_vsphere.simulator.vcenter.folder import Folder
        from contrail_vsphere.simulator.vcenter.host_system import HostSystem
        from contrail_vsphere.simulator.vcenter.http_nfc_lease import HttpNfcLease

        if not isinstance(spec, vim.vm.VmImportSpec):
            raise fault(vmodl.fault.NotSupported, "Only virtual machines can be imported.")
        datacenter = self.ancestor(Datacenter)
        target = found(self, folder, Folder) if folder is not None else datacenter.vm_folder if datacenter else None
        if target is None:
            raise fault(vmodl.fault.InvalidArgument, "A folder is needed.", invalidProperty="folder")
        target.check_free(spec.configSpec.name or "", "VirtualMachine")
        on = found(self, host, HostSystem) if host is not None else None
        return HttpNfcLease.begin(call, spec=spec.configSpec, folder=target, pool=self, host=on)

    @operation("MoveIntoResourcePool", privilege="Resource.AssignVMToPool", note="VMs of the same compute resource.")
    def MoveIntoResourcePool(self, call: Any, list: tuple[Any, ...]) -> None:
        from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
        from contrail_vsphere.simulator.vcenter.vm_wiring import move_to_pool

        machines = [found(self, ref, VirtualMachine) for ref in list]
        if any(vm.resource_pool is None or vm.resource_pool.owner is not self.owner for vm in machines):
            raise fault(vmodl.fault.NotSupported, "The virtual machine is in another compute resource.")
        with self.world.commit(call.user) as tx:
            for vm in machines:
                if vm.power_state == "poweredOn":
                    pool_usage.check_room(vm, self)
                old = vm.resource_pool
                move_to_pool(tx, vm, self)
                tx.event(inventory_event(vim.event.VmResourcePoolMovedEvent, vm, oldParent=old, newParent=self))

    async def destroy(self, *, user: str = "", chain: int | None = None) -> None:
        """Take the pool out; its VMs and pools go to its parent. A root pool stays."""
        from contrail_vsphere.simulator.vcenter.vm_wiring import move_to_pool

        parent = self.parent
        if not isinstance(parent, ResourcePool):
            raise fault(vmodl.fault.NotSupported, "The root resource pool cannot be destroyed.")
        with self.world.commit(user, chain=chain) as tx:
            for vm in self.vms:
                move_to_pool(tx, vm, parent)
            for child in self.children:
                tx.set(child, parent=parent)
            tx.set(parent, children=(*without(parent.children, self), *self.children))
            tx.event(inventory_event(vim.event.ResourcePoolDestroyedEvent, self))
            tx.remove(self)

    # -- properties ---------------------------------------------------------------------------------------------

    @managed_property("owner")
    def _owner(self) -> Any:
        return self.owner

    @managed_property("resourcePool")
    def _resource_pool(self) -> list[Any]:
        return list(self.children)

    @managed_property("vm")
    def _vm(self) -> list[Any]:
        return list(self.vms)

    @managed_property("config")
    def _config(self) -> Any:
        return data_object(
            vim.ResourceConfigSpec,
            entity=self,
            changeVersion=str(self.change_version),
            cpuAllocation=self._allocation(pool_usage.CPU).value(),
            memoryAllocation=self._allocation(pool_usage.MEMORY).value(),
        )

    def _allocation(self, kind: pool_usage.Kind) -> Allocation:
        """As it is told: the system sets a root pool's to what its hosts have."""
        if isinstance(self.parent, ResourcePool):
            return kind.of_pool(self)
        there = pool_usage.capacity(self.owner, kind)
        return dataclasses.replace(kind.of_pool(self), reservation=there, limit=there, expandable=False)

    @managed_property("runtime")
    def _runtime(self) -> Any:
        """No update tells of a change in what is used, as since vSphere 5.0: read it anew."""
        return data_object(
            vim.ResourcePool.RuntimeInfo,
            memory=pool_usage.usage(self, pool_usage.MEMORY),
            cpu=pool_usage.usage(self, pool_usage.CPU),
            overallStatus=self.status,
        )

    @managed_property("summary")
    def _summary(self) -> Any:
        return data_object(vim.ResourcePool.Summary, name=self.name, config=self._config(), runtime=self._runtime())
