"""Saved virtual machines: their configuration and devices, in the compact form that the simulator keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.devices import FIRST_NIC_UNIT, DiskState, NicState
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.simulator.vcenter.virtual_machine import ManagedBy
from contrail_vsphere.wire.soap.types import vim, wsdl_name

Get = Callable[..., Any]
"""``get(path, default)`` of a saved object."""

_DEVICE = vim.vm.device


def vm_state(get: Get) -> dict[str, Any]:
    """Attributes of the VM besides its devices and places."""
    managed_by = get("config.managedBy")
    power = str(get("runtime.powerState", "poweredOff"))
    path = str(get("config.files.vmPathName", ""))
    tools = str(get("guest.toolsRunningStatus", "")) == "guestToolsRunning" and power == "poweredOn"
    return {
        "instance_uuid": str(get("config.instanceUuid", "")),
        "bios_uuid": str(get("config.uuid", "")),
        "directory": f"{path.rpartition('/')[0]}/" if "/" in path else "",
        "power_state": power,
        "connection_state": str(get("runtime.connectionState", "connected")),
        "boot_time": get("runtime.bootTime") if power == "poweredOn" else None,
        "suspend_time": get("runtime.suspendTime"),
        "template": bool(get("config.template", False)),
        "cpus": int(get("config.hardware.numCPU", 1)),
        "cores_per_socket": int(get("config.hardware.numCoresPerSocket", 1) or 1),
        "memory_mb": int(get("config.hardware.memoryMB", 1024)),
        "cpu_reservation": int(get("config.cpuAllocation.reservation", 0)),
        "memory_reservation": int(get("config.memoryAllocation.reservation", 0)),
        "cpu_limit": int(get("config.cpuAllocation.limit", -1)),
        "memory_limit": int(get("config.memoryAllocation.limit", -1)),
        "extra_config": {str(item.key): str(item.value) for item in get("config.extraConfig", [])},
        "annotation": str(get("config.annotation", "")),
        "guest_id": str(get("config.guestId", "otherLinux64Guest")),
        "hardware_version": str(get("config.version", "vmx-19")),
        "managed_by": ManagedBy(str(managed_by.extensionKey), str(managed_by.type)) if managed_by is not None else None,
        "modified": get("config.modified"),
        "tools_running": tools,
        "heartbeat": str(get("guestHeartbeatStatus", "gray")) if tools else "gray",
        "guest_ip": str(get("guest.ipAddress", "")) if tools else "",
        "guest_hostname": str(get("guest.hostName", "")) if tools else "",
    }


def read_disks(get: Get, datastores: Mapping[str, Datastore]) -> tuple[DiskState, ...]:
    """Virtual disks whose datastore is known."""
    found = []
    for device in get("config.hardware.device", []):
        file = str(getattr(device.backing, "fileName", "") or "")
        datastore = datastores.get(file[1:].partition("]")[0]) if file.startswith("[") else None
        if not isinstance(device, _DEVICE.VirtualDisk) or datastore is None:
            continue
        found.append(
            DiskState(
                key=device.key,
                capacity=int(device.capacityInBytes or (device.capacityInKB or 0) * 1024),
                datastore=datastore,
                file=file,
                unit=int(device.unitNumber or 0),
                thin=bool(getattr(device.backing, "thinProvisioned", True)),
            )
        )
    return tuple(found)


def read_nics(
    get: Get, networks: Mapping[str, Network], groups: Mapping[str, Network]
) -> tuple[tuple[NicState, ...], list[str]]:
    """Ethernet cards, and a line for each device or backing that has no counterpart here."""
    nics, left_out = [], []
    powered = str(get("runtime.powerState", "")) == "poweredOn"
    for device in get("config.hardware.device", []):
        if not isinstance(device, _DEVICE.VirtualEthernetCard):
            if not isinstance(device, _KNOWN):
                left_out.append(f"{wsdl_name(type(device))} {device.key} left out")
            continue
        backing, connectable = device.backing, device.connectable
        port = getattr(backing, "port", None)
        network = groups.get(str(port.portgroupKey)) if port is not None else None
        if isinstance(backing, _DEVICE.VirtualEthernetCard.NetworkBackingInfo):
            by_name = (item for item in networks.values() if item.name == backing.deviceName)
            network = networks.get(getattr(backing.network, "_moId", "")) or next(by_name, None)
        if network is None:
            left_out.append(f"card {device.key} is on a network that is not in the directory")
        connection = port if network is not None else None
        nics.append(
            NicState(
                key=device.key,
                mac=str(device.macAddress or "").lower(),
                network=network,
                kind=wsdl_name(type(device)),
                unit=int(device.unitNumber or FIRST_NIC_UNIT),
                address_type="manual" if str(device.addressType or "") == "manual" else "assigned",
                start_connected=bool(connectable.startConnected) if connectable is not None else True,
                connected=powered and connectable is not None and bool(connectable.connected),
                port_key=str(connection.portKey or "") if connection is not None else "",
                connection_cookie=int(connection.connectionCookie or 0) if connection is not None else 0,
            )
        )
    return tuple(nics), left_out


_KNOWN = (
    _DEVICE.VirtualDisk,
    _DEVICE.VirtualController,
    _DEVICE.VirtualKeyboard,
    _DEVICE.VirtualPointingDevice,
    _DEVICE.VirtualVideoCard,
    _DEVICE.VirtualCdrom,
)
"""Devices that every VM of the simulator has, and disks."""
