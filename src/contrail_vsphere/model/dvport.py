"""Ports of distributed switches, as far as the plugin judges by them, and what it asks to be changed on one."""

from __future__ import annotations

from dataclasses import dataclass

from contrail_vsphere.model.ids import DvsId, HostId, NetworkId, VmId


@dataclass(frozen=True, slots=True)
class DvPort:
    """``DistributedVirtualPort`` of FetchDVPorts."""

    dvs: DvsId
    key: str
    """Unique within its switch only."""
    group: NetworkId
    version: str = ""
    """``config.configVersion``: an edit that names another one is refused (optimistic locking)."""
    vlan: int | None = None
    """The port's own VLAN id; None while it has the port group's."""
    blocked: bool | None = None
    """The port's own setting; None while it has the port group's."""
    host: HostId | None = None
    """``proxyHost``: the host that has the port now; during a move it may lag behind the VM's."""
    vm: VmId | None = None
    nic: int | None = None
    """Device key of the card that is connected to it."""
    cookie: int | None = None
    """Differs from one connection of the port to the next."""
    conflict: bool = False
    """A stand-in for a port that somebody else uses; it cannot be moved to another host."""


@dataclass(frozen=True, slots=True)
class DvPortEdit:
    """One port's part of ReconfigureDVPort_Task. VLAN and block go together: no port is open without its VLAN."""

    key: str
    version: str
    """Empty: no check."""
    vlan: int | None
    """None: the port group's again."""
    blocked: bool | None
    """None: the port group's again."""
