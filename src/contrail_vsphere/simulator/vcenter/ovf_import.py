"""Deploying an OVF package: what a descriptor comes to as a VM. EAM deploys with it, and so do ImportVApp clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.devices import (
    FIRST_DISK_KEY,
    FIRST_NIC_KEY,
    FIRST_NIC_UNIT,
    DiskState,
    NicState,
)
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.simulator.vcenter.vm_create import directory, new_vm
from contrail_vsphere.simulator.vcenter.vm_reconfigure import invalid
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World
    from contrail_vsphere.simulator.vcenter.datastore import Datastore
    from contrail_vsphere.simulator.vcenter.folder import Folder
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.network import Network
    from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool
    from contrail_vsphere.simulator.vcenter.virtual_machine import ManagedBy, VirtualMachine
    from contrail_vsphere.wire.ovf.descriptor import Descriptor, Hardware

NIC_KINDS = {
    "vmxnet3": "VirtualVmxnet3",
    "e1000": "VirtualE1000",
    "e1000e": "VirtualE1000e",
    "pcnet32": "VirtualPCNet32",
    "sriovethernetcard": "VirtualSriovEthernetCard",
}
"""ResourceSubType in lower case -> device class."""


async def deploy(
    world: World,
    *,
    descriptor: Descriptor,
    name: str,
    host: HostSystem,
    datastore: Datastore,
    network_map: Mapping[str, Network],
    folder: Folder,
    pool: ResourcePool,
    properties: Mapping[str, str],
    deployment_option: str = "",
    thin: bool = True,
    managed_by: ManagedBy | None = None,
    esx_agent: bool = False,
    user: str = "",
    chain: int | None = None,
) -> VirtualMachine:
    """Deploy on this host, powered off. ``properties``: full OVF property ids; ``network_map``: OVF network -> network.

    Raises DuplicateName, InvalidHostState and kin, InaccessibleDatastore, NoDiskSpace, InvalidDeviceBacking's cause as
    InvalidArgument for an unmapped network, and InvalidArgument for an option the package does not have.
    """
    try:
        hardware = descriptor.hardware(deployment_option)
    except PackageError as error:
        raise invalid("deploymentOption", str(error)) from error
    _check(
        descriptor, hardware, name=name, host=host, datastore=datastore, networks=network_map, folder=folder, thin=thin
    )
    await world.clock.sleep(world.service(Timing).ovf_import)
    _check(
        descriptor, hardware, name=name, host=host, datastore=datastore, networks=network_map, folder=folder, thin=thin
    )
    with world.commit(user, chain=chain) as tx:
        vm = new_vm(
            tx,
            name=name,
            folder=folder,
            pool=pool,
            host=host,
            datastore=datastore,
            cpus=hardware.cpus,
            cores_per_socket=hardware.cores_per_socket or 1,
            memory_mb=hardware.memory_mb,
            cpu_reservation=hardware.cpu_mhz_reserved,
            memory_reservation=hardware.memory_mb_reserved,
            nics=_nics(hardware, network_map),
            disks=_disks(descriptor, hardware, datastore, directory(datastore, name), thin=thin),
            extra_config={item.key: item.value for item in hardware.extra_config},
            guest_id=descriptor.os_type or "otherGuest64",
            hardware_version=next(iter(hardware.virtual_system_types), "vmx-19"),
            annotation=descriptor.annotation,
            ovf_transport=descriptor.transports,
            vapp_properties=dict(properties),
            vapp_property_info=property_infos(descriptor),
            product_version=descriptor.main_product.version,
            managed_by=managed_by,
            esx_agent=esx_agent,
        )
        tx.event(inventory_event(vim.event.VmCreatedEvent, vm))
    return vm


def _check(
    descriptor: Descriptor,
    hardware: Hardware,
    *,
    name: str,
    host: HostSystem,
    datastore: Datastore,
    networks: Mapping[str, Network],
    folder: Folder,
    thin: bool,
) -> None:
    folder.check_free(name, "VirtualMachine")
    if host.world.get(host.moid) is not host or host.connection_state != "connected":
        raise fault(vim.fault.InvalidHostConnectionState, f"Host '{host.name}' is not connected.", host=host)
    if host.in_maintenance or host.entering_maintenance:
        raise fault(vim.fault.InvalidHostState, f"Host '{host.name}' is in maintenance mode.", host=host)
    if datastore not in host.datastores or not datastore.accessible:
        message = f"Datastore '{datastore.name}' is not accessible on host '{host.name}'."
        raise fault(vim.fault.InaccessibleDatastore, message, datastore=datastore, name=datastore.name)
    for nic in hardware.nics:
        network = networks.get(nic.network)
        if network is None:
            raise invalid("networkMapping", f"OVF network '{nic.network}' is not mapped.")
        if network not in host.networks:
            raise invalid("networkMapping", f"Network '{network.name}' is not accessible on host '{host.name}'.")
    needed = sum(disk.used for disk in _disks(descriptor, hardware, datastore, "", thin=thin))
    if needed > datastore.free:
        message = f"Insufficient disk space on datastore '{datastore.name}'."
        raise fault(vim.fault.NoDiskSpace, message, file=f"[{datastore.name}] {name}", datastore=datastore.name)


def _nics(hardware: Hardware, networks: Mapping[str, Network]) -> tuple[NicState, ...]:
    return tuple(
        NicState(
            key=FIRST_NIC_KEY + index,
            mac="",
            network=networks[nic.network],
            kind=NIC_KINDS.get(nic.kind.lower(), "VirtualVmxnet3"),
            unit=nic.unit if nic.unit is not None else FIRST_NIC_UNIT + index,
            start_connected=nic.connected,
        )
        for index, nic in enumerate(hardware.nics)
    )


def _disks(
    descriptor: Descriptor, hardware: Hardware, datastore: Datastore, folder: str, *, thin: bool
) -> tuple[DiskState, ...]:
    """A thin disk takes what was uploaded."""
    name = folder.rstrip("/").partition("] ")[2]
    disks = []
    for index, drive in enumerate(hardware.disks):
        disk = descriptor.disk(drive.disk)
        uploaded = (descriptor.file(disk.file).size or 0) if disk.file else 0
        disks.append(
            DiskState(
                key=FIRST_DISK_KEY + index,
                unit=drive.unit,
                capacity=disk.capacity,
                datastore=datastore,
                file=f"{folder}{name}_{index}.vmdk" if index else f"{folder}{name}.vmdk",
                thin=thin,
                written=disk.populated_size or uploaded,
            )
        )
    return tuple(disks)


def property_infos(descriptor: Descriptor) -> tuple[Any, ...]:
    """VAppPropertyInfo of every property that the package declares."""
    return tuple(
        data_object(
            vim.vApp.PropertyInfo,
            key=index,
            classId=known.class_id,
            id=known.key,
            instanceId=known.instance_id,
            category=known.category,
            label=known.label,
            type="password" if known.password else known.type,
            userConfigurable=known.user_configurable,
            defaultValue=known.default,
            description=known.description,
        )
        for index, known in enumerate(descriptor.properties)
    )
