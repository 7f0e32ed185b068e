"""What is heard and read of the switches' ports, and which VLANs are therefore somebody's.

DVPorts are in no property stream. Events name those that changed, a change of a VM puts its own in doubt, and all of
our port groups' are read now and then; whatever that shows of VLANs is claimed before anything is given out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any
from uuid import UUID

from contrail_vsphere.model.dvport import DvPort
from contrail_vsphere.model.ids import DvsId, NetworkId, VmId
from contrail_vsphere.model.inventory import Change, Network, VirtualMachine
from contrail_vsphere.vcenter_plugin.books.moves import BEGINS, FAILS
from contrail_vsphere.vcenter_plugin.books.shown import Shown
from contrail_vsphere.vcenter_plugin.controller import PluginController
from contrail_vsphere.vcenter_plugin.desired import instance_of
from contrail_vsphere.vcenter_plugin.doors import VSphereView
from contrail_vsphere.vcenter_plugin.identity import PortId
from contrail_vsphere.vcenter_plugin.vlans import VlanTable
from contrail_vsphere.vsphere.events import Event

EVENTS = (
    "DvsPortReconfiguredEvent", "DvsPortConnectedEvent", "DvsPortDisconnectedEvent", "DvsPortBlockedEvent",
    "DvsPortUnblockedEvent", "DvsPortDeletedEvent", "DvsPortLeavePortgroupEvent", "DvsPortJoinPortgroupEvent",
    *BEGINS, *FAILS,
)  # fmt: skip
"""Events after which the ports they name are read again, and those that tell of moves."""
ROLE_BLOB = "net.juniper.contrail.role"
"""On the ContrailVMs' own trunk, whose range is everybody's."""
EXPECTED = 120.0
"""Seconds for which the VLAN of a VM that was announced is given to nobody else."""
PORTS_PER_READ = 5000
"""Ports of one answer, as far as port groups can be parted."""
WIDEST = 1000
"""A trunk of more VLANs than that reserves nothing: it is a carrier, not a user."""
_LOG = logging.getLogger(__name__)


class PortWatch:
    """``clock`` gives seconds. ``foreign``: ports of port groups that are not ours matter too (a predecessor's)."""

    def __init__(
        self,
        *,
        vsphere: VSphereView,
        controller: PluginController,
        vlans: VlanTable,
        shown: Shown,
        clock: Callable[[], float],
        foreign: bool = False,
    ) -> None:
        self._vsphere = vsphere
        self._controller = controller
        self._observed = controller.observed
        self._book = controller.observed.book
        self._vlans = vlans
        self._shown = shown
        self._clock = clock
        self._foreign = foreign
        self._reading: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Read nothing more."""
        for reading in self._reading:
            reading.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)

    async def read(self) -> None:
        """The ports of all port groups of ours, and of others whose ports may have VLANs of their own."""
        scope, inventory = self._observed.scope, self._vsphere
        hosts = {host.id for host in inventory.hosts.values() if scope.serves(host)} if not scope.whole else set()
        if not scope.whole and not hosts:
            return
        for dvs, wanted in self._groups().items():
            await self._book.fetch_groups(dvs, self._portions(wanted), hosts=hosts)

    def _portions(self, groups: Iterable[NetworkId]) -> Iterator[set[NetworkId]]:
        """Port groups to be asked about at a time: a whole large switch would be tens of megabytes in one answer."""
        portion, cards = set[NetworkId](), 0
        for group in sorted(groups):
            users = len(self._observed.index.users_of.get(group, ()))
            if portion and cards + users > PORTS_PER_READ:
                yield portion
                portion, cards = set(), 0
            portion.add(group)
            cards += users
        if portion:
            yield portion

    def _groups(self) -> dict[DvsId, set[NetworkId]]:
        """Port groups whose ports may have VLANs of their own: ours, and others, where those are not free then."""
        switches = {dvs.id for dvs in self._observed.switches().values()}
        groups: dict[DvsId, set[NetworkId]] = {}
        for group in self._vsphere.networks.values():
            ours = self._observed.selection.network_of(group) is not None
            if group.dvs in switches and (ours or (group.vlan_override and not group.uplink)):
                groups.setdefault(group.dvs, set()).add(group.id)
        return groups

    def vsphere_changed(self, change: Change) -> None:
        """Subscriber of the inventory."""
        match change.before, change.after:
            case (Network(), _) | (_, Network()):
                self.reserve()
            case VirtualMachine() as gone, None:
                self._gone(gone)
            case None, VirtualMachine() as come:
                self._come(come)
            case _:
                pass
        self._controller.vsphere_changed(change)

    def _gone(self, vm: VirtualMachine) -> None:
        """What its cards held without a record nobody gives up any more."""
        instance = instance_of(vm)
        owners = [PortId(instance, nic.key) for nic in vm.nics] if instance is not None else []
        for owner in owners:
            for host in tuple(self._vlans.of(owner)) if self._observed.ledger.get(owner) is None else ():
                self._vlans.free(owner, host, at=self._clock())

    def _come(self, vm: VirtualMachine) -> None:
        """Its ports may have been read before it was seen, or before it was out of sight."""
        switches = self._observed.switches()
        for nic in vm.nics:
            port = self._book.get(switches[nic.dvs_uuid].id, nic.port_key) if nic.dvs_uuid in switches else None
            if port is not None and port.vm == vm.id:
                self._observe(port)

    def event(self, event: Event) -> None:
        """Subscriber of vCenter's events."""
        for key in event.ports:
            if event.dvs is not None:
                self._book.doubt(event.dvs, key)
                port = self._book.get(event.dvs, key)
                self._controller.port_changed(port, port)
                if self._foreign and not self._is_ours(port):
                    self._read_soon(event.dvs, key)
        moving = self._observed.moves.hear(event)
        vm = self._vsphere.vms.get(moving) if moving is not None else None
        instance = instance_of(vm) if vm is not None else None
        if instance is not None:
            self._controller.heard_of(instance)
        if event.type in BEGINS and self._observed.scope.hosts:
            self._soon(self._look_ahead(event, instance))

    async def _look_ahead(self, event: Event, instance: UUID | None) -> None:
        """A VM moves from or to a host of ours, where another plugin gives out VLANs at the other end.

        One that leaves must not arrive in a VLAN that somebody has there; that of one that comes is given to nobody.
        """
        scope, hosts, vm = self._observed.scope, self._vsphere.hosts, event.vm
        away, here = event.destination, event.host
        if vm is None or away is None or here is None:
            return
        leaves, comes = scope.serves(hosts.get(here)), scope.serves(hosts.get(away))
        if leaves == comes:
            return
        other = away if leaves else here
        found = [
            port
            for dvs, groups in self._groups().items()
            for port in await self._book.at_other_host(dvs, groups, other)
            if port.vlan and (port.vm == vm) == comes
        ]
        if comes:
            for port in found:
                self._vlans.rest(away, port.vlan or 0, until=self._clock() + EXPECTED)
        elif instance is not None:
            self._observed.moves.found(vm, away, frozenset(port.vlan for port in found if port.vlan))
            self._controller.heard_of(instance)

    def _is_ours(self, port: DvPort | None) -> bool:
        group = self._vsphere.networks.get(port.group) if port is not None else None
        return group is not None and self._observed.selection.network_of(group) is not None

    def _read_soon(self, dvs: DvsId, key: str) -> None:
        """A predecessor may have given it a VLAN, which is then not free on its host."""
        if dvs in {each.id for each in self._observed.switches().values()}:
            self._soon(self._book.refetch(dvs, key))

    def _soon(self, reading: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(reading, name="plugin-other-ports")
        self._reading.add(task)
        task.add_done_callback(self._has_read)

    def _has_read(self, task: asyncio.Task[None]) -> None:
        self._reading.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.info("ports that are not ours could not be read: %s", error)

    def guest_changed(self, vm: VmId) -> None:
        """A guest has other addresses."""
        value = self._vsphere.vms.get(vm)
        instance = instance_of(value) if value is not None else None
        if instance is not None:
            self._controller.machines.mark(instance)

    def port_changed(self, before: DvPort | None, after: DvPort | None) -> None:
        """Keep the VLAN table true to what switches show, then look at the VMs."""
        for port in (before, after):
            owner = self._owner(port)
            if port is None or owner is None or self._observed.ledger.get(owner) is not None:
                continue
            if port is after:
                self._observe(port)
            elif port.host is not None and self._gave_up(port, after, owner):
                self._vlans.free(owner, port.host, at=self._clock())
        seen = after or before
        if seen is not None:
            self._shown.note(seen, self._owner(after))
        self._controller.port_changed(before, after)

    def _observe(self, port: DvPort) -> None:
        """What it shows is its own, unless its record says otherwise."""
        owner = self._owner(port)
        recorded = owner is not None and self._observed.ledger.get(owner) is not None
        if owner is not None and not recorded and port.vlan and port.blocked is not True and port.host is not None:
            self._vlans.observe(owner, port.host, port.vlan)

    def _gave_up(self, before: DvPort, after: DvPort | None, owner: PortId) -> bool:
        """Whether what it held where it was is free: nobody of ours would have to say so."""
        return after is None or self._owner(after) != owner or (after.host, after.vlan) != (before.host, before.vlan)

    def _owner(self, port: DvPort | None) -> PortId | None:
        vm = self._vsphere.vms.get(port.vm) if port is not None and port.vm is not None else None
        instance = instance_of(vm) if vm is not None else None
        if port is None or port.nic is None or instance is None:
            return None
        return PortId(instance, port.nic)

    def reserve(self) -> None:
        """VLANs of port groups that are not ours are theirs, on every host."""
        taken: set[int] = set()
        for group in self._vsphere.networks.values():
            if (
                group.dvs is not None
                and self._observed.selection.network_of(group) is None
                and not group.uplink
                and not group.blob(ROLE_BLOB)
            ):
                taken |= vlans_in(group.vlan)
        for host in self._vsphere.hosts:
            self._vlans.reserve(host, taken)


def vlans_in(text: str) -> set[int]:
    """The VLANs that a port group's setting names ("12", "10-20,30", "none"); none for a wide trunk."""
    found: set[int] = set()
    for part in text.removeprefix("pvlan ").split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            found |= set(range(int(first), int(last or first) + 1))
    return found if len(found) <= WIDEST else set()
