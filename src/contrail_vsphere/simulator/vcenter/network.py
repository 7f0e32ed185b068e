"""Standard networks (port groups of the hosts' own switches, one object per name and datacenter)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


@dataclass(slots=True, eq=False, kw_only=True)
class Network(ManagedEntity):
    """A network that VMs can be connected to, on these hosts."""

    wsdl: ClassVar[str] = "Network"
    prefix: ClassVar[str] = "network-"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {"hosts": ("host",), "vms": ("vm",)}

    hosts: tuple[HostSystem, ...] = ()
    vms: tuple[VirtualMachine, ...] = ()
