"""Standby: a host is evacuated, powered down, and can be powered up again from afar; by users and by DPM.

In standby a host does not answer (``notResponding``, as the API says that the task ends once the host stopped
responding), yet vCenter knows why. Nothing can be placed on it, and a reconnect fails until it is powered up.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.vcenter.background import Background
from contrail_vsphere.simulator.vcenter.host_life import (
    MaintenanceHooks,
    check_connected,
    check_nothing_runs,
    evacuate,
    set_connection,
    within_deadline,
)
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem


async def power_down(
    world: World,
    host: HostSystem,
    *,
    deadline: float = 0,
    powered_off_too: bool = False,
    user: str = "",
    chain: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """PowerDownHostToStandBy_Task: DRS moves the tenants where it is on, else somebody must; EsxAgents go last.

    ``deadline``: seconds, 0 for none; Timedout afterwards. Given up or cancelled, the host stays as it was.
    """
    check_connected(host)
    if host.in_maintenance or host.entering_maintenance or host.power_state != "poweredOn":
        raise fault(vim.fault.InvalidState, f"Host '{host.name}' is in or entering maintenance mode or standby.")
    with world.commit(user, chain=chain) as tx:
        tx.set(host, entering_maintenance=True, standby_change="entering")
        host.compute_resource.host_changed(tx)
        tx.event(inventory_event(vim.event.EnteringStandbyModeEvent, host))
        own = tx.chain
    try:
        await _limited(
            world, deadline, evacuate(world, host, powered_off_too=powered_off_too, chain=own, progress=progress)
        )
        await world.clock.sleep(world.service(Timing).enter_maintenance)
        check_connected(host)
        check_nothing_runs(host)
    except BaseException:
        if world.get(host.moid) is host:
            with world.commit(user, chain=own) as tx:
                tx.set(host, entering_maintenance=False, standby_change="")
                host.compute_resource.host_changed(tx)
        raise
    with world.commit(user, chain=own) as tx:
        tx.set(host, entering_maintenance=False, standby_change="", power_state="standBy", boot_time=None)
        set_connection(tx, host, "notResponding")
        tx.event(inventory_event(vim.event.EnteredStandbyModeEvent, host))


async def power_up(
    world: World, host: HostSystem, *, deadline: float = 0, user: str = "", chain: int | None = None
) -> None:
    """PowerUpHostFromStandBy_Task: boots the host, then waits until its EsxAgents are back."""
    if host.power_state != "standBy" or host.standby_change:
        raise fault(vim.fault.InvalidState, f"Host '{host.name}' is not in standby.")
    with world.commit(user, chain=chain) as tx:
        tx.set(host, standby_change="exiting")
        tx.event(inventory_event(vim.event.ExitingStandbyModeEvent, host))
        own = tx.chain
    try:
        await _limited(world, deadline, world.clock.sleep(world.service(Timing).host_boot))
    except BaseException as error:
        if world.get(host.moid) is host:
            with world.commit(user, chain=own) as tx:
                tx.set(host, standby_change="")
                if isinstance(error, SoapFault):
                    tx.event(inventory_event(vim.event.ExitStandbyModeFailedEvent, host))
        raise
    if world.get(host.moid) is not host:
        return
    with world.commit(user, chain=own) as tx:
        tx.set(host, standby_change="", power_state="poweredOn", boot_time=world.clock.now())
        set_connection(tx, host, "connected")
        tx.event(inventory_event(vim.event.ExitedStandbyModeEvent, host))
        tx.event(inventory_event(vim.event.HostConnectedEvent, host))
    for hook in list(MaintenanceHooks.of(world).hooks):
        Background.of(world).run(hook.after_exit(host), f"EsxAgents of {host.name}")


async def _limited(world: World, deadline: float, work: Coroutine[Any, Any, None]) -> None:
    if deadline > 0:
        await within_deadline(world, deadline, work)
    else:
        await work
