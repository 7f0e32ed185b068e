"""Templates: VMs that cannot be powered on, are in no resource pool, and are there to be cloned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contrail_vsphere.simulator.vcenter import drs, vm_life
from contrail_vsphere.simulator.vcenter.managed_entity import fault, without
from contrail_vsphere.simulator.vcenter.vm_wiring import move_to_host
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
    from contrail_vsphere.simulator.vcenter.vm_move import Destination


def mark_as_template(world: World, vm: VirtualMachine, *, user: str = "") -> None:
    """Make a template of a VM that is off; it leaves its resource pool. A template is refused."""
    vm_life.check_reachable(vm)
    vm_life.check_power(vm, allowed=("poweredOff",), requested="poweredOff")
    if vm.template:
        raise fault(vmodl.fault.NotSupported, f"'{vm.name}' is a template already.")
    with vm_life.held(vm, None), world.commit(user) as tx:
        if vm.resource_pool is not None:
            tx.set(vm.resource_pool, vms=without(vm.resource_pool.vms, vm))
        tx.set(vm, template=True, resource_pool=None)


def mark_as_vm(world: World, vm: VirtualMachine, target: Destination, *, user: str = "") -> None:
    """Make a VM of a template again, in that pool and on that host; without a host, on its own or any of the pool's."""
    vm_life.check_exists(vm)
    if not vm.template:
        raise fault(vmodl.fault.NotSupported, f"'{vm.name}' is not a template.")
    pool = target.pool
    assert pool is not None  # noqa: S101 - the API's own metadata requires it
    own = vm.host if vm.host is not None and vm.host.parent is pool.owner else None
    host = target.host or own or next((item for item in pool.owner.hosts if item.usable), None)
    if host is None:
        raise fault(vim.fault.NoCompatibleHost, "No host is compatible with the virtual machine.")
    if host.parent is not pool.owner:
        raise fault(vmodl.fault.InvalidArgument, "Host and pool are in different compute resources.")
    if host is not vm.host:
        drs.check_provisioning(vm, host)
    drs.check_datastores(host, vm.datastores)
    with vm_life.held(vm, None), world.commit(user) as tx:
        move_to_host(tx, vm, host, pool)
        tx.set(vm, template=False)
