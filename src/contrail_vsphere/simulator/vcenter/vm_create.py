"""New VMs: from a configuration specification, and as clones."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter import drs, vm_life, vm_reconfigure
from contrail_vsphere.simulator.vcenter.create import new_uuid
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.devices import DiskState, MacPool, NicState
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import fault, found
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.simulator.vcenter.vm_snapshot import VmSnapshot
from contrail_vsphere.simulator.vcenter.vm_wiring import attach, set_disks, set_nics
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction, World
    from contrail_vsphere.simulator.vcenter.folder import Folder
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool
    from contrail_vsphere.simulator.vcenter.vm_move import Destination


COPIED = (
    "cpus",
    "cores_per_socket",
    "memory_mb",
    "cpu_reservation",
    "memory_reservation",
    "cpu_limit",
    "memory_limit",
    "cpu_shares",
    "memory_shares",
    "latency_sensitivity",
    "annotation",
    "guest_id",
    "hardware_version",
    "extra_config",
    "vapp_properties",
    "vapp_property_info",
    "ovf_transport",
    "product_version",
)
"""What a clone has of its source, besides copies of cards and disks."""


def new_vm(
    tx: Transaction,
    *,
    name: str,
    folder: Folder,
    pool: ResourcePool,
    host: HostSystem,
    datastore: Datastore,
    spec: Any = None,
    **state: Any,
) -> VirtualMachine:
    """Inside a commit: a VM with its identity. Cards without an address get one; posts the events of a creation."""
    world = tx.world
    nics: tuple[NicState, ...] = state.pop("nics", ())
    mac = world.service(MacPool).assign
    state["nics"] = tuple(nic if nic.mac else dataclasses.replace(nic, mac=mac()) for nic in nics)
    state.setdefault("instance_uuid", new_uuid(world))
    state.setdefault("bios_uuid", new_uuid(world))
    vm = VirtualMachine(
        world=world,
        moid=world.new_id(VirtualMachine.prefix),
        name=name,
        parent=folder,
        host=host,
        resource_pool=pool,
        datastores=(datastore,),
        directory=directory(datastore, name),
        modified=world.clock.now(),
        **state,
    )
    tx.event(inventory_event(vim.event.VmBeingCreatedEvent, vm, configSpec=spec))
    attach(tx, vm)
    tx.event(inventory_event(vim.event.VmInstanceUuidAssignedEvent, vm, instanceUuid=vm.instance_uuid))
    tx.event(inventory_event(vim.event.VmUuidAssignedEvent, vm, uuid=vm.bios_uuid))
    for nic in vm.nics:
        tx.event(inventory_event(vim.event.VmMacAssignedEvent, vm, adapter=nic.label, mac=nic.mac))
    return vm


def directory(datastore: Datastore, name: str) -> str:
    """``[datastore] folder/`` for a new VM; taken folders get a number, as vCenter does after renames."""
    taken = {vm.directory for vm in datastore.vms}
    wanted, number = f"[{datastore.name}] {name}/", 0
    while wanted in taken:
        number += 1
        wanted = f"[{datastore.name}] {name}_{number}/"
    return wanted


def place(pool: ResourcePool, host: HostSystem | None, *, spec: Any = None) -> HostSystem:
    """The host a new VM is registered on: the asked-for one, else the least loaded usable one of the pool's owner.

    Those that have what the ``spec`` names come first; where none has, the refusal names what the chosen one lacks.
    """
    if host is not None:
        if host.parent is not pool.owner:
            raise vm_reconfigure.invalid("host", "Host and pool are in different compute resources.")
        if host.connection_state != "connected":
            raise fault(vim.fault.InvalidHostConnectionState, f"Host '{host.name}' is not connected.", host=host)
        return host
    usable = [other for other in pool.owner.hosts if other.usable]
    if not usable:
        raise fault(vim.fault.NoCompatibleHost, "No host is compatible with the virtual machine.")
    return min(usable, key=lambda other: (_lacks(other, spec), drs.load(other)))


def _lacks(host: HostSystem, spec: Any) -> int:
    """How many of the datastore and networks in a ConfigSpec the host does not have."""
    if spec is None:
        return 0
    cards = (change.device.backing for change in spec.deviceChange or () if hasattr(change.device, "macAddress"))
    groups = (getattr(getattr(backing, "port", None), "portgroupKey", None) for backing in cards)
    present = {network.moid for network in host.networks}
    path = str(spec.files.vmPathName or "") if spec.files is not None else ""
    mounted = any(path.startswith(f"[{datastore.name}]") for datastore in host.datastores)
    return int(not mounted) + sum(1 for group in groups if group and group not in present)


def _datastore_of(spec: Any, host: HostSystem) -> Datastore:
    """The datastore that the spec's ``files.vmPathName`` names: ``[name]`` with or without a path."""
    path = str(spec.files.vmPathName or "") if spec.files is not None else ""
    name = path[1:].partition("]")[0] if path.startswith("[") else ""
    found = next((datastore for datastore in host.datastores if datastore.name == name), None)
    if found is None:
        raise fault(vim.fault.InvalidDatastore, f"There is no datastore '{name}' on '{host.name}'.", name=name)
    return found


async def create(
    world: World,
    *,
    spec: Any,
    folder: Folder,
    pool: ResourcePool,
    host: HostSystem | None = None,
    user: str = "",
    chain: int | None = None,
) -> VirtualMachine:
    """CreateVM_Task: an empty VM, then the rest of its spec, in one commit."""
    if not spec.name:
        raise fault(vim.fault.InvalidName, "The virtual machine needs a name.", name="")
    folder.check_free(spec.name, "VirtualMachine")
    await world.clock.sleep(world.service(Timing).create_vm)
    folder.check_free(spec.name, "VirtualMachine")
    chosen = place(pool, host, spec=spec)
    datastore = _datastore_of(spec, chosen)
    with world.commit(user, chain=chain) as tx:
        vm = new_vm(tx, name=spec.name, folder=folder, pool=pool, host=chosen, datastore=datastore, spec=spec)
        vm_reconfigure.check(vm, spec)
        state = {
            "cpus": spec.numCPUs,
            "cores_per_socket": spec.numCoresPerSocket,
            "memory_mb": int(spec.memoryMB) if spec.memoryMB is not None else None,
            "annotation": spec.annotation,
            "guest_id": spec.guestId,
            "hardware_version": spec.version,
        }
        tx.set(vm, **{name: value for name, value in state.items() if value is not None})
        vm_reconfigure.apply_rest(tx, vm, spec)
        tx.event(inventory_event(vim.event.VmCreatedEvent, vm))
    return vm


async def clone(
    world: World,
    source: VirtualMachine,
    *,
    folder: Folder,
    name: str,
    target: Destination,
    spec: Any,
    user: str = "",
    chain: int | None = None,
) -> VirtualMachine:
    """CloneVM_Task: a copy with an identity, addresses and ports of its own."""
    folder.check_free(name, "VirtualMachine")
    vm_life.check_reachable(source)
    moment = found(source, spec.snapshot, VmSnapshot) if spec.snapshot is not None else None
    if moment is not None and moment.vm is not source:
        raise vm_reconfigure.invalid("spec.snapshot", "The snapshot is another virtual machine's.")
    pool = target.pool or source.resource_pool
    if pool is None:
        raise vm_reconfigure.invalid("spec.location.pool", "A pool is needed.")
    keep = source.host if source.host is not None and source.host.parent is pool.owner else None
    host = place(pool, target.host or keep)
    datastore = target.datastore or source.datastores[0]
    if datastore not in host.datastores:
        raise fault(vim.fault.InaccessibleDatastore, datastore=datastore, name=datastore.name)
    deployed = source.template and not spec.template
    place_of = {"destFolder": folder, "destName": name, "destHost": host}
    with vm_life.held(source, chain) as own:
        with world.commit(user, chain=own) as tx:
            if deployed:
                tx.event(inventory_event(vim.event.VmBeingDeployedEvent, host, srcTemplate=source))
            else:
                tx.event(inventory_event(vim.event.VmBeingClonedEvent, source, **place_of))
        try:
            await world.clock.sleep(world.service(Timing).clone)
            vm_life.check_reachable(source)
            folder.check_free(name, "VirtualMachine")
            with world.commit(user, chain=own) as tx:
                vm = _copy(tx, source, moment, name=name, folder=folder, pool=pool, host=host, datastore=datastore)
                tx.set(vm, template=bool(spec.template))
                if spec.config is not None:
                    vm_reconfigure.check(vm, spec.config)
                    vm_reconfigure.apply(tx, vm, spec.config)
                if deployed:
                    tx.event(inventory_event(vim.event.VmDeployedEvent, vm, srcTemplate=source))
                else:
                    tx.event(inventory_event(vim.event.VmClonedEvent, vm, sourceVm=source))
        except SoapFault as error:
            with world.commit(user, chain=own) as tx:
                if deployed:
                    failed = vim.event.VmDeployFailedEvent
                    tx.event(inventory_event(failed, host, destDatastore=datastore, reason=error.fault))
                else:
                    failed = vim.event.VmCloneFailedEvent
                    tx.event(inventory_event(failed, source, **place_of, reason=error.fault))
            raise
    if spec.powerOn:
        await vm_life.power_on(world, vm, user=user, chain=own)
    return vm


def _copy(
    tx: Transaction,
    source: VirtualMachine,
    moment: VmSnapshot | None,
    *,
    name: str,
    folder: Folder,
    pool: ResourcePool,
    host: HostSystem,
    datastore: Datastore,
) -> VirtualMachine:
    """The source as it is, or was at that snapshot, with an identity of its own."""
    kept = (*COPIED, "nics", "disks")
    was = moment.state if moment is not None else {attribute: getattr(source, attribute) for attribute in kept}
    copied = {attribute: was[attribute] for attribute in COPIED}
    vm = new_vm(tx, name=name, folder=folder, pool=pool, host=host, datastore=datastore, **copied)
    set_nics(tx, vm, tuple(_copied_nic(nic, tx.world) for nic in was["nics"]))
    set_disks(tx, vm, tuple(_copied_disk(disk, vm, datastore) for disk in was["disks"]))
    return vm


def _copied_nic(nic: NicState, world: World) -> NicState:
    return dataclasses.replace(
        nic,
        mac=world.service(MacPool).assign(),
        address_type="assigned",
        port_key="",
        connection_cookie=0,
        connected=False,
    )


def _copied_disk(disk: DiskState, vm: VirtualMachine, datastore: Datastore) -> DiskState:
    name = disk.file.rpartition("/")[2]
    return dataclasses.replace(disk, datastore=datastore, file=f"{vm.directory}{name}")
