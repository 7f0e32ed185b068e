"""What happens to a VM: power, guest shutdown, reconfiguration, rename, removal.

Every coroutine takes the user and the event chain it works for, raises SoapFault, and changes the world in commits that
carry the events of that change. One operation holds a VM at a time; a second one gets TaskInProgress, as in vCenter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter import drs, pool_usage, vm_passthrough, vm_projection, vm_reconfigure
from contrail_vsphere.simulator.vcenter.background import Background
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.simulator.vcenter.vm_wiring import connect_nics, detach, move_to_host
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction, World
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine

NEWEST_HARDWARE = "vmx-21"
"""What ESXi 8.0 U2 and later run."""
HARDWARE = re.compile(r"vmx-\d{2}")


@contextmanager
def held(vm: VirtualMachine, chain: int | None) -> Iterator[int]:
    """Hold the VM for one operation; gives the event chain to use. Raises TaskInProgress when it is held already."""
    if vm.busy_chain:
        raise _in_progress(vm)
    own = chain if chain is not None else vm.world.new_chain()
    vm.busy_chain = own
    try:
        yield own
    finally:
        vm.busy_chain = 0


def _in_progress(vm: VirtualMachine) -> SoapFault:
    from contrail_vsphere.simulator.vcenter.task import TaskManager

    message = "The operation cannot be performed because another task is in progress."
    manager = vm.world.services.get(TaskManager)
    for task in manager.recent if manager is not None else ():
        if task.chain == vm.busy_chain and not task.over:
            return fault(vim.fault.TaskInProgress, message, task=task.ref)
    return fault(vim.fault.InvalidState, message)


def check_exists(vm: VirtualMachine) -> None:
    """Raise ManagedObjectNotFound for a VM that went away in the meantime."""
    if vm.world.get(vm.moid) is not vm:
        message = "The object has already been deleted or has not been completely created"
        raise fault(vmodl.fault.ManagedObjectNotFound, message, obj=vm.ref)


def check_reachable(vm: VirtualMachine) -> None:
    """Raise unless vCenter can talk to the VM's host."""
    check_exists(vm)
    if vm.connection_state != "connected" or vm.host is None or vm.host.connection_state != "connected":
        raise fault(vim.fault.InvalidState, "The operation is not allowed in the current connection state of the host.")


def check_power(vm: VirtualMachine, *, allowed: tuple[str, ...], requested: str) -> None:
    """Raise InvalidPowerState unless the VM is in one of these states."""
    if vm.power_state not in allowed:
        raise fault(
            vim.fault.InvalidPowerState,
            "The attempted operation cannot be performed in the current state "
            f"({vm.power_state.replace('powered', 'Powered ').replace('suspended', 'Suspended')}).",
            requestedState=requested,
            existingState=vm.power_state,
        )


async def power_on(
    world: World, vm: VirtualMachine, *, host: HostSystem | None = None, user: str = "", chain: int | None = None
) -> None:
    """Power on, or resume. DRS takes another host when the VM's own refuses it; an EsxAgent never moves."""
    check_reachable(vm)
    check_power(vm, allowed=("poweredOff", "suspended"), requested="poweredOn")
    if vm.template:
        raise fault(vim.fault.InvalidState, "A template cannot be powered on.")
    with held(vm, chain) as own:
        try:
            target = drs.host_for_power_on(vm, host)
            with world.commit(user, chain=own) as tx:
                if target is not vm.host:
                    move_to_host(tx, vm, target)
                starting = vim.event.VmResumingEvent if vm.power_state == "suspended" else vim.event.VmStartingEvent
                tx.event(inventory_event(starting, vm))
            await world.clock.sleep(world.service(Timing).power_on)
            check_reachable(vm)
            drs.check_host(vm, target)
            pool_usage.check_room(vm, vm.resource_pool)
            vm_passthrough.check(vm, target)
        except SoapFault as error:
            if world.get(vm.moid) is vm:
                with world.commit(user, chain=own) as tx:
                    tx.event(inventory_event(vim.event.VmFailedToPowerOnEvent, vm, reason=error.fault))
            raise
        with world.commit(user, chain=own) as tx:
            started(tx, vm)


def started(tx: Transaction, vm: VirtualMachine) -> None:
    """Inside a commit: the VM runs from now on; the guest sees the OVF properties of this moment."""
    host = vm.host
    assert host is not None  # noqa: S101 - power_on checked it
    declared = {vm_projection.full_id(info): str(info.defaultValue or "") for info in vm.vapp_property_info}
    tx.set(
        vm,
        power_state="poweredOn",
        boot_time=vm.world.clock.now(),
        suspend_time=None,
        restart_on_boot=False,
        started_on=host,
        ovf_environment={**declared, **vm.vapp_properties},
    )
    connect_nics(tx, vm, powered=True)
    by_drs = host.compute_resource.drs and not vm.esx_agent
    tx.event(inventory_event(vim.event.DrsVmPoweredOnEvent if by_drs else vim.event.VmPoweredOnEvent, vm))


def stopped(tx: Transaction, vm: VirtualMachine, state: str = "poweredOff") -> None:
    """Inside a commit: the guest does not run any more."""
    tx.set(
        vm,
        power_state=state,
        boot_time=None,
        suspend_time=vm.world.clock.now() if state == "suspended" else None,
        tools_running=False,
        heartbeat="gray",
        guest_ip="",
        guest_hostname="",
    )
    connect_nics(tx, vm, powered=False)


async def power_off(world: World, vm: VirtualMachine, *, user: str = "", chain: int | None = None) -> None:
    """Pull the plug."""
    check_reachable(vm)
    check_power(vm, allowed=("poweredOn", "suspended"), requested="poweredOff")
    with held(vm, chain) as own:
        with world.commit(user, chain=own) as tx:
            tx.event(inventory_event(vim.event.VmStoppingEvent, vm))
        await world.clock.sleep(world.service(Timing).power_off)
        check_reachable(vm)
        with world.commit(user, chain=own) as tx:
            stopped(tx, vm)
            tx.event(inventory_event(vim.event.VmPoweredOffEvent, vm))


async def suspend(world: World, vm: VirtualMachine, *, user: str = "", chain: int | None = None) -> None:
    """Suspend to disk."""
    check_reachable(vm)
    check_power(vm, allowed=("poweredOn",), requested="suspended")
    with held(vm, chain) as own:
        with world.commit(user, chain=own) as tx:
            tx.event(inventory_event(vim.event.VmSuspendingEvent, vm))
        await world.clock.sleep(world.service(Timing).suspend)
        check_reachable(vm)
        with world.commit(user, chain=own) as tx:
            stopped(tx, vm, "suspended")
            tx.event(inventory_event(vim.event.VmSuspendedEvent, vm))


async def reset(world: World, vm: VirtualMachine, *, user: str = "", chain: int | None = None) -> None:
    """Press the reset button: the guest boots anew, the power state stays."""
    check_reachable(vm)
    check_power(vm, allowed=("poweredOn",), requested="poweredOn")
    with held(vm, chain) as own:
        with world.commit(user, chain=own) as tx:
            tx.event(inventory_event(vim.event.VmResettingEvent, vm))
        await world.clock.sleep(world.service(Timing).reset)
        check_reachable(vm)
        with world.commit(user, chain=own) as tx:
            tx.set(
                vm,
                boot_time=world.clock.now(),
                tools_running=False,
                heartbeat="gray",
                guest_ip="",
                guest_hostname="",
            )


def _check_tools(vm: VirtualMachine) -> None:
    check_reachable(vm)
    check_power(vm, allowed=("poweredOn",), requested="poweredOff")
    if not vm.tools_running:
        raise fault(vim.fault.ToolsUnavailable, "VMware Tools is not running in this virtual machine.")


def shutdown_guest(world: World, vm: VirtualMachine, *, user: str = "") -> None:
    """Ask the guest to shut down; it does so a while later."""
    _check_tools(vm)
    with world.commit(user) as tx:
        tx.event(inventory_event(vim.event.VmGuestShutdownEvent, vm))
        chain = tx.chain

    async def shut_down() -> None:
        booted = vm.boot_time
        await world.clock.sleep(world.service(Timing).guest_shutdown)
        if world.get(vm.moid) is vm and vm.guest_runs and vm.boot_time == booted:
            with world.commit(user, chain=chain) as tx:
                stopped(tx, vm)
                tx.event(inventory_event(vim.event.VmPoweredOffEvent, vm))

    Background.of(world).run(shut_down(), f"guest shutdown of {vm.name}")


def reboot_guest(world: World, vm: VirtualMachine, *, user: str = "") -> None:
    """Ask the guest to reboot; it does so a while later."""
    _check_tools(vm)
    with world.commit(user) as tx:
        tx.event(inventory_event(vim.event.VmGuestRebootEvent, vm))

    async def reboot() -> None:
        await world.clock.sleep(world.service(Timing).guest_shutdown)
        if world.get(vm.moid) is vm and vm.guest_runs:
            with world.commit(user) as tx:
                tx.set(vm, boot_time=world.clock.now(), tools_running=False, heartbeat="gray", guest_ip="")

    Background.of(world).run(reboot(), f"guest reboot of {vm.name}")


def standby_guest(world: World, vm: VirtualMachine, *, user: str = "") -> None:
    """Ask the guest to go to standby; the VM is suspended a while later."""
    _check_tools(vm)
    with world.commit(user) as tx:
        tx.event(inventory_event(vim.event.VmGuestStandbyEvent, vm))
        chain = tx.chain

    async def stand_by() -> None:
        booted = vm.boot_time
        await world.clock.sleep(world.service(Timing).guest_shutdown)
        if world.get(vm.moid) is vm and vm.guest_runs and vm.boot_time == booted:
            with world.commit(user, chain=chain) as tx:
                stopped(tx, vm, "suspended")
                tx.event(inventory_event(vim.event.VmSuspendedEvent, vm))

    Background.of(world).run(stand_by(), f"guest standby of {vm.name}")


async def upgrade(
    world: World, vm: VirtualMachine, *, version: str | None, user: str = "", chain: int | None = None
) -> None:
    """UpgradeVM_Task: a newer hardware version, while off. AlreadyUpgraded when there is none to go to."""
    check_reachable(vm)
    check_power(vm, allowed=("poweredOff",), requested="poweredOff")
    wanted = version or NEWEST_HARDWARE
    if not HARDWARE.fullmatch(wanted) or int(wanted[4:]) > int(NEWEST_HARDWARE[4:]):
        raise fault(vmodl.fault.InvalidArgument, f"There is no hardware version {wanted}.", invalidProperty="version")
    if int(vm.hardware_version.removeprefix("vmx-") or 0) >= int(wanted[4:]):
        raise fault(vim.fault.AlreadyUpgraded, "The virtual hardware is up to date.")
    with held(vm, chain) as own:
        await world.clock.sleep(world.service(Timing).reconfigure)
        check_reachable(vm)
        with world.commit(user, chain=own) as tx:
            tx.set(vm, hardware_version=wanted, change_version=vm.change_version + 1, modified=world.clock.now())
            tx.event(inventory_event(vim.event.VmUpgradeCompleteEvent, vm, version=wanted))


async def reconfigure(world: World, vm: VirtualMachine, spec: Any, *, user: str = "", chain: int | None = None) -> None:
    """Apply a VirtualMachineConfigSpec: all of it or nothing."""
    check_exists(vm)
    vm_reconfigure.check(vm, spec)
    with held(vm, chain) as own:
        await world.clock.sleep(world.service(Timing).reconfigure)
        check_exists(vm)
        vm_reconfigure.check(vm, spec)
        with world.commit(user, chain=own) as tx:
            vm_reconfigure.apply(tx, vm, spec)


async def rename(world: World, vm: VirtualMachine, name: str, *, user: str = "", chain: int | None = None) -> None:
    """Give the VM another name."""
    check_exists(vm)
    vm.check_new_name(name)
    with held(vm, chain) as own:
        await world.clock.sleep(world.service(Timing).rename)
        check_exists(vm)
        vm.check_new_name(name)
        with world.commit(user, chain=own) as tx:
            vm.apply_rename(tx, name)


async def destroy(world: World, vm: VirtualMachine, *, user: str = "", chain: int | None = None) -> None:
    """Delete the VM and its files; it must not run."""
    check_reachable(vm)
    check_power(vm, allowed=("poweredOff", "suspended"), requested="poweredOff")
    with held(vm, chain) as own:
        await world.clock.sleep(world.service(Timing).destroy)
        check_reachable(vm)
        check_power(vm, allowed=("poweredOff", "suspended"), requested="poweredOff")
        with world.commit(user, chain=own) as tx:
            detach(tx, vm, files=True)


def unregister(world: World, vm: VirtualMachine, *, user: str = "") -> None:
    """Take the VM out of the inventory; its files stay. A running VM is refused."""
    check_exists(vm)
    check_power(vm, allowed=("poweredOff", "suspended"), requested="poweredOff")
    if vm.busy_chain:
        raise _in_progress(vm)
    from contrail_vsphere.simulator.vcenter.vm_register import file_away

    with world.commit(user) as tx:
        file_away(tx, vm)
        detach(tx, vm, files=False)
