"""What happens to a host: it is added and removed, enters and leaves maintenance mode, loses its connection, crashes.

All coroutines take the user and the event chain they work for and raise SoapFault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter import drs, dvs_members, vm_life, vm_move
from contrail_vsphere.simulator.vcenter.background import Background
from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource, ComputeResource
from contrail_vsphere.simulator.vcenter.create import join_network, make_host, make_standalone
from contrail_vsphere.simulator.vcenter.distributed_virtual_switch import DistributedVirtualPortgroup
from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import fault, without
from contrail_vsphere.simulator.vcenter.vm_wiring import detach, move_to_host
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction, World
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


class MaintenanceHook(Protocol):
    """What a solution inside the simulator (EAM) does around maintenance mode."""

    async def before_entered(self, host: HostSystem) -> None:
        """All tenants are gone; afterwards the host is in maintenance mode."""

    async def after_exit(self, host: HostSystem) -> None:
        """The host is out of maintenance mode; the task that took it out waits for this."""


class MaintenanceHooks:
    """The hooks, in the order they were registered."""

    def __init__(self) -> None:
        self.hooks: list[MaintenanceHook] = []

    def register(self, hook: MaintenanceHook) -> Callable[[], None]:
        """Add a hook; returns the way to take it out."""
        self.hooks.append(hook)
        return lambda: self.hooks.remove(hook)

    @classmethod
    def of(cls, world: World) -> MaintenanceHooks:
        """The world's own, made when it is first needed."""
        found: MaintenanceHooks = world.services.setdefault(cls, cls())
        return found


# -- joining and leaving ----------------------------------------------------------------------------------------


async def add_host(
    world: World,
    parent: ComputeResource | Folder,
    *,
    name: str,
    connect: bool = True,
    join_switches: bool = True,
    user: str = "",
    chain: int | None = None,
) -> HostSystem:
    """Add a host to a cluster, or as a standalone one to a host folder.

    It comes with a datastore of its own and mounts and networks that the others in the cluster have in common. With
    ``join_switches`` it also joins the distributed switches that all of them are in, as an administrator would see to;
    the API call alone does not do that. Raises DuplicateName, AlreadyConnected, NoHost.
    """
    if not name:
        raise fault(vim.fault.NoHost, "The host name is missing.", name=name)
    _check_host_name(world, name)
    await world.clock.sleep(world.service(Timing).add_host)
    _check_host_name(world, name)
    with world.commit(user, chain=chain) as tx:
        if isinstance(parent, Folder):
            compute = make_standalone(tx, parent, name)
            template = next((other for other in world.of_type(type(compute)) if other.hosts), None)
            peers = template.hosts if template is not None else ()
        else:
            compute, peers = parent, parent.hosts
        host = make_host(tx, compute, name=name, peers=peers)
        if join_switches and peers:
            for network in peers[0].networks:
                group = isinstance(network, DistributedVirtualPortgroup)
                if group and all(network in peer.networks for peer in peers):
                    join_network(tx, host, network)
        tx.event(inventory_event(vim.event.HostAddedEvent, host))
        if connect:
            tx.event(inventory_event(vim.event.HostConnectedEvent, host))
        else:
            tx.set(host, connection_state="disconnected")
    return host


def _check_host_name(world: World, name: str) -> None:
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem

    other = next((host for host in world.of_type(HostSystem) if host.name == name), None)
    if other is not None:
        raise fault(vim.fault.AlreadyConnected, f"The host '{name}' is already in this vCenter.", name=name)


async def remove_host(
    world: World, host: HostSystem, *, with_parent: bool = False, user: str = "", chain: int | None = None
) -> None:
    """Remove a host with the VMs registered on it; what runs there runs on.

    One of a cluster must be in maintenance mode or disconnected, unless it goes ``with_parent``: a cluster, host folder
    or datacenter that is destroyed takes its hosts along as they are.
    """
    in_cluster = isinstance(host.parent, ClusterComputeResource)
    if in_cluster and not with_parent and host.connection_state == "connected" and not host.in_maintenance:
        raise fault(vim.fault.InvalidState, "The host must be in maintenance mode or disconnected.")
    await world.clock.sleep(world.service(Timing).remove_host)
    if world.get(host.moid) is not host:
        return
    from contrail_vsphere.simulator.vcenter.vm_register import file_away

    compute = host.compute_resource
    with world.commit(user, chain=chain) as tx:
        removed = inventory_event(vim.event.HostRemovedEvent, host)
        for vm in host.vms:
            file_away(tx, vm)
            detach(tx, vm, files=False)
        for datastore in host.datastores:
            left = without(datastore.hosts, host)
            tx.set(datastore, hosts=left)
            if not left and not datastore.vms:
                datastore.leave(tx)
        for network in host.networks:
            tx.set(network, hosts=without(network.hosts, host))
            if isinstance(network, DistributedVirtualPortgroup):
                dvs_members.left(tx, network.dvs, host)
                tx.set(network.dvs, hosts=without(network.dvs.hosts, host))
        compute.set_hosts(tx, without(compute.hosts, host))
        for manager in host.managers:
            tx.remove(manager)
        tx.remove(host)
        if not in_cluster:
            compute.leave(tx)
        tx.event(removed)


# -- maintenance ------------------------------------------------------------------------------------------------


async def enter_maintenance(
    world: World,
    host: HostSystem,
    *,
    deadline: float = 0,
    powered_off_too: bool = False,
    user: str = "",
    chain: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Evacuate the tenants (DRS where it is on, else wait until somebody did), then the EsxAgents, then enter.

    ``deadline``: seconds, 0 for none; Timedout afterwards. Given up or cancelled, the host stays as it was.
    """
    check_connected(host)
    if host.in_maintenance or host.entering_maintenance:
        raise fault(vim.fault.InvalidState, f"Host '{host.name}' is already in or entering maintenance mode.")
    with world.commit(user, chain=chain) as tx:
        tx.set(host, entering_maintenance=True)
        host.compute_resource.host_changed(tx)
        tx.event(inventory_event(vim.event.EnteringMaintenanceModeEvent, host))
        own = tx.chain
    try:
        work = evacuate(world, host, powered_off_too=powered_off_too, chain=own, progress=progress)
        if deadline > 0:
            await within_deadline(world, deadline, work)
        else:
            await work
        await world.clock.sleep(world.service(Timing).enter_maintenance)
        check_connected(host)
        check_nothing_runs(host)
    except BaseException:
        if world.get(host.moid) is host:
            with world.commit(user, chain=own) as tx:
                tx.set(host, entering_maintenance=False)
                host.compute_resource.host_changed(tx)
                tx.event(inventory_event(vim.event.CanceledHostOperationEvent, host))
        raise
    with world.commit(user, chain=own) as tx:
        tx.set(host, entering_maintenance=False, in_maintenance=True)
        host.compute_resource.host_changed(tx)
        tx.event(inventory_event(vim.event.EnteredMaintenanceModeEvent, host))


def check_nothing_runs(host: HostSystem) -> None:
    if any(vm.power_state == "poweredOn" for vm in host.vms):
        raise fault(vim.fault.InvalidState, f"Virtual machines are running on '{host.name}'.")


async def within_deadline(world: World, seconds: float, work: object) -> None:
    """Simulated seconds, so the clock's own sleep decides."""
    running = asyncio.ensure_future(work)  # type: ignore[call-overload]
    limit = asyncio.ensure_future(world.clock.sleep(seconds))
    try:
        await asyncio.wait((running, limit), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            raise fault(vim.fault.Timedout, "The operation timed out.")
        running.result()
    finally:
        for task in (running, limit):
            task.cancel()
        await asyncio.gather(running, limit, return_exceptions=True)


async def evacuate(
    world: World,
    host: HostSystem,
    *,
    powered_off_too: bool,
    chain: int,
    progress: Callable[[int], None] | None,
) -> None:
    total = max(1, len(_in_the_way(host, powered_off_too=powered_off_too)))
    while tenants := _in_the_way(host, powered_off_too=powered_off_too):
        seen = world.seq
        moved = False
        for vm in tenants:
            target = drs.evacuation_target(vm)
            if target is None or vm.busy_chain:
                continue
            try:
                await vm_move.migrate_by_drs(world, vm, target, chain=chain)
            except SoapFault:
                continue  # VmFailedMigrateEvent tells why; the next change is the next chance
            moved = True
            if progress is not None:
                progress(90 * (total - len(_in_the_way(host, powered_off_too=powered_off_too))) // total)
        if not moved:
            await world.changed_after(seen)
    for hook in list(MaintenanceHooks.of(world).hooks):
        await hook.before_entered(host)
    while any(vm.power_state == "poweredOn" for vm in host.vms):
        await world.changed_after(world.seq)


def _in_the_way(host: HostSystem, *, powered_off_too: bool) -> list[VirtualMachine]:
    return [
        vm
        for vm in host.vms
        if not vm.esx_agent and (vm.power_state == "poweredOn" or (powered_off_too and not vm.template))
    ]


async def exit_maintenance(
    world: World, host: HostSystem, *, deadline: float = 0, user: str = "", chain: int | None = None
) -> None:
    """Leave maintenance mode, then wait until the EsxAgents are back (a broken EAM lets this wait for ever)."""
    check_connected(host)
    if not host.in_maintenance:
        raise fault(vim.fault.InvalidState, f"Host '{host.name}' is not in maintenance mode.")
    await world.clock.sleep(world.service(Timing).exit_maintenance)
    check_connected(host)
    with world.commit(user, chain=chain) as tx:
        tx.set(host, in_maintenance=False)
        host.compute_resource.host_changed(tx)
        tx.event(inventory_event(vim.event.ExitMaintenanceModeEvent, host))

    async def hooks() -> None:
        for hook in list(MaintenanceHooks.of(world).hooks):
            await hook.after_exit(host)

    if deadline > 0:
        await within_deadline(world, deadline, hooks())
    else:
        await hooks()


def check_connected(host: HostSystem) -> None:
    if host.world.get(host.moid) is not host or host.connection_state != "connected":
        raise fault(vim.fault.InvalidHostConnectionState, f"Host '{host.name}' is not connected.", host=host)


# -- connection and power ---------------------------------------------------------------------------------------


async def disconnect(world: World, host: HostSystem, *, user: str = "", chain: int | None = None) -> None:
    """VCenter lets go of the host; what runs there goes on."""
    if host.connection_state == "disconnected":
        raise fault(vim.fault.InvalidHostConnectionState, f"Host '{host.name}' is not connected.", host=host)
    await world.clock.sleep(world.service(Timing).disconnect_host)
    with world.commit(user, chain=chain) as tx:
        set_connection(tx, host, "disconnected")
        tx.event(inventory_event(vim.event.HostDisconnectedEvent, host, reason="userRequest"))


async def reconnect(world: World, host: HostSystem, *, user: str = "", chain: int | None = None) -> None:
    """VCenter takes the host back; fails while it is down."""
    if host.connection_state == "connected":
        raise fault(vim.fault.InvalidHostConnectionState, f"Host '{host.name}' is connected.", host=host)
    await world.clock.sleep(world.service(Timing).connect_host)
    if host.crashed or host.power_state == "standBy":
        with world.commit(user, chain=chain) as tx:
            tx.event(inventory_event(vim.event.HostReconnectionFailedEvent, host))
        raise fault(vim.fault.NoHost, f"Host '{host.name}' cannot be reached.", name=host.name)
    with world.commit(user, chain=chain) as tx:
        set_connection(tx, host, "connected")
        tx.event(inventory_event(vim.event.HostConnectedEvent, host))


def set_connection(tx: Transaction, host: HostSystem, state: str) -> None:
    tx.set(host, connection_state=state)
    host.compute_resource.host_changed(tx)
    for vm in host.vms:
        tx.set(vm, connection_state="connected" if state == "connected" else "disconnected")


async def lose_connection(world: World, host: HostSystem) -> None:
    """The management network breaks: not responding, yet all VMs run on."""
    with world.commit() as tx:
        set_connection(tx, host, "notResponding")
        tx.event(inventory_event(vim.event.HostConnectionLostEvent, host))


async def crash(world: World, host: HostSystem) -> None:
    """The host dies with everything on it. vCenter notices a little later; HA restarts tenants elsewhere."""
    with world.commit() as tx:
        tx.set(host, crashed=True)
        for vm in host.vms:
            if vm.power_state == "poweredOn":
                tx.set(vm, restart_on_boot=True, tools_running=False, heartbeat="gray", guest_ip="")
    Background.of(world).run(_after_crash(world, host), f"crash of {host.name}")


async def _after_crash(world: World, host: HostSystem) -> None:
    timing = world.service(Timing)
    await world.clock.sleep(timing.host_lost)
    if not host.crashed or world.get(host.moid) is not host:
        return
    if host.connection_state == "connected":
        with world.commit() as tx:
            set_connection(tx, host, "notResponding")
            tx.set(host, power_state="unknown", entering_maintenance=False)
            tx.event(inventory_event(vim.event.HostConnectionLostEvent, host))
    if not host.compute_resource.ha:
        return
    await world.clock.sleep(max(0.0, timing.ha_restart - timing.host_lost))
    waiting = [vm for vm in host.vms if vm.restart_on_boot and not vm.esx_agent]
    _tell_who_waits(world, [vm for vm in waiting if drs.restart_target(vm) is None])
    while waiting and host.crashed and world.get(host.moid) is host:
        for vm in list(waiting):
            gone = world.get(vm.moid) is not vm or vm.host is not host
            if gone or _restart_elsewhere(world, vm, host):
                waiting.remove(vm)
        if waiting:
            await world.changed_after(world.seq)


def _tell_who_waits(world: World, vms: list[VirtualMachine]) -> None:
    """HA has no host for these; it tries again whenever something changes, and says so once."""
    if vms:
        with world.commit() as tx:
            for vm in vms:
                reason = fault(vim.fault.NoCompatibleHost, "No host is compatible with the virtual machine.").fault
                tx.event(inventory_event(vim.event.VmFailoverFailed, vm, reason=reason))


def _restart_elsewhere(world: World, vm: VirtualMachine, source: HostSystem) -> bool:
    """HA: True when the VM runs on another host now."""
    target = drs.restart_target(vm)
    if target is None:
        return False
    with world.commit() as tx:
        vm_life.stopped(tx, vm)
        move_to_host(tx, vm, target)
        tx.set(vm, connection_state="connected")
        tx.event(inventory_event(vim.event.VmRestartedOnAlternateHostEvent, vm, sourceHost=source))
        vm_life.started(tx, vm)
    return True


async def boot(world: World, host: HostSystem) -> None:
    """A crashed or switched-off host comes back, its VMs off: EsxAgents start first, then tenants where HA is on."""
    await world.clock.sleep(world.service(Timing).host_boot)
    with world.commit() as tx:
        tx.set(host, crashed=False, power_state="poweredOn", boot_time=world.clock.now())
        set_connection(tx, host, "connected")
        tx.event(inventory_event(vim.event.HostConnectedEvent, host))
        for vm in host.vms:
            if vm.power_state == "poweredOn":
                vm_life.stopped(tx, vm)
                tx.event(inventory_event(vim.event.VmPoweredOffEvent, vm))
    for vm in sorted(host.vms, key=lambda vm: not vm.esx_agent):
        if vm.restart_on_boot and vm.power_state == "poweredOff" and (vm.esx_agent or host.compute_resource.ha):
            Background.of(world).run(_restart_on_boot(world, vm), f"restart of {vm.name}")


async def _restart_on_boot(world: World, vm: VirtualMachine) -> None:
    """Tenants wait until the EsxAgents that the host needs are available."""
    while world.get(vm.moid) is vm and vm.restart_on_boot and vm.power_state == "poweredOff" and vm.host is not None:
        if not vm.host.in_maintenance and not vm.busy_chain and drs.refusal(vm, vm.host) is None:
            await vm_life.power_on(world, vm)
            return
        await world.changed_after(world.seq)
