"""Brings guests to life: whatever VM runs in the simulated world boots, and what a ContrailVM is, becomes a vRouter.

Observes commits and only marks VMs; one task then compares, per VM, whether its guest should run with whether it does.
A tenant's guest is its VMware Tools (running, heartbeat, address). A ContrailVM's guest (its OVF properties name a
manager) runs the real first-boot program against the real manager, and its VRouterAgent gets sockets of its own.

Inner points for faults: ``guest.boot`` (``drop``: it never boots; ``delay``), ``guest.heartbeat`` (``drop``: Tools
never report), ``guest.firstboot`` (``drop``: the program dies at a step; fact ``step`` names the effect),
``vrouter.connect`` (``drop``: the agent never gets a control node; ``delay``), ``vrouter.loss`` (``drop``: its vRouter
counts dropped frames from the start). Their fact ``version`` is that of the
OVF package that the VM came from.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from contrail_vsphere.simulator.core.faults import FaultBook
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.core.world import Committed, World
from contrail_vsphere.simulator.guest.machine import Disk, SimulatedMachine, drive
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.simulator.vcenter.vm_projection import tenant_address
from contrail_vsphere.simulator.vrouter.fleet import LOSS, VRouterFleet
from contrail_vsphere.wire.ovf.environment import EthernetAdapter, render_environment
from contrailvm_guest.effects import Effect, LinuxNic
from contrailvm_guest.firstboot import BIOS_UUID, FAILURES, Outcome, Policy, boot
from contrailvm_guest.ovf_environment import BadEnvironment
from contrailvm_guest.renewal import renew

log = logging.getLogger(__name__)

TRANSPORT = "com.vmware.guestInfo"
MANAGER = "manager_url"
RESTART_AFTER = 60.0
"""Seconds until systemd starts a failed first-boot program again (``RestartSec`` of its unit)."""

RENEW_EVERY = 86400.0
"""Seconds between two runs of the renewal, as its timer has it; here without the timer's random delay."""

_SLOTS = (160, 192, 224, 256)


class ProgramDied(Exception):  # noqa: N818
    """The first-boot program was killed at a step by a fault rule."""


@dataclass(slots=True, eq=False)
class Guest:
    """The guest of one VM during one power-on."""

    boot_time: datetime | None
    task: asyncio.Task[None] | None = None
    machine: SimulatedMachine | None = None
    """The ContrailVM's system; None in a tenant."""
    outcome: Outcome | None = None
    """How the first-boot program ended; None while it has not."""
    failures: list[str] = field(default_factory=list)
    """One line per failed run of the first-boot program or of the renewal, as its journal would show."""
    reported: bool = False
    """Its VMware Tools have reported."""
    programs: AsyncExitStack = field(default_factory=AsyncExitStack)
    """What runs in it besides the VRouterAgent; ends with its power."""

    def rebooted(self, vm: VirtualMachine) -> bool:
        """Whether the VM started anew since: at the same instant even, where the times are equal but Tools are gone."""
        return self.boot_time is not vm.boot_time or (self.reported and not vm.tools_running)


Program = Callable[[VirtualMachine, SimulatedMachine], AbstractAsyncContextManager[object]]
"""What a systemd unit of a ContrailVM's image runs, on what the first-boot program left on its disk."""


class GuestRuntime:
    """``policy`` is handed to the first-boot program; its default is the shipped one.

    ``programs``: what units other than the VRouterAgent run, by name; a unit that is not there does nothing.
    """

    def __init__(self, world: World, vrouters: VRouterFleet, *, policy: Policy | None = None) -> None:
        self.world = world
        self.vrouters = vrouters
        self._policy = policy
        self.programs: dict[str, Program] = {}
        self._guests: dict[str, Guest] = {}
        self._disks: dict[str, Disk] = {}
        self._marked: dict[str, VirtualMachine] = {}
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._unobserve: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Take over the world as it is: running VMs boot, except tenants whose Tools are reported already."""
        await self.vrouters.start()
        for vm in self.world.of_type(VirtualMachine):
            if vm.tools_running and not is_contrail_vm(vm):
                self._guests[vm.moid] = Guest(vm.boot_time, reported=True)
            else:
                self._mark(vm)
        self._unobserve = self.world.observe(self._observed)
        self._loop = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End every guest and every VRouterAgent."""
        self._unobserve()
        tasks = [guest.task for guest in self._guests.values() if guest.task is not None]
        tasks += [self._loop] if self._loop is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for guest in self._guests.values():
            await guest.programs.aclose()
        self._guests.clear()
        await self.vrouters.stop()

    def guest(self, vm: VirtualMachine) -> Guest | None:
        """The guest of a VM while it runs."""
        return self._guests.get(vm.moid)

    def disk(self, vm: VirtualMachine) -> Disk:
        """The guest's file system: there from the first boot until the VM is destroyed."""
        disk = self._disks.get(vm.moid)
        if disk is None:
            disk = self._disks[vm.moid] = Disk()
        return disk

    def clone_disk(self, source: VirtualMachine, copy: VirtualMachine) -> None:
        """A clone starts with what its source had on disk, enrolment included."""
        if source.moid in self._disks:
            self._disks[copy.moid] = self._disks[source.moid].copy()

    def lose_heartbeat(self, vm: VirtualMachine, *, heartbeat: str = "red") -> None:
        """VMware Tools stop reporting; the guest and its vRouter go on."""
        with self.world.commit() as tx:
            tx.set(vm, heartbeat=heartbeat)

    async def hang(self, vm: VirtualMachine) -> None:
        """The guest's kernel stops: no heartbeat, and the vRouter accepts connections without ever answering."""
        self.lose_heartbeat(vm)
        if vm.moid in self.vrouters.agents:
            self.vrouters.hang(vm.moid)

    def recover(self, vm: VirtualMachine) -> None:
        """Undo ``lose_heartbeat`` and ``hang``."""
        self.lose_heartbeat(vm, heartbeat="green")
        if vm.moid in self.vrouters.agents:
            self.vrouters.hang(vm.moid, hung=False)

    # -- from commits to guests ---------------------------------------------------------------------------------

    def _observed(self, done: Committed) -> None:
        for entry in done.entries:
            if isinstance(entry.entity, VirtualMachine):
                self._mark(entry.entity)
            elif isinstance(entry.entity, HostSystem):
                for vm in entry.entity.vms:
                    self._mark(vm)

    def _mark(self, vm: VirtualMachine) -> None:
        self._marked[vm.moid] = vm
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            marked, self._marked = self._marked, {}
            for vm in marked.values():
                await self._settle(vm)

    async def _settle(self, vm: VirtualMachine) -> None:
        exists = self.world.get(vm.moid) is vm
        guest = self._guests.get(vm.moid)
        runs = exists and vm.guest_runs
        if guest is not None and (not runs or guest.rebooted(vm)):
            await self._end(vm, guest)
            guest = None
        if not exists:
            self._disks.pop(vm.moid, None)
            await self.vrouters.remove(vm.moid)
        elif runs and guest is None:
            guest = self._guests[vm.moid] = Guest(vm.boot_time)
            guest.task = asyncio.get_running_loop().create_task(self._live(vm, guest))
        elif not runs and vm.power_state != "poweredOn":
            self._report(vm, tools_running=False, heartbeat="gray", guest_ip="")

    async def _end(self, vm: VirtualMachine, guest: Guest) -> None:
        del self._guests[vm.moid]
        if guest.task is not None:
            guest.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await guest.task
        await guest.programs.aclose()
        if vm.moid in self.vrouters.agents:
            await self.vrouters.kill(vm.moid)

    def _report(self, vm: VirtualMachine, **state: Any) -> None:
        """Commit what vCenter sees of the guest, if it is news."""
        if any(getattr(vm, name) != value for name, value in state.items()):
            with self.world.commit() as tx:
                tx.set(vm, **state)

    # -- the life of a guest ------------------------------------------------------------------------------------

    async def _live(self, vm: VirtualMachine, guest: Guest) -> None:
        try:
            await self._boot(vm, guest)
        except Exception:
            log.exception("the guest of %s (%s) died in the simulator", vm.name, vm.moid)
            raise

    async def _boot(self, vm: VirtualMachine, guest: Guest) -> None:
        timing: Timing = self.world.service(Timing)
        contrail = is_contrail_vm(vm)
        if contrail:
            guest.machine = self._machine(vm, timing)
        if await self._fails("guest.boot", vm):
            return
        await self.world.clock.sleep(timing.guest_boot)
        if not vm.guest_runs:
            return
        address = guest.machine.address if guest.machine is not None else tenant_address(vm.moid)
        if not await self._fails("guest.heartbeat", vm):
            self._report(vm, tools_running=True, heartbeat="green", guest_ip=address)
            guest.reported = True
        if guest.machine is not None:
            await self._serve(vm, guest, guest.machine)

    async def _serve(self, vm: VirtualMachine, guest: Guest, machine: SimulatedMachine) -> None:
        """What systemd does in a ContrailVM: run the first-boot program until it succeeds, then the vRouter agent."""
        while guest.outcome is None:
            try:
                guest.outcome = await drive(boot(self._policy), self._performer(vm, machine))
            except (*FAILURES, BadEnvironment, ProgramDied) as failed:
                guest.failures.append(str(failed))
                log.info("first boot of %s (%s) failed: %s", vm.name, vm.moid, failed)
                await self.world.clock.sleep(RESTART_AFTER)
        connect: float | None = self.world.service(Timing).guest_step
        if await self._fails("vrouter.connect", vm):
            connect = None
        controllers = guest.outcome.configuration.control_nodes
        loss = LOSS if await self._fails("vrouter.loss", vm) else 0.0
        await self.vrouters.add(vm.moid, controllers=controllers, connect_after=connect, loss=loss)
        for unit in guest.outcome.configuration.services:
            if unit in self.programs:
                await guest.programs.enter_async_context(self.programs[unit](vm, machine))
        await self._renew_daily(vm, guest, machine)

    async def _renew_daily(self, vm: VirtualMachine, guest: Guest, machine: SimulatedMachine) -> None:
        """What the systemd timer does as long as the guest runs; a run that failed leaves all as it was."""
        while True:
            await self.world.clock.sleep(RENEW_EVERY)
            try:
                await drive(renew(self._policy), self._performer(vm, machine))
            except (*FAILURES, BadEnvironment, ProgramDied) as failed:
                guest.failures.append(str(failed))
                log.info("the certificate of %s (%s) is not renewed: %s", vm.name, vm.moid, failed)

    def _performer(self, vm: VirtualMachine, machine: SimulatedMachine) -> Callable[[Effect[Any]], Any]:
        async def perform(effect: Effect[Any]) -> Any:
            if await self._fails("guest.firstboot", vm, step=type(effect).__name__):
                raise ProgramDied(f"killed at {type(effect).__name__}")
            return await machine.perform(effect)

        return perform

    async def _fails(self, point: str, vm: VirtualMachine, **facts: str) -> bool:
        """Whether a fault rule stops the guest here; its delay is waited for."""
        effect = self.world.service(FaultBook).point(point, vm, version=vm.product_version, **facts)
        if effect is None:
            return False
        if effect.rule.delay:
            await self.world.clock.sleep(effect.rule.delay)
        return bool(effect.rule.drop or effect.rule.fault)

    def _machine(self, vm: VirtualMachine, timing: Timing) -> SimulatedMachine:
        disk = self.disk(vm)
        disk.write(BIOS_UUID, vm.bios_uuid.upper().encode() + b"\n", 0o400)
        nics = sorted(vm.nics, key=lambda nic: nic.unit)
        adapters = [EthernetAdapter(nic.mac, nic.network.name if nic.network else "", nic.unit) for nic in nics]
        document = render_environment(properties=vm.ovf_environment, adapters=adapters, vm_id=vm.moid)
        return SimulatedMachine(
            clock=self.world.clock,
            disk=disk,
            environment=document.encode() if TRANSPORT in vm.ovf_transport else None,
            nics=tuple(LinuxNic(interface_name(n), nic.mac) for n, nic in enumerate(nics)),
            address=self.vrouters.address_of(vm.moid),
            step=timing.guest_step,
        )


def is_contrail_vm(vm: VirtualMachine) -> bool:
    """Whether its OVF properties name a manager: what the ContrailVM's image would go by."""
    names = vm.ovf_environment or vm.vapp_properties
    return any(key == MANAGER or key.endswith("." + MANAGER) for key in names)


def interface_name(number: int) -> str:
    """Name that Linux gives the n-th vmxnet3 of a VMware VM, by PCI slot: ens160, ens192, ens224, ens256, ens161 ..."""
    return f"ens{_SLOTS[number % 4] + number // 4}"
