"""Virtual hardware in compact form, projected into pyVmomi devices when somebody reads it.

Keys and controllers are those a real VM has: controllers from 100, keyboard 600, video 500, SCSI 1000, disks 2000,
CD-ROM 3000, ethernet cards from 4000, so that keyed property paths such as ``config.hardware.device[4000]`` work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.wire.soap.types import managed_class, vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.datastore import Datastore
    from contrail_vsphere.simulator.vcenter.network import Network

FIRST_NIC_KEY = 4000
FIRST_DISK_KEY = 2000
FIRST_NIC_UNIT = 7
PCI_CONTROLLER, SCSI_CONTROLLER, IDE_CONTROLLER, PS2_CONTROLLER = 100, 1000, 200, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class NicState:
    """An ethernet card. A port of a DVS belongs to it while ``port_key`` is set."""

    key: int
    mac: str
    network: Network | None
    """Standard network or distributed port group."""
    kind: str = "VirtualVmxnet3"
    unit: int = FIRST_NIC_UNIT
    address_type: str = "assigned"
    """``assigned`` by vCenter or ``manual``."""
    start_connected: bool = True
    connected: bool = False
    port_key: str = ""
    connection_cookie: int = 0

    @property
    def label(self) -> str:
        """As the client shows it."""
        return f"Network adapter {self.key - FIRST_NIC_KEY + 1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskState:
    """A virtual disk; ``capacity`` in bytes."""

    key: int
    capacity: int
    datastore: Datastore
    file: str
    unit: int = 0
    thin: bool = True
    written: int = 0
    """Bytes that a thin disk takes on its datastore."""

    @property
    def used(self) -> int:
        """Bytes taken from the datastore."""
        return self.written if self.thin else self.capacity

    @property
    def label(self) -> str:
        """As the client shows it."""
        return f"Hard disk {self.key - FIRST_DISK_KEY + 1}"


class MacPool:
    """MAC addresses as vCenter assigns them: 00:50:56:80:00:00 to 00:50:56:bf:ff:ff, none twice."""

    def __init__(self) -> None:
        self._next = 0

    @property
    def given(self) -> int:
        """How many."""
        return self._next

    def reserve(self, count: int) -> None:
        """Take the first ``count`` as given."""
        self._next = max(self._next, count)

    def assign(self) -> str:
        """A new address; RuntimeError when all four million are given."""
        if self._next >= 0x400000:
            raise RuntimeError("no MAC address left")
        number = 0x800000 + self._next
        self._next += 1
        return f"00:50:56:{number >> 16:02x}:{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}"


def device_list(disks: tuple[DiskState, ...], nics: tuple[NicState, ...]) -> list[Any]:
    """The VirtualDevice values of a VM with these disks and cards, in the order vCenter lists them."""
    return [*_fixed_devices(disks, nics), *(disk_device(disk) for disk in disks), *(nic_device(nic) for nic in nics)]


def _info(label: str, summary: str | None = None) -> Any:
    return data_object(vim.Description, label=label, summary=summary or label)


def _fixed_devices(disks: tuple[DiskState, ...], nics: tuple[NicState, ...]) -> Iterator[Any]:
    device = vim.vm.device
    yield data_object(device.VirtualIDEController, key=IDE_CONTROLLER, busNumber=0, deviceInfo=_info("IDE 0"))
    yield data_object(
        device.VirtualPS2Controller, key=PS2_CONTROLLER, busNumber=0, deviceInfo=_info("PS2 controller 0"), device=[600]
    )
    yield data_object(
        device.VirtualPCIController,
        key=PCI_CONTROLLER,
        busNumber=0,
        deviceInfo=_info("PCI controller 0"),
        device=[500, SCSI_CONTROLLER, *(nic.key for nic in nics)],
    )
    yield data_object(
        device.VirtualKeyboard, key=600, controllerKey=PS2_CONTROLLER, unitNumber=0, deviceInfo=_info("Keyboard")
    )
    yield data_object(
        device.VirtualVideoCard,
        key=500,
        controllerKey=PCI_CONTROLLER,
        unitNumber=0,
        deviceInfo=_info("Video card"),
        videoRamSizeInKB=4096,
        numDisplays=1,
    )
    yield data_object(
        device.ParaVirtualSCSIController,
        key=SCSI_CONTROLLER,
        controllerKey=PCI_CONTROLLER,
        unitNumber=3,
        busNumber=0,
        sharedBus="noSharing",
        scsiCtlrUnitNumber=7,
        deviceInfo=_info("SCSI controller 0", "VMware paravirtual SCSI"),
        device=[disk.key for disk in disks],
    )
    yield data_object(
        device.VirtualCdrom,
        key=3000,
        controllerKey=IDE_CONTROLLER,
        unitNumber=0,
        deviceInfo=_info("CD/DVD drive 1", "Remote device"),
        backing=data_object(device.VirtualCdrom.RemotePassthroughBackingInfo, deviceName="", exclusive=False),
        connectable=_connect_info(start=False, connected=False),
    )


def _connect_info(*, start: bool, connected: bool) -> Any:
    return data_object(
        vim.vm.device.VirtualDevice.ConnectInfo,
        startConnected=start,
        connected=connected,
        allowGuestControl=True,
        status="ok" if connected else "untried",
    )


def disk_device(disk: DiskState) -> Any:
    """A VirtualDisk."""
    return data_object(
        vim.vm.device.VirtualDisk,
        key=disk.key,
        controllerKey=SCSI_CONTROLLER,
        unitNumber=disk.unit,
        capacityInKB=disk.capacity // 1024,
        capacityInBytes=disk.capacity,
        deviceInfo=_info(disk.label, f"{disk.capacity // 1024:,} KB"),
        backing=data_object(
            vim.vm.device.VirtualDisk.FlatVer2BackingInfo,
            fileName=disk.file,
            datastore=disk.datastore,
            diskMode="persistent",
            thinProvisioned=disk.thin,
        ),
    )


def nic_device(nic: NicState) -> Any:
    """A VirtualEthernetCard of the card's own class."""
    return data_object(
        managed_class(nic.kind),
        key=nic.key,
        controllerKey=PCI_CONTROLLER,
        unitNumber=nic.unit,
        macAddress=nic.mac,
        addressType=nic.address_type,
        wakeOnLanEnabled=True,
        deviceInfo=_info(nic.label, nic.network.backing_summary() if nic.network is not None else "none"),
        backing=nic.network.nic_backing(nic) if nic.network is not None else None,
        connectable=_connect_info(start=nic.start_connected, connected=nic.connected),
    )
