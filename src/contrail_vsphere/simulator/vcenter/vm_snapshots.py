"""Making, removing and going back to snapshots.

vCenter posts no event of its own for any of it, only the task's; going back changes the power state and the cards, and
those tell of themselves.
"""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import TYPE_CHECKING

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter import drs, vm_life
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import LONGEST_NAME, fault
from contrail_vsphere.simulator.vcenter.vm_snapshot import VmSnapshot
from contrail_vsphere.simulator.vcenter.vm_wiring import move_to_host, set_disks, set_nics
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.devices import NicState
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

HELD = (
    "cpus",
    "cores_per_socket",
    "memory_mb",
    "cpu_reservation",
    "memory_reservation",
    "cpu_limit",
    "memory_limit",
    "cpu_shares",
    "memory_shares",
    "latency_sensitivity",
    "nics",
    "disks",
    "extra_config",
    "annotation",
    "guest_id",
    "hardware_version",
    "vapp_properties",
    "vapp_property_info",
    "ovf_transport",
    "product_version",
)
"""What a snapshot brings back. Identity, name and place stay what they are."""
MOST = 32
"""Snapshots in a chain."""


async def create(
    vm: VirtualMachine, *, name: str, description: str, memory: bool, quiesce: bool, user: str, chain: int
) -> VmSnapshot:
    """CreateSnapshot_Task. Raises InvalidName, NotSupported for templates, and SnapshotFault for a chain too long."""
    vm_life.check_reachable(vm)
    _check_name(vm, name)
    if vm.template:
        raise fault(vmodl.fault.NotSupported, "The operation is not supported on the object.")
    if _depth(vm.current_snapshot) >= MOST:
        raise fault(vim.fault.TooManySnapshotLevels, f"A chain has {MOST} snapshots at most.")
    world = vm.world
    with vm_life.held(vm, chain) as own:
        await world.clock.sleep(world.service(Timing).snapshot)
        vm_life.check_reachable(vm)
        runs = vm.power_state == "poweredOn"
        snapshot = VmSnapshot(
            world=world,
            moid=world.new_id(VmSnapshot.prefix),
            vm=vm,
            name=name,
            description=description,
            number=vm.last_snapshot + 1,
            created=world.clock.now(),
            above=vm.current_snapshot,
            power_state="poweredOff" if runs and not memory else vm.power_state,
            quiesced=quiesce and runs and not memory,
            state=MappingProxyType({item: getattr(vm, item) for item in HELD}),
        )
        with world.commit(user, chain=own) as tx:
            tx.add(snapshot)
            tx.set(
                vm,
                snapshots=(*vm.snapshots, snapshot),
                current_snapshot=snapshot,
                last_snapshot=snapshot.number,
            )
            if snapshot.above is not None:
                tx.touch(snapshot.above, "childSnapshot")
    return snapshot


def _check_name(vm: VirtualMachine, name: str) -> None:
    if not name or len(name) > LONGEST_NAME:
        raise fault(vim.fault.InvalidName, f"The name '{name}' is invalid.", name=name, entity=vm)


def _depth(snapshot: VmSnapshot | None) -> int:
    count = 0
    while snapshot is not None:
        snapshot, count = snapshot.above, count + 1
    return count


async def remove(vm: VirtualMachine, *, snapshot: VmSnapshot, children_too: bool, user: str, chain: int) -> None:
    """RemoveSnapshot_Task. Children that stay belong to the snapshot above from then on, and so does the present."""
    vm_life.check_reachable(vm)
    world = vm.world
    with vm_life.held(vm, chain) as own:
        await world.clock.sleep(world.service(Timing).snapshot)
        _check_there(snapshot)
        with world.commit(user, chain=own) as tx:
            _take_out(tx, vm, _branch(snapshot) if children_too else [snapshot])


async def remove_all(vm: VirtualMachine, *, user: str, chain: int) -> None:
    """RemoveAllSnapshots_Task; fine without any."""
    vm_life.check_reachable(vm)
    world = vm.world
    with vm_life.held(vm, chain) as own:
        await world.clock.sleep(world.service(Timing).snapshot)
        with world.commit(user, chain=own) as tx:
            forget(tx, vm)


def forget(tx: Transaction, vm: VirtualMachine) -> None:
    """Inside a commit: the VM has no snapshots any more."""
    if vm.snapshots:
        _take_out(tx, vm, list(vm.snapshots))


def _branch(snapshot: VmSnapshot) -> list[VmSnapshot]:
    return [snapshot, *(item for child in snapshot.below for item in _branch(child))]


def _take_out(tx: Transaction, vm: VirtualMachine, gone: list[VmSnapshot]) -> None:
    names = {item.moid for item in gone}

    def kept_above(snapshot: VmSnapshot | None) -> VmSnapshot | None:
        while snapshot is not None and snapshot.moid in names:
            snapshot = snapshot.above
        return snapshot

    kept = tuple(item for item in vm.snapshots if item.moid not in names)
    current = kept_above(vm.current_snapshot)
    for item in kept:
        above = kept_above(item.above)
        if above is not item.above:
            tx.set(item, above=above)
            if above is not None:
                tx.touch(above, "childSnapshot")
    for item in gone:
        if item.above is not None and item.above.moid not in names:
            tx.touch(item.above, "childSnapshot")
    tx.set(vm, snapshots=kept, current_snapshot=current)
    for item in gone:
        tx.remove(item)


def _check_there(snapshot: VmSnapshot) -> None:
    if snapshot.world.get(snapshot.moid) is not snapshot:
        message = "The object has already been deleted or has not been completely created"
        raise fault(vmodl.fault.ManagedObjectNotFound, message, obj=snapshot.ref)


def rename(snapshot: VmSnapshot, *, name: str | None, description: str | None, user: str) -> None:
    """RenameSnapshot; an unset value stays."""
    vm = snapshot.vm
    if name is not None:
        _check_name(vm, name)
    changed = {key: value for key, value in (("name", name), ("description", description)) if value is not None}
    with snapshot.world.commit(user) as tx:
        if tx.set(snapshot, **changed):
            tx.touch(vm, "snapshot")


async def revert(
    vm: VirtualMachine,
    *,
    snapshot: VmSnapshot | None,
    host: HostSystem | None,
    stay_off: bool,
    user: str,
    chain: int,
) -> None:
    """RevertToSnapshot_Task and RevertToCurrentSnapshot_Task (``snapshot`` None).

    NotFound without a current one. A VM that comes back running is placed as any power-on is.
    """
    vm_life.check_reachable(vm)
    aim = snapshot or vm.current_snapshot
    if aim is None:
        raise fault(vim.fault.NotFound, "The virtual machine has no current snapshot.")
    world = vm.world
    with vm_life.held(vm, chain) as own:
        await world.clock.sleep(world.service(Timing).snapshot)
        vm_life.check_reachable(vm)
        _check_there(aim)
        runs = aim.power_state == "poweredOn" and not stay_off
        wanted = aim.power_state if runs or aim.power_state != "poweredOn" else "poweredOff"
        with world.commit(user, chain=own) as tx:
            was_on = vm.power_state == "poweredOn"
            if was_on:
                vm_life.stopped(tx, vm)
            _bring_back(tx, vm, aim)
            if runs:
                target = drs.host_for_power_on(vm, host)
                if target is not vm.host:
                    move_to_host(tx, vm, target)
                vm_life.started(tx, vm)
            elif wanted != vm.power_state:
                vm_life.stopped(tx, vm, wanted)
            if was_on and not runs:
                ended = vim.event.VmSuspendedEvent if wanted == "suspended" else vim.event.VmPoweredOffEvent
                tx.event(inventory_event(ended, vm))


def _bring_back(tx: Transaction, vm: VirtualMachine, snapshot: VmSnapshot) -> None:
    """Cards go back to their ports, or as ``bind_port`` does with those that return and find them gone or taken."""
    state = dict(snapshot.state)
    nics, disks = state.pop("nics"), state.pop("disks")
    set_nics(tx, vm, tuple(_card(tx, vm, nic) for nic in nics), returning=True)
    set_disks(tx, vm, disks)
    tx.set(
        vm,
        **state,
        current_snapshot=snapshot,
        change_version=vm.change_version + 1,
        modified=vm.world.clock.now(),
    )


def _card(tx: Transaction, vm: VirtualMachine, nic: NicState) -> NicState:
    """A card whose network is gone has none; one that never left its port keeps what it has there now."""
    if nic.network is None or tx.world.get(nic.network.moid) is not nic.network:
        return dataclasses.replace(nic, connected=False, network=None, port_key="", connection_cookie=0)
    now = next((item for item in vm.nics if item.key == nic.key), None)
    stays = now is not None and now.network is nic.network and now.port_key == nic.port_key
    cookie = now.connection_cookie if now is not None and stays else nic.connection_cookie
    return dataclasses.replace(nic, connected=False, connection_cookie=cookie)


def returned(tx: Transaction, vm: VirtualMachine, filed: tuple[VmSnapshot, ...], current: VmSnapshot | None) -> None:
    """Inside a commit: a VM that is registered again has the snapshots its files tell of, under new ids."""
    renewed: dict[str, VmSnapshot] = {}
    for old in filed:
        above = renewed[old.above.moid] if old.above is not None else None
        renewed[old.moid] = dataclasses.replace(old, moid=tx.world.new_id(VmSnapshot.prefix), vm=vm, above=above)
        tx.add(renewed[old.moid])
    if renewed:
        tx.set(
            vm,
            snapshots=tuple(renewed.values()),
            current_snapshot=renewed[current.moid] if current is not None else None,
            last_snapshot=max(item.number for item in renewed.values()),
        )
