"""Folders: the inventory tree, and where new objects are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from contrail_vsphere.simulator.core.entity import managed_property, operation
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, fault, found, without
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction, World

M = TypeVar("M", bound=ManagedEntity)

VM_TYPES: tuple[str, ...] = ("Folder", "VirtualMachine", "VirtualApp")
HOST_TYPES: tuple[str, ...] = ("Folder", "ComputeResource")
NETWORK_TYPES: tuple[str, ...] = ("Folder", "Network", "DistributedVirtualSwitch")
DATASTORE_TYPES: tuple[str, ...] = ("Folder", "Datastore", "StoragePod")
ROOT_TYPES: tuple[str, ...] = ("Folder", "Datacenter")
_PREFIXES = {
    VM_TYPES: "group-v",
    HOST_TYPES: "group-h",
    NETWORK_TYPES: "group-n",
    DATASTORE_TYPES: "group-s",
    ROOT_TYPES: "group-d",
}


@dataclass(slots=True, eq=False, kw_only=True)
class Folder(ManagedEntity):
    """A folder; ``child_type`` lists the wire names of what may be in it."""

    wsdl: ClassVar[str] = "Folder"
    prefix: ClassVar[str] = "group-v"
    argument_class: ClassVar[Any] = vim.event.FolderEventArgument
    argument_name: ClassVar[str] = "folder"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {"children": ("childEntity",)}

    child_type: tuple[str, ...] = ()
    children: tuple[ManagedEntity, ...] = ()

    @classmethod
    def make(cls, world: World, name: str, parent: ManagedEntity | None, child_type: tuple[str, ...]) -> Folder:
        """A folder with an id of the kind vCenter gives it; not yet in the world."""
        moid = world.new_id(_PREFIXES[child_type])
        return cls(world=world, moid=moid, name=name, parent=parent, child_type=child_type)

    # -- tree ---------------------------------------------------------------------------------------------------

    def within(self, kind: type[M]) -> Iterator[M]:
        """Objects of that class in this folder and the folders in it."""
        for child in self.children:
            if isinstance(child, kind):
                yield child
            elif isinstance(child, Folder):
                yield from child.within(kind)

    def child(self, name: str) -> ManagedEntity | None:
        """The child of that name."""
        return next((child for child in self.children if child.name == name), None)

    def siblings(self) -> Iterator[ManagedEntity]:
        """Children of one folder have different names."""
        return iter(self.parent.children if isinstance(self.parent, Folder) else ())

    def check_free(self, name: str, kind: str) -> None:
        """Raise when this folder cannot take a child of that type (wire name) and name."""
        if kind not in self.child_type:
            raise fault(vmodl.fault.NotSupported, f"'{self.name}' does not hold objects of type {kind}.")
        existing = self.child(name)
        if existing is not None:
            raise fault(vim.fault.DuplicateName, f"The name '{name}' already exists.", name=name, object=existing.ref)

    def adopt(self, tx: Transaction, child: ManagedEntity) -> None:
        """Inside a commit: put a new object here."""
        tx.add(child)
        tx.set(self, children=(*self.children, child))
        self._tell_datacenter(tx)

    def release(self, tx: Transaction, child: ManagedEntity) -> None:
        """Inside a commit: the child is not in here any more."""
        tx.set(self, children=without(self.children, child))
        self._tell_datacenter(tx)

    def _tell_datacenter(self, tx: Transaction) -> None:
        """A datacenter lists the networks and datastores of its folders."""
        listed = {NETWORK_TYPES: "network", DATASTORE_TYPES: "datastore"}.get(self.child_type)
        top = next((above for above in self.ancestors() if above.wsdl == "Datacenter"), None)
        if listed is not None and top is not None:
            tx.touch(top, listed)

    # -- API ----------------------------------------------------------------------------------------------------

    @operation("CreateFolder", privilege="Folder.Create")
    def CreateFolder(self, call: Any, name: str) -> Folder:
        self.check_free(name, "Folder")
        with self.world.commit(call.user) as tx:
            folder = Folder.make(self.world, name, self, self.child_type)
            self.adopt(tx, folder)
        return folder

    @operation("CreateDatacenter", privilege="Datacenter.Create")
    def CreateDatacenter(self, call: Any, name: str) -> Any:
        from contrail_vsphere.simulator.vcenter.create import create_datacenter

        self.check_free(name, "Datacenter")
        with self.world.commit(call.user) as tx:
            return create_datacenter(tx, self, name)

    @operation("CreateClusterEx", privilege="Host.Inventory.CreateCluster")
    def CreateClusterEx(self, call: Any, name: str, spec: Any) -> Any:
        from contrail_vsphere.simulator.vcenter.create import create_cluster

        self.check_free(name, "ComputeResource")
        drs = bool(spec.drsConfig is not None and spec.drsConfig.enabled)
        ha = bool(spec.dasConfig is not None and spec.dasConfig.enabled)
        with self.world.commit(call.user) as tx:
            return create_cluster(tx, self, name, drs=drs, ha=ha)

    @operation("AddStandaloneHost_Task", privilege="Host.Inventory.AddStandaloneHost")
    def AddStandaloneHost_Task(
        self, call: Any, spec: Any, addConnected: bool, compResSpec: Any = None, license: str | None = None
    ) -> Any:
        from contrail_vsphere.simulator.vcenter import host_life

        async def work(handle: Any) -> Any:
            host = await host_life.add_host(
                self.world, self, name=spec.hostName or "", connect=addConnected, user=handle.user, chain=handle.chain
            )
            return host.parent

        return self.start_task(call, "addStandaloneHost", work)

    @operation("CreateVM_Task", privilege="VirtualMachine.Inventory.Create")
    def CreateVM_Task(self, call: Any, config: Any, pool: Any, host: Any = None) -> Any:
        from contrail_vsphere.simulator.vcenter import vm_create
        from contrail_vsphere.simulator.vcenter.host_system import HostSystem
        from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool

        target = found(self, pool, ResourcePool)
        on = found(self, host, HostSystem) if host is not None else None

        async def work(handle: Any) -> Any:
            return await vm_create.create(
                self.world, spec=config, folder=self, pool=target, host=on, user=handle.user, chain=handle.chain
            )

        return self.start_task(call, "createVm", work)

    @operation("RegisterVM_Task", privilege="VirtualMachine.Inventory.Register", note="Unregistered VMs only.")
    def RegisterVM_Task(
        self, call: Any, path: str, *, asTemplate: bool, name: str | None = None, pool: Any = None, host: Any = None
    ) -> Any:
        from contrail_vsphere.simulator.vcenter import vm_register
        from contrail_vsphere.simulator.vcenter.host_system import HostSystem
        from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool

        target = found(self, pool, ResourcePool) if pool is not None else None
        on = found(self, host, HostSystem) if host is not None else None

        async def work(handle: Any) -> Any:
            return await vm_register.register(
                self.world,
                path=path,
                name=name,
                as_template=asTemplate,
                folder=self,
                pool=target,
                host=on,
                user=handle.user,
                chain=handle.chain,
            )

        return self.start_task(call, "registerVm", work)

    @operation("CreateDVS_Task", privilege="DVSwitch.Create")
    def CreateDVS_Task(self, call: Any, spec: Any) -> Any:
        from contrail_vsphere.simulator.vcenter import dvs_life

        async def work(handle: Any) -> Any:
            return await dvs_life.create(self.world, folder=self, spec=spec, user=handle.user, chain=handle.chain)

        return self.start_task(call, "createDistributedVirtualSwitch", work)

    @operation("MoveIntoFolder_Task", note="VMs and folders; not hosts and clusters.")
    def MoveIntoFolder_Task(self, call: Any, list: tuple[Any, ...]) -> Any:
        entities = [found(self, ref, ManagedEntity) for ref in list]

        async def work(handle: Any) -> None:
            for entity in entities:
                kind = entity.wsdl
                if kind not in self.child_type or kind not in ("Folder", "VirtualMachine"):
                    raise fault(vmodl.fault.NotSupported, f"{entity.name} cannot be moved into {self.name}.")
            with self.world.commit(handle.user, chain=handle.chain) as tx:
                for entity in entities:
                    if isinstance(entity.parent, Folder):
                        entity.parent.release(tx, entity)
                    tx.set(self, children=(*self.children, entity))
                    tx.set(entity, parent=self)

        return self.start_task(call, "moveInto", work)

    async def destroy(self, *, user: str = "", chain: int | None = None) -> None:
        """Take the folder out with all that is in it; the root and a datacenter's own folders stay.

        One commit per object, as the API says: an object that cannot go (a running VM) ends it with what is gone gone.
        VMs are deleted from disk, but those on the hosts of a host folder or datacenter are only unregistered.
        """
        if not isinstance(self.parent, Folder):
            raise fault(vmodl.fault.NotSupported, f"'{self.name}' cannot be destroyed.")
        await self.empty(user=user, chain=chain)
        await self._leave(user=user, chain=chain)

    async def empty(self, *, user: str, chain: int | None) -> None:
        """Destroy everything in the folder; port groups go with their switches."""
        for child in sorted(self.children, key=lambda child: child.wsdl == "DistributedVirtualPortgroup"):
            if self.world.get(child.moid) is child:
                await child.destroy(user=user, chain=chain)

    async def _leave(self, *, user: str, chain: int | None) -> None:
        assert isinstance(self.parent, Folder)  # noqa: S101 - the callers looked
        with self.world.commit(user, chain=chain) as tx:
            self.parent.release(tx, self)
            tx.remove(self)

    @operation("UnregisterAndDestroy_Task", privilege="Folder.Delete")
    def UnregisterAndDestroy_Task(self, call: Any) -> Any:
        if self.child_type != VM_TYPES or not isinstance(self.parent, Folder):
            raise fault(vmodl.fault.NotSupported, f"'{self.name}' is not a folder of virtual machines that may go.")

        async def work(handle: Any) -> None:
            await self._unregister_all(user=handle.user, chain=handle.chain)

        return self.start_task(call, "unregisterAndDestroy", work)

    async def _unregister_all(self, *, user: str, chain: int | None) -> None:
        from contrail_vsphere.simulator.vcenter import vm_life
        from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

        for child in self.children:
            if isinstance(child, Folder):
                await child._unregister_all(user=user, chain=chain)
            elif isinstance(child, VirtualMachine):
                vm_life.unregister(self.world, child, user=user)
        await self._leave(user=user, chain=chain)

    # -- properties ---------------------------------------------------------------------------------------------

    @managed_property("childType")
    def _child_type(self) -> list[Any]:
        return list(self.child_type)

    @managed_property("childEntity")
    def _child_entity(self) -> list[Any]:
        return list(self.children)
