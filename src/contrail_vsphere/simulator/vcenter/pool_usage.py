"""What a resource pool has, has given away and has left: the arithmetic of reservations.

A running VM's reservation is taken from its pool. A pool takes from the one above what it reserves itself, and where
its reservation is expandable also what it needs beyond that. The root pool has what the usable hosts have
(ResourcePool and ResourcePoolResourceUsage in the API reference). What the system itself needs is not taken off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.compute_resource import ComputeResource
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.resource_pool import Allocation, ResourcePool
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


@dataclass(frozen=True, slots=True)
class Kind:
    """CPU (MHz) or memory (MB)."""

    name: str
    noun: str
    measure: str
    fault: Any
    unit: int
    """So many of what the wire counts usage in are one of these."""

    def of_pool(self, pool: ResourcePool) -> Allocation:
        """As configured; the root pool's follows its hosts."""
        return pool.cpu if self is CPU else pool.memory

    def of_vm(self, vm: VirtualMachine) -> int:
        """What the VM reserves once it runs."""
        return vm.cpu_reservation if self is CPU else vm.memory_reservation

    def of_host(self, host: HostSystem) -> int:
        """All there is."""
        return host.cpu_mhz * host.cpu_cores if self is CPU else host.memory_mb


CPU = Kind("cpu", "CPU", "MHz", vim.fault.InsufficientCpuResourcesFault, 1)
MEMORY = Kind("memory", "memory", "MB", vim.fault.InsufficientMemoryResourcesFault, 1024 * 1024)


def capacity(owner: ComputeResource, kind: Kind) -> int:
    """Of a compute resource: what its usable hosts have."""
    return sum(kind.of_host(host) for host in owner.hosts if host.usable)


def parent_pool(pool: ResourcePool) -> ResourcePool | None:
    """None for a root pool."""
    above = pool.parent
    return above if isinstance(above, type(pool)) else None


def running_vms(pool: ResourcePool) -> Iterator[VirtualMachine]:
    """VMs of this very pool that take their reservation from it."""
    for vm in pool.vms:
        if vm.power_state == "poweredOn" and vm.host is not None and vm.host.usable:
            yield vm


def used_for_vms(pool: ResourcePool, kind: Kind) -> int:
    """By running VMs in the pool and all below it."""
    own = sum(kind.of_vm(vm) for vm in running_vms(pool))
    return own + sum(used_for_vms(child, kind) for child in pool.children)


def used(pool: ResourcePool, kind: Kind, *, without: object = None) -> int:
    """Given to the pool's running VMs and to the pools in it; ``without`` this VM or pool."""
    own = sum(kind.of_vm(vm) for vm in running_vms(pool) if vm is not without)
    return own + sum(_taken(child, kind, without) for child in pool.children if child is not without)


def _taken(pool: ResourcePool, kind: Kind, without: object) -> int:
    """What a pool takes from the one above it."""
    allocation = kind.of_pool(pool)
    needed = used(pool, kind, without=without) if allocation.expandable else 0
    return max(allocation.reservation, needed)


def unreserved(pool: ResourcePool, kind: Kind, *, without: object = None) -> int:
    """What is left for VMs and pools in this one; never negative, though hosts may have gone."""
    above = parent_pool(pool)
    taken = used(pool, kind, without=without)
    if above is None:
        return max(capacity(pool.owner, kind) - taken, 0)
    allocation = kind.of_pool(pool)
    left = allocation.reservation - taken
    if allocation.expandable:
        # What this pool takes now is part of what its parent has given: reckoned without it, all is on the table.
        left = max(allocation.reservation, unreserved(above, kind, without=pool)) - taken
    if allocation.limit >= 0:
        left = min(left, allocation.limit - taken)
    return max(left, 0)


def upper_bound(pool: ResourcePool, kind: Kind) -> int:
    """What the pool's VMs can use at most: its limit and those above it."""
    above = parent_pool(pool)
    bound = capacity(pool.owner, kind) if above is None else upper_bound(above, kind)
    limit = kind.of_pool(pool).limit
    return bound if above is None or limit < 0 else min(bound, limit)


def usage(pool: ResourcePool, kind: Kind) -> Any:
    """ResourcePoolResourceUsage. What VMs reserve stands for what they use."""
    for_vms, left = used_for_vms(pool, kind) * kind.unit, unreserved(pool, kind) * kind.unit
    return data_object(
        vim.ResourcePool.ResourceUsage,
        reservationUsed=used(pool, kind) * kind.unit,
        reservationUsedForVm=for_vms,
        unreservedForPool=left,
        unreservedForVm=left,
        overallUsage=for_vms,
        maxUsage=upper_bound(pool, kind) * kind.unit,
    )


def check_room(vm: VirtualMachine, pool: ResourcePool | None) -> None:
    """Raise when the pool cannot give what the VM reserves while it runs.

    Nothing is always there: of a VM that reserves nothing, tens of thousands of others are not asked.
    """
    if pool is not None:
        for kind in (CPU, MEMORY):
            if wanted := kind.of_vm(vm):
                _check(kind, pool, wanted, unreserved(pool, kind, without=vm))


def check_allocations(
    parent: ResourcePool, *, cpu: Allocation, memory: Allocation, pool: ResourcePool | None = None
) -> None:
    """Raise when a pool, new or this one, cannot have these in ``parent``."""
    for kind, wanted in ((CPU, cpu), (MEMORY, memory)):
        if 0 <= wanted.limit < wanted.reservation:
            message = f"The {kind.noun} limit is below the reservation."
            raise fault(vmodl.fault.InvalidArgument, message, invalidProperty=f"{kind.name}Allocation.limit")
        _check(kind, parent, wanted.reservation, unreserved(parent, kind, without=pool))
        if pool is not None:
            given = used(pool, kind)
            if not wanted.expandable:
                _check(kind, pool, given, wanted.reservation)
            if wanted.limit >= 0:
                _check(kind, pool, given, wanted.limit)


def _check(kind: Kind, pool: ResourcePool, requested: int, left: int) -> None:
    if requested > left:
        raise fault(
            kind.fault,
            f"Resource pool '{pool.name}' has {left} {kind.measure} of {kind.noun} for a reservation of {requested}.",
            unreserved=left * kind.unit,
            requested=requested * kind.unit,
        )
