"""Hosts that change their cluster, with everything that is on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter.compute_resource import HOST_CHANGES, ClusterComputeResource
from contrail_vsphere.simulator.vcenter.datacenter import Datacenter
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.managed_entity import fault, found, without
from contrail_vsphere.simulator.vcenter.vm_wiring import move_to_pool
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction


async def into(cluster: ClusterComputeResource, hosts: Iterable[Any], *, user: str, chain: int | None) -> None:
    """MoveInto_Task: InvalidState for a host of a cluster that is not in maintenance mode; all hosts or none."""
    world = cluster.world
    chosen = [host for host in (found(cluster, ref, HostSystem) for ref in hosts) if host.parent is not cluster]
    await world.clock.sleep(world.service(Timing).remove_host)
    for host in chosen:
        if isinstance(host.parent, ClusterComputeResource) and not host.in_maintenance:
            raise fault(vim.fault.InvalidState, f"Host '{host.name}' is not in maintenance mode.")
        if host.ancestor(Datacenter) is not cluster.ancestor(Datacenter):
            raise fault(vmodl.fault.InvalidArgument, "The host is in another datacenter.", invalidProperty="host")
    with world.commit(user, chain=chain) as tx:
        for host in chosen:
            _move(tx, host, cluster)


def _move(tx: Transaction, host: HostSystem, cluster: ClusterComputeResource) -> None:
    before = host.compute_resource
    before.set_hosts(tx, without(before.hosts, host))
    cluster.set_hosts(tx, (*cluster.hosts, host))
    tx.set(host, parent=cluster)
    pool = cluster.root_pool
    for vm in host.vms:
        if pool is not None:
            move_to_pool(tx, vm, pool)
    tx.touch(before, *HOST_CHANGES)
    if not isinstance(before, ClusterComputeResource):
        before.leave(tx)
