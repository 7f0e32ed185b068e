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

    @property
    def label(self) -> str:
        """As the client shows it."""
        return f"Hard disk {self.key - FIRST_DISK_KEY + 1}"


class MacPool:
    """MAC addresses as vCenter assigns them: 00:50:56:80:00:00 to 00:50:56:bf:ff:ff, none twice."""

    def __init__(self) -> None:
        self._next = 0

    def assign(self) -> str:
        """A new address; RuntimeError when all four million are given."""
        if self._next >= 0x400000:
            raise RuntimeError("no MAC address left")
        number = 0x800000 + self._next
        self._next += 1
        return f"00:50:56:{number >> 16:02x}:{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}"
