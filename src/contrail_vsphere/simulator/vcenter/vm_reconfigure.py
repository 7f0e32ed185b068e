"""Applying a VirtualMachineConfigSpec: what may change when, and what it does to cards, disks and vApp properties."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.vcenter import vm_passthrough, vm_projection
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.devices import (
    FIRST_DISK_KEY,
    FIRST_NIC_KEY,
    FIRST_NIC_UNIT,
    DiskState,
    MacPool,
    NicState,
)
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualPortgroup
from contrail_vsphere.simulator.vcenter.inventory_events import changes, inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.simulator.vcenter.vm_wiring import set_disks, set_nics
from contrail_vsphere.wire.soap.types import vim, vmodl, wsdl_name

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
MOST_NICS = 10


def check(vm: VirtualMachine, spec: Any) -> None:
    """Raise what forbids this change now: stale change version, power state, connection, devices."""
    if vm.connection_state != "connected":
        raise fault(vim.fault.InvalidState, "The operation is not allowed in the current connection state.")
    if spec.changeVersion and spec.changeVersion != str(vm.change_version):
        raise fault(vim.fault.ConcurrentAccess, "The object or item referred to has changed since it was read.")
    if spec.name is not None and spec.name != vm.name:
        vm.check_new_name(spec.name)
    if vm.power_state != "poweredOff":
        hot = {"numCPUs": vm.cpus, "memoryMB": vm.memory_mb, "numCoresPerSocket": vm.cores_per_socket}
        if any(getattr(spec, name) not in (None, now) for name, now in hot.items()) or spec.version is not None:
            raise fault(
                vim.fault.InvalidPowerState,
                "The attempted operation cannot be performed in the current state (Powered on).",
                requestedState="poweredOff",
                existingState=vm.power_state,
            )
    if spec.memoryMB is not None and (spec.memoryMB <= 0 or spec.memoryMB % 4):
        raise invalid("spec.memoryMB", "Memory must be a multiple of 4 MB.")
    if spec.numCPUs is not None and spec.numCPUs <= 0:
        raise invalid("spec.numCPUs", "The VM needs a CPU.")
    memory = spec.memoryMB if spec.memoryMB is not None else vm.memory_mb
    reservation = spec.memoryAllocation.reservation if spec.memoryAllocation is not None else None
    if (reservation if reservation is not None else vm.memory_reservation) > memory:
        raise invalid("spec.memoryAllocation.reservation", "More memory is reserved than the VM has.")
    new_nics(vm, spec.deviceChange, assign=False)


def invalid(name: str, message: str) -> Exception:
    """InvalidArgument about one part of the spec."""
    return fault(vmodl.fault.InvalidArgument, message, invalidProperty=name)


def apply(tx: Transaction, vm: VirtualMachine, spec: Any) -> None:
    """Inside a commit: all changes of the spec, and VmReconfiguredEvent with the others of vsphere.md 5.1."""
    before = {name: getattr(vm, name) for name in ("cpus", "memory_mb", "annotation", "nics", "disks", "extra_config")}
    if spec.name is not None and spec.name != vm.name:
        old = vm.name
        tx.set(vm, name=spec.name)
        tx.event(inventory_event(vim.event.VmRenamedEvent, vm, oldName=old, newName=spec.name))
    simple = {
        "cpus": spec.numCPUs,
        "cores_per_socket": spec.numCoresPerSocket,
        "memory_mb": int(spec.memoryMB) if spec.memoryMB is not None else None,
        "annotation": spec.annotation,
        "guest_id": spec.guestId,
        "hardware_version": spec.version,
        "instance_uuid": spec.instanceUuid,
        "bios_uuid": spec.uuid,
        "latency_sensitivity": str(spec.latencySensitivity.level) if spec.latencySensitivity is not None else None,
    }
    tx.set(vm, **{name: value for name, value in simple.items() if value is not None})
    apply_rest(tx, vm, spec)
    tx.set(vm, change_version=vm.change_version + 1, modified=vm.world.clock.now())
    modified = ", ".join(name for name, old in before.items() if getattr(vm, name) != old)
    tx.event(
        inventory_event(vim.event.VmReconfiguredEvent, vm, configSpec=spec, configChanges=changes(modified=modified))
    )


def apply_rest(tx: Transaction, vm: VirtualMachine, spec: Any) -> None:
    """Inside a commit: the parts of the spec that are more than a value."""
    _apply_allocations(tx, vm, spec)
    if spec.extraConfig:
        tx.set(vm, extra_config=_merged_extra(vm, spec.extraConfig))
    if spec.managedBy is not None:
        from contrail_vsphere.simulator.vcenter.virtual_machine import ManagedBy

        cleared = not spec.managedBy.extensionKey
        tx.set(vm, managed_by=None if cleared else ManagedBy(spec.managedBy.extensionKey, spec.managedBy.type))
    if spec.vAppConfigRemoved:
        tx.set(vm, vapp_properties={}, vapp_property_info=(), ovf_transport=())
    elif spec.vAppConfig is not None:
        _apply_vapp(tx, vm, spec.vAppConfig)
    if spec.memoryReservationLockedToMax is not None:
        tx.set(vm, memory_locked=bool(spec.memoryReservationLockedToMax))
    if spec.deviceChange:
        _apply_devices(tx, vm, spec.deviceChange)
        vm_passthrough.apply(tx, vm, spec.deviceChange)


def _apply_allocations(tx: Transaction, vm: VirtualMachine, spec: Any) -> None:
    changed = False
    for prefix, info in (("cpu", spec.cpuAllocation), ("memory", spec.memoryAllocation)):
        if info is None:
            continue
        state: dict[str, Any] = {}
        if info.reservation is not None:
            state[f"{prefix}_reservation"] = int(info.reservation)
        if info.limit is not None:
            state[f"{prefix}_limit"] = int(info.limit)
        if info.shares is not None:
            state[f"{prefix}_shares"] = (str(info.shares.level), int(info.shares.shares))
        changed = tx.set(vm, **state) or changed
    if changed:
        tx.event(inventory_event(vim.event.VmResourceReallocatedEvent, vm))


def _merged_extra(vm: VirtualMachine, options: list[Any]) -> dict[str, str]:
    """An empty value removes the key, as in vCenter."""
    merged = dict(vm.extra_config)
    for option in options:
        merged[option.key] = str(option.value)
    return {key: value for key, value in merged.items() if value}


def _apply_vapp(tx: Transaction, vm: VirtualMachine, config: Any) -> None:
    infos = list(vm.vapp_property_info)
    values = dict(vm.vapp_properties)
    for change in config.property:
        operation, info = str(change.operation), change.info
        if operation == "remove":
            gone = next((known for known in infos if known.key == change.removeKey), None)
            if gone is None:
                raise invalid("spec.vAppConfig.property", f"There is no property with key {change.removeKey}.")
            infos.remove(gone)
            values.pop(vm_projection.full_id(gone), None)
            continue
        index = next((i for i, known in enumerate(infos) if known.key == info.key), None)
        if operation == "add" and index is None:
            infos.append(vm_projection.with_value(info, None))
        elif operation == "edit" and index is not None:
            known = infos[index]
            given = {name: value for name, value in info.__dict__.items() if value not in (None, [])}
            infos[index] = info = data_object(type(known), **{**known.__dict__, **given, "value": None})
        else:
            raise invalid("spec.vAppConfig.property", f"Cannot {operation} the property with key {info.key}.")
        if change.info.value is not None:
            values[vm_projection.full_id(info)] = str(change.info.value)
    tx.set(vm, vapp_property_info=tuple(infos), vapp_properties=values)
    if config.ovfEnvironmentTransport:
        tx.set(vm, ovf_transport=tuple(config.ovfEnvironmentTransport))


# -- devices ----------------------------------------------------------------------------------------------------


def _apply_devices(tx: Transaction, vm: VirtualMachine, device_changes: list[Any]) -> None:
    known = {nic.key: nic for nic in vm.nics}
    set_nics(tx, vm, new_nics(vm, device_changes, assign=True))
    for nic in vm.nics:
        old = known.get(nic.key)
        if old is None:
            tx.event(inventory_event(vim.event.VmMacAssignedEvent, vm, adapter=nic.label, mac=nic.mac))
        elif old.mac != nic.mac:
            tx.event(
                inventory_event(vim.event.VmMacChangedEvent, vm, adapter=nic.label, oldMac=old.mac, newMac=nic.mac)
            )
    disks = new_disks(vm, device_changes)
    if disks != vm.disks:
        set_disks(tx, vm, disks)


def new_nics(vm: VirtualMachine, device_changes: list[Any], *, assign: bool) -> tuple[NicState, ...]:
    """The cards after these changes; with ``assign`` new ones get an address. Raises InvalidDeviceSpec and kin."""
    nics = list(vm.nics)
    for index, change in enumerate(device_changes):
        device = change.device
        if not isinstance(device, vim.vm.device.VirtualEthernetCard):
            continue
        operation = str(change.operation or "edit")
        position = next((i for i, nic in enumerate(nics) if nic.key == device.key), None)
        if operation == "add":
            nics.append(_added_nic(vm, nics, device, index, assign=assign))
        elif position is None:
            raise _device_fault(index, f"There is no ethernet card with key {device.key}.")
        elif operation == "remove":
            del nics[position]
        else:
            nics[position] = _edited_nic(vm, nics[position], device, index)
    if len(nics) > MOST_NICS:
        raise fault(vim.fault.TooManyDevices, f"A virtual machine has {MOST_NICS} ethernet cards at most.", index=0)
    return tuple(nics)


def _device_fault(index: int, message: str, cls: Any = None) -> Exception:
    return fault(cls or vim.fault.InvalidDeviceSpec, message, deviceIndex=index, property="virtualDeviceSpec.device")


def _added_nic(vm: VirtualMachine, nics: list[NicState], device: Any, index: int, *, assign: bool) -> NicState:
    key = max((nic.key for nic in (*nics, *vm.nics)), default=FIRST_NIC_KEY - 1) + 1
    units = {nic.unit for nic in nics}
    unit = device.unitNumber if device.unitNumber is not None and device.unitNumber not in units else None
    network, port = _backing(vm, device.backing, index)
    connectable = device.connectable
    mac = (device.macAddress or "").lower()
    if mac and not MAC.fullmatch(mac):
        raise _device_fault(index, f"'{device.macAddress}' is not a MAC address.")
    if not mac and assign:
        mac = vm.world.service(MacPool).assign()
    start = connectable is None or bool(connectable.startConnected)
    return NicState(
        key=key,
        mac=mac,
        network=network,
        port_key=port,
        kind=wsdl_name(device),
        unit=unit if unit is not None else next(n for n in range(FIRST_NIC_UNIT, 99) if n not in units),
        address_type="manual" if device.macAddress else "assigned",
        start_connected=start,
        connected=vm.power_state == "poweredOn" and start,
    )


def _edited_nic(vm: VirtualMachine, nic: NicState, device: Any, index: int) -> NicState:
    change: dict[str, Any] = {}
    if device.backing is not None:
        network, port = _backing(vm, device.backing, index)
        keep = network is nic.network and port in ("", nic.port_key)
        change.update(network=network, port_key=nic.port_key if keep else port)
        if not keep:
            change["connection_cookie"] = 0
    if device.macAddress and device.macAddress.lower() != nic.mac:
        mac = device.macAddress.lower()
        if not MAC.fullmatch(mac):
            raise _device_fault(index, f"'{device.macAddress}' is not a MAC address.")
        if vm.power_state != "poweredOff":
            raise _device_fault(index, "The MAC address of a running VM cannot be changed.")
        change.update(mac=mac, address_type=str(device.addressType or "manual").lower())
    if device.connectable is not None:
        change["start_connected"] = bool(device.connectable.startConnected)
        change["connected"] = vm.power_state == "poweredOn" and bool(device.connectable.connected)
    return dataclasses.replace(nic, **change)


def _backing(vm: VirtualMachine, backing: Any, index: int) -> tuple[Network, str]:
    """The network and, where the backing names one, the port. The VM's host must reach it."""
    invalid_backing = vim.fault.InvalidDeviceBacking
    port_key = ""
    network: Entity | None
    if isinstance(backing, vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo):
        network = vm.world.get(backing.port.portgroupKey or "")
        port_key = backing.port.portKey or ""
        if not isinstance(network, DistributedVirtualPortgroup) or network.dvs.uuid != backing.port.switchUuid:
            raise _device_fault(index, "There is no such distributed port group.", invalid_backing)
        if network.uplink:
            raise _device_fault(index, "A VM cannot be connected to an uplink port group.", invalid_backing)
    elif isinstance(backing, vim.vm.device.VirtualEthernetCard.NetworkBackingInfo):
        reachable = vm.host.networks if vm.host is not None else ()
        if backing.network is not None:
            network = vm.world.get(backing.network._moId)
        else:
            network = next((item for item in reachable if item.name == backing.deviceName), None)
        if not isinstance(network, Network):
            raise _device_fault(index, f"There is no network '{backing.deviceName}'.", invalid_backing)
    else:
        raise _device_fault(index, "This kind of backing is not supported.", invalid_backing)
    if vm.host is not None and not any(item is network for item in vm.host.networks):
        raise _device_fault(
            index, f"Network '{network.name}' is not accessible on host '{vm.host.name}'.", invalid_backing
        )
    return network, port_key


def new_disks(vm: VirtualMachine, device_changes: list[Any]) -> tuple[DiskState, ...]:
    """The disks after these changes."""
    disks = list(vm.disks)
    for index, change in enumerate(device_changes):
        device = change.device
        if not isinstance(device, vim.vm.device.VirtualDisk):
            continue
        operation = str(change.operation or "edit")
        position = next((i for i, disk in enumerate(disks) if disk.key == device.key), None)
        if operation == "add":
            disks.append(_added_disk(vm, disks, device, index))
        elif position is None:
            raise _device_fault(index, f"There is no disk with key {device.key}.")
        elif operation == "remove":
            del disks[position]
        else:
            capacity = _capacity(device)
            if capacity < disks[position].capacity:
                raise _device_fault(index, "A disk cannot shrink.")
            if vm.snapshots and capacity > disks[position].capacity:
                message = f"Invalid operation for device '{index}': the disk has snapshots."
                raise _device_fault(index, message, vim.fault.InvalidDeviceOperation)
            disks[position] = dataclasses.replace(disks[position], capacity=capacity)
    return tuple(disks)


def _capacity(device: Any) -> int:
    return int(device.capacityInBytes or device.capacityInKB * 1024)


def _added_disk(vm: VirtualMachine, disks: list[DiskState], device: Any, index: int) -> DiskState:
    from contrail_vsphere.simulator.vcenter.datastore import Datastore

    key = max((disk.key for disk in (*disks, *vm.disks)), default=FIRST_DISK_KEY - 1) + 1
    reference = getattr(device.backing, "datastore", None)
    datastore = vm.world.get(reference._moId) if reference is not None else next(iter(vm.datastores), None)
    if not isinstance(datastore, Datastore):
        raise _device_fault(index, "The disk names no datastore.", vim.fault.InvalidDeviceBacking)
    thin = bool(getattr(device.backing, "thinProvisioned", False))
    capacity = _capacity(device)
    if not thin and capacity > datastore.free:
        raise fault(
            vim.fault.NoDiskSpace, f"Insufficient disk space on '{datastore.name}'.", file="", datastore=datastore.name
        )
    number = key - FIRST_DISK_KEY
    base = vm.vmx.removesuffix(".vmx")
    return DiskState(
        key=key,
        capacity=capacity,
        datastore=datastore,
        file=f"{base}_{number}.vmdk" if number else f"{base}.vmdk",
        unit=number if number < 7 else number + 1,
        thin=thin,
    )
