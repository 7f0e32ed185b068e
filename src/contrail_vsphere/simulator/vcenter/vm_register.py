"""Leaving and entering the inventory with one's files: UnregisterVM keeps them, RegisterVM_Task makes a VM of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter import vm_snapshots
from contrail_vsphere.simulator.vcenter.create import new_uuid
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.datastore_browser import split
from contrail_vsphere.simulator.vcenter.devices import FIRST_NIC_KEY, DiskState, MacPool, NicState
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.simulator.vcenter.vm_create import directory, place
from contrail_vsphere.simulator.vcenter.vm_snapshot import VmSnapshot
from contrail_vsphere.simulator.vcenter.vm_wiring import attach
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction, World
    from contrail_vsphere.simulator.vcenter.folder import Folder
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.network import Network
    from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

KEPT = (
    "directory",
    "instance_uuid",
    "bios_uuid",
    "template",
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
    "nics",
    "disks",
    "extra_config",
    "annotation",
    "guest_id",
    "hardware_version",
    "managed_by",
    "vapp_properties",
    "vapp_property_info",
    "ovf_transport",
    "product_version",
    "change_version",
)
"""What a configuration file says of a VM."""


@dataclass(frozen=True, slots=True)
class Filed:
    """A VM that exists in its files only."""

    name: str
    vmx: str
    disks: tuple[DiskState, ...]
    state: Mapping[str, Any]
    snapshots: tuple[VmSnapshot, ...] = ()
    current_snapshot: VmSnapshot | None = None


def file_away(tx: Transaction, vm: VirtualMachine) -> None:
    """Inside a commit, before the VM leaves: its files stay on their datastore and can be registered again."""
    home = _home(vm.vmx, vm.datastores)
    if home is not None:
        state = MappingProxyType({name: getattr(vm, name) for name in KEPT})
        filed = Filed(vm.name, vm.vmx, vm.disks, state, vm.snapshots, vm.current_snapshot)
        tx.set(home, unregistered={**home.unregistered, vm.vmx: filed})


def place_files(tx: Transaction, datastore: Datastore, name: str, *, network: Network) -> str:
    """Inside a commit: files of a VM that vCenter has never seen, as a restored backup leaves them; their path."""
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

    world = tx.world
    said: dict[str, Any] = {
        "instance_uuid": new_uuid(world),
        "bios_uuid": new_uuid(world),
        "directory": directory(datastore, name),
        "nics": (NicState(key=FIRST_NIC_KEY, mac=world.service(MacPool).assign(), network=network),),
    }
    for item in dataclasses.fields(VirtualMachine):
        if item.name in KEPT and item.name not in said:
            factory = item.default_factory
            said[item.name] = factory() if factory is not dataclasses.MISSING else item.default
    path = f"{said['directory']}{split(said['directory'])[1].rstrip('/')}.vmx"
    if path in datastore.unregistered:
        raise fault(vim.fault.FileAlreadyExists, f"File {path} exists already.", file=path)
    filed = Filed(name, path, said["disks"], MappingProxyType(said))
    tx.set(datastore, unregistered={**datastore.unregistered, path: filed})
    return path


def _home(vmx: str, datastores: tuple[Datastore, ...]) -> Datastore | None:
    name = split(vmx)[0]
    return next((datastore for datastore in datastores if datastore.name == name), None)


async def register(
    world: World,
    *,
    path: str,
    name: str | None,
    as_template: bool,
    folder: Folder,
    pool: ResourcePool | None,
    host: HostSystem | None,
    user: str = "",
    chain: int | None = None,
) -> VirtualMachine:
    """RegisterVM_Task. Cards keep addresses and networks and get new ports; FileNotFound when nothing is there."""
    if as_template:
        if host is None:
            raise _missing("host")
        chosen = host
    else:
        if pool is None:
            raise _missing("pool")
        chosen = place(pool, host)
    await world.clock.sleep(world.service(Timing).create_vm)
    home = _home(path, chosen.datastores)
    if home is None:
        raise fault(vim.fault.InvalidDatastorePath, f"'{path}' is on no datastore of the host.", datastorePath=path)
    if any(vm.vmx == path for vm in home.vms):
        raise fault(vim.fault.AlreadyExists, f"'{path}' is registered.", name=path)
    filed = home.unregistered.get(path)
    if filed is None:
        raise fault(vim.fault.FileNotFound, f"File {path} was not found", file=path)
    folder.check_free(name or filed.name, "VirtualMachine")
    with world.commit(user, chain=chain) as tx:
        return _enter(
            tx, filed, home, name=name or filed.name, folder=folder, pool=pool, host=chosen, template=as_template
        )


def _enter(
    tx: Transaction,
    filed: Filed,
    home: Datastore,
    *,
    name: str,
    folder: Folder,
    pool: ResourcePool | None,
    host: HostSystem,
    template: bool,
) -> VirtualMachine:
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

    world = tx.world
    state = {
        **filed.state,
        "template": template,
        "disks": tuple(d for d in filed.disks if d.datastore in host.datastores),
    }
    if any(vm.instance_uuid == state["instance_uuid"] for vm in world.of_type(VirtualMachine)):
        state["instance_uuid"] = new_uuid(world)
    vm = VirtualMachine(
        world=world,
        moid=world.new_id(VirtualMachine.prefix),
        name=name,
        parent=folder,
        host=host,
        resource_pool=None if template else pool,
        datastores=(home,),
        modified=world.clock.now(),
        **state,
    )
    tx.set(home, unregistered={path: item for path, item in home.unregistered.items() if path != filed.vmx})
    for disk in state["disks"]:  # they never gave their space back
        tx.set(disk.datastore, free=disk.datastore.free + disk.used)
    attach(tx, vm, returning=True)
    vm_snapshots.returned(tx, vm, filed.snapshots, filed.current_snapshot)
    tx.event(inventory_event(vim.event.VmRegisteredEvent, vm))
    return vm


def _missing(name: str) -> Exception:
    return fault(vmodl.fault.InvalidArgument, f"A {name} is needed.", invalidProperty=name)
