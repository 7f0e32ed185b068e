"""Resource pools: the tree of reservations and shares under a compute resource."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.compute_resource import ComputeResource
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """ResourceAllocationInfo of CPU (MHz) or memory (MB)."""

    reservation: int = 0
    limit: int = -1
    """-1: unlimited."""
    expandable: bool = True
    level: str = "normal"
    """``low``, ``normal``, ``high`` or ``custom``."""
    shares: int = 4000


@dataclass(slots=True, eq=False, kw_only=True)
class ResourcePool(ManagedEntity):
    """A resource pool; a root pool's parent is its compute resource and its name is ``Resources``."""

    wsdl: ClassVar[str] = "ResourcePool"
    prefix: ClassVar[str] = "resgroup-"
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {"vms": ("vm",), "children": ("resourcePool",)}

    owner: ComputeResource
    vms: tuple[VirtualMachine, ...] = ()
    children: tuple[ResourcePool, ...] = ()
    cpu: Allocation = Allocation()
    memory: Allocation = Allocation(shares=163840)
