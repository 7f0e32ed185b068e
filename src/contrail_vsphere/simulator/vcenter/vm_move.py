"""Moving VMs: vMotion, cold migration and relocation, by users and by DRS.

The ``Being*`` event tells of the intention before, the ``*Migrated`` event comes with the new host, in the same commit;
a move that fails says so in VmFailedMigrateEvent or VmRelocateFailedEvent and changes nothing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter import drs, pool_usage
from contrail_vsphere.simulator.vcenter.datacenter import Datacenter
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import fault, found
from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool
from contrail_vsphere.simulator.vcenter.vm_wiring import move_to_host, set_disks
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction, World
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a VM shall go; None: stays as it is."""

    host: HostSystem | None = None
    pool: ResourcePool | None = None
    datastore: Datastore | None = None
    folder: Folder | None = None


def destination(
    vm: VirtualMachine, *, host: Any = None, pool: Any = None, datastore: Any = None, folder: Any = None
) -> Destination:
    """Resolve the references of a request."""
    return Destination(
        host=found(vm, host, HostSystem) if host is not None else None,
        pool=found(vm, pool, ResourcePool) if pool is not None else None,
        datastore=found(vm, datastore, Datastore) if datastore is not None else None,
        folder=found(vm, folder, Folder) if folder is not None else None,
    )


def _target_host(vm: VirtualMachine, target: Destination) -> HostSystem:
    if target.host is not None:
        return target.host
    if target.pool is not None and target.pool.owner is not (vm.host.parent if vm.host else None):
        chosen = drs.choose_host(vm, target.pool.owner.hosts)
        if chosen is None:
            raise fault(vim.fault.NoCompatibleHost, "No host is compatible with the virtual machine.")
        return chosen
    if vm.host is None:
        raise fault(vim.fault.NoCompatibleHost, "No host is compatible with the virtual machine.")
    return vm.host


async def migrate(
    world: World,
    vm: VirtualMachine,
    target: Destination,
    *,
    required_state: str | None = None,
    user: str = "",
    chain: int | None = None,
) -> None:
    """MigrateVM_Task: another host or pool, the same datastores."""
    if required_state is not None and str(required_state) != vm.power_state:
        raise fault(
            vim.fault.InvalidPowerState,
            "The virtual machine is not in the required power state.",
            requestedState=str(required_state),
            existingState=vm.power_state,
        )
    hot = vm.power_state == "poweredOn"
    before = vim.event.VmBeingHotMigratedEvent if hot else vim.event.VmBeingMigratedEvent
    await _move(world, vm, target, before=before, after=vim.event.VmMigratedEvent, user=user, chain=chain)


async def relocate(
    world: World, vm: VirtualMachine, target: Destination, *, user: str = "", chain: int | None = None
) -> None:
    """RelocateVM_Task: another datastore too. Without one, vCenter tells of it as a migration."""
    if target.datastore is None and target.host is not None and target.host is not vm.host:
        await migrate(world, vm, target, user=user, chain=chain)
        return
    await _move(
        world,
        vm,
        target,
        before=vim.event.VmBeingRelocatedEvent,
        after=vim.event.VmRelocatedEvent,
        user=user,
        chain=chain,
    )


async def migrate_by_drs(world: World, vm: VirtualMachine, host: HostSystem, *, chain: int | None = None) -> None:
    """A vMotion that DRS decided."""
    await _move(
        world,
        vm,
        Destination(host=host),
        before=vim.event.VmBeingHotMigratedEvent,
        after=vim.event.DrsVmMigratedEvent,
        user="",
        chain=chain,
    )


async def _move(
    world: World,
    vm: VirtualMachine,
    target: Destination,
    *,
    before: Any,
    after: Any,
    user: str,
    chain: int | None,
) -> None:
    from contrail_vsphere.simulator.vcenter import vm_life

    vm_life.check_reachable(vm)
    host, source = _target_host(vm, target), vm.host
    assert source is not None  # noqa: S101 - check_reachable saw it
    with vm_life.held(vm, chain) as own:
        try:
            _check_move(vm, host, target)
            with world.commit(user, chain=own) as tx:
                tx.event(inventory_event(before, vm, destHost=host))
            await world.clock.sleep(world.service(Timing).relocate)
            vm_life.check_reachable(vm)
            _check_move(vm, host, target)
        except SoapFault as error:
            if world.get(vm.moid) is vm:
                with world.commit(user, chain=own) as tx:
                    moves = before is not vim.event.VmBeingRelocatedEvent
                    failed = vim.event.VmFailedMigrateEvent if moves else vim.event.VmRelocateFailedEvent
                    tx.event(inventory_event(failed, vm, destHost=host, reason=error.fault))
            raise
        with world.commit(user, chain=own) as tx:
            if target.datastore is not None:
                moved = tuple(dataclasses.replace(disk, datastore=target.datastore) for disk in vm.disks)
                set_disks(tx, vm, ())
                set_disks(tx, vm, moved)
            move_to_host(tx, vm, host, target.pool)
            _move_to_folder(tx, vm, target.folder or _folder_there(vm, host))
            tx.event(inventory_event(after, vm, sourceHost=source))


def _folder_there(vm: VirtualMachine, host: HostSystem) -> Folder | None:
    """The top folder of another datacenter; None when the VM stays in its own."""
    there = host.ancestor(Datacenter)
    return there.vm_folder if there is not None and there is not vm.ancestor(Datacenter) else None


def _move_to_folder(tx: Transaction, vm: VirtualMachine, folder: Folder | None) -> None:
    if folder is None or folder is vm.parent:
        return
    folder.check_free(vm.name, "VirtualMachine")
    if isinstance(vm.parent, Folder):
        vm.parent.release(tx, vm)
    tx.set(folder, children=(*folder.children, vm))
    tx.set(vm, parent=folder)


def _check_move(vm: VirtualMachine, host: HostSystem, target: Destination) -> None:
    """What runs must be able to run there; what is off needs its files there, and networks only across datacenters."""
    datastores = vm.datastores if target.datastore is None else (target.datastore,)
    if host is vm.host:
        drs.check_datastores(host, datastores)
    elif vm.power_state == "poweredOn":
        drs.check_host(vm, host, datastores=datastores)
    else:
        drs.check_provisioning(vm, host)
        drs.check_datastores(host, datastores)
        if host.ancestor(Datacenter) is not vm.ancestor(Datacenter):
            drs.check_networks(vm, host)
    if target.pool is not None and target.pool.owner is not host.parent:
        raise fault(vmodl.fault.InvalidArgument, "Host and pool are in different compute resources.")
    if vm.power_state == "poweredOn" and target.pool is not vm.resource_pool:
        pool_usage.check_room(vm, target.pool)
