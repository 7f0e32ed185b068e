"""Keeping both ends of a VM's relations right: host, pool, folder, datastores, networks and DVS ports.

Everything here runs inside an open commit. A VM names its host and the host names its VMs; a change that did only one
of the two would show clients a world that contradicts itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualPortgroup
from contrail_vsphere.simulator.vcenter.dvs_ports import bind_port, release_port
from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import with_added, without
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.devices import DiskState, NicState
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.network import Network
    from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


def attach(tx: Transaction, vm: VirtualMachine, *, returning: bool = False) -> None:
    """Put a new VM, or one ``returning`` from its files, into the world and into everything it names."""
    tx.add(vm)
    if isinstance(vm.parent, Folder):
        tx.set(vm.parent, children=(*vm.parent.children, vm))
    if vm.host is not None:
        tx.set(vm.host, vms=(*vm.host.vms, vm))
    if vm.resource_pool is not None:
        tx.set(vm.resource_pool, vms=(*vm.resource_pool.vms, vm))
    nics, vm.nics = vm.nics, ()
    set_nics(tx, vm, nics, returning=returning)
    disks, vm.disks = vm.disks, ()
    set_disks(tx, vm, disks)


def detach(tx: Transaction, vm: VirtualMachine, *, files: bool) -> None:
    """Take a VM out; its ports are freed, and with ``files`` its space too. Posts VmRemovedEvent."""
    from contrail_vsphere.simulator.vcenter import vm_snapshots

    event = inventory_event(vim.event.VmRemovedEvent, vm)
    vm_snapshots.forget(tx, vm)
    set_nics(tx, vm, ())
    for datastore in vm.datastores:
        tx.set(datastore, vms=without(datastore.vms, vm))
    if files:
        _give_back(tx, vm.disks)
    if isinstance(vm.parent, Folder):
        vm.parent.release(tx, vm)
    if vm.host is not None:
        tx.set(vm.host, vms=without(vm.host.vms, vm))
    if vm.resource_pool is not None:
        tx.set(vm.resource_pool, vms=without(vm.resource_pool.vms, vm))
    tx.remove(vm)
    tx.event(event)


def move_to_host(tx: Transaction, vm: VirtualMachine, host: HostSystem, pool: ResourcePool | None = None) -> None:
    """Change the VM's host, and its pool when it leaves the compute resource."""
    if vm.host is not None and vm.host is not host:
        tx.set(vm.host, vms=without(vm.host.vms, vm))
        tx.set(vm, started_on=None)
    tx.set(host, vms=with_added(host.vms, vm))
    tx.set(vm, host=host)
    if pool is None and (vm.resource_pool is None or vm.resource_pool.owner is not host.parent):
        pool = host.compute_resource.root_pool
    if pool is not None:
        move_to_pool(tx, vm, pool)


def move_to_pool(tx: Transaction, vm: VirtualMachine, pool: ResourcePool) -> None:
    """Change the VM's resource pool."""
    if pool is vm.resource_pool:
        return
    if vm.resource_pool is not None:
        tx.set(vm.resource_pool, vms=without(vm.resource_pool.vms, vm))
    tx.set(pool, vms=with_added(pool.vms, vm))
    tx.set(vm, resource_pool=pool)


def set_nics(tx: Transaction, vm: VirtualMachine, nics: tuple[NicState, ...], *, returning: bool = False) -> None:
    """Give the VM these cards: ports of those that go are freed, new ones get theirs, networks learn of it.

    Raises SoapFault when a port group has no port left. ``returning``: see ``bind_port``.
    """
    before = {nic.key: nic for nic in vm.nics}
    after = []
    for old in vm.nics:
        new = next((nic for nic in nics if nic.key == old.key), None)
        if old.port_key and (new is None or new.network is not old.network or new.port_key != old.port_key):
            release_port(tx, vm, old)
    for nic in nics:
        bound = nic
        group = nic.network if isinstance(nic.network, DistributedVirtualPortgroup) else None
        if group is None:
            bound = dataclasses.replace(nic, port_key="", connection_cookie=0)
        elif before.get(nic.key) != nic and not _keeps_port(nic, before.get(nic.key)):
            early = group.kind != "ephemeral" or vm.power_state == "poweredOn"
            bound = (
                bind_port(tx, vm, nic, group, returning=returning)
                if early
                else dataclasses.replace(nic, port_key="", connection_cookie=0)
            )
        after.append(bound)
    tx.set(vm, nics=tuple(after))
    _set_networks(tx, vm, [nic.network for nic in after if nic.network is not None])


def _keeps_port(nic: NicState, old: NicState | None) -> bool:
    """Whether the card stays on its port; else early binding gives one now, an ephemeral group while the VM is on."""
    return old is not None and old.network is nic.network and old.port_key != "" and old.port_key == nic.port_key


def _set_networks(tx: Transaction, vm: VirtualMachine, networks: Iterable[Network]) -> None:
    unique = tuple({network.moid: network for network in networks}.values())
    for network in vm.networks:
        if network not in unique:
            tx.set(network, vms=without(network.vms, vm))
    for network in unique:
        if network not in vm.networks:
            tx.set(network, vms=(*network.vms, vm))
    tx.set(vm, networks=unique)


def connect_nics(tx: Transaction, vm: VirtualMachine, *, powered: bool) -> None:
    """With the power: cards that start connected are; ephemeral ports come and go."""
    nics: list[NicState] = []
    for nic in vm.nics:
        group = nic.network if isinstance(nic.network, DistributedVirtualPortgroup) else None
        changed = nic
        if group is not None and group.kind == "ephemeral":
            if powered and not nic.port_key:
                changed = bind_port(tx, vm, nic, group)
            elif not powered and nic.port_key:
                release_port(tx, vm, nic)
                changed = dataclasses.replace(nic, port_key="", connection_cookie=0)
        nics.append(dataclasses.replace(changed, connected=powered and nic.start_connected))
    tx.set(vm, nics=tuple(nics))


def set_disks(tx: Transaction, vm: VirtualMachine, disks: tuple[DiskState, ...]) -> None:
    """Give the VM these disks; space is taken from and given back to their datastores."""
    kept = {disk.key for disk in disks}
    _give_back(tx, tuple(disk for disk in vm.disks if disk.key not in kept))
    known = {disk.key: disk for disk in vm.disks}
    for disk in disks:
        old = known.get(disk.key)
        grown = disk.used - (old.used if old is not None else 0)
        if grown:
            tx.set(disk.datastore, free=disk.datastore.free - grown)
    tx.set(vm, disks=disks)
    homes = {disk.datastore.moid: disk.datastore for disk in disks} or {ds.moid: ds for ds in vm.datastores}
    for datastore in vm.datastores:
        if datastore.moid not in homes:
            tx.set(datastore, vms=without(datastore.vms, vm))
    for datastore in homes.values():
        tx.set(datastore, vms=with_added(datastore.vms, vm))
    tx.set(vm, datastores=tuple(homes.values()))


def _give_back(tx: Transaction, disks: tuple[DiskState, ...]) -> None:
    for disk in disks:
        if disk.used:
            tx.set(disk.datastore, free=disk.datastore.free + disk.used)


def touch_config(tx: Transaction, vm: VirtualMachine, **state: Any) -> None:
    """Change configuration: the change version counts up with it."""
    if tx.set(vm, **state):
        tx.set(vm, change_version=vm.change_version + 1, modified=vm.world.clock.now())
