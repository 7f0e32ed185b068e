"""Reboot and shutdown of a host by a person: it goes down with what runs on it, and comes back or does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.vcenter import host_life
from contrail_vsphere.simulator.vcenter.inventory_events import inventory_event
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem


async def reboot(world: World, host: HostSystem, *, force: bool, user: str, chain: int | None) -> None:
    """RebootHost_Task; over once the host is back."""
    await shut_down(world, host, force=force, user=user, chain=chain, reason="reboot")
    await host_life.boot(world, host)


async def shut_down(
    world: World, host: HostSystem, *, force: bool, user: str, chain: int | None, reason: str = "shutdown"
) -> None:
    """ShutdownHost_Task: InvalidState for a host that is not in maintenance mode, unless it is forced."""
    host_life.check_connected(host)
    if not host.in_maintenance and not force:
        raise fault(vim.fault.InvalidState, f"Host '{host.name}' is not in maintenance mode.")
    with world.commit(user, chain=chain) as tx:
        tx.event(inventory_event(vim.event.HostShutdownEvent, host, reason=reason))
    await host_life.crash(world, host)


def task(host: HostSystem, call: Any, *, force: bool, again: bool) -> Any:
    """The task of either."""
    work = reboot if again else shut_down
    return host.start_task(
        call,
        "reboot" if again else "shutdown",
        lambda handle: work(host.world, host, force=force, user=handle.user, chain=handle.chain),
    )
