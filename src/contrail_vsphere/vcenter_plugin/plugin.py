"""The plugin for one vCenter as one object: its parts put together, its state restored, its loops started.

Starting is observing first: nothing is decided before both inventories are whole, the DVPorts of all port groups of
ours are read, and every VLAN that a switch or the ledger knows is claimed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Literal
from uuid import UUID

from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.inventory import ContrailInventory
from contrail_vsphere.engine.brake import DeletionBrake
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.journal import RecordStore
from contrail_vsphere.engine.leader import Leader
from contrail_vsphere.model.dvport import DvPort
from contrail_vsphere.model.errors import ContrailVsphereError, InvalidState, NotReadyYet
from contrail_vsphere.model.ids import DvsId, HostId, NetworkId, VmId
from contrail_vsphere.model.inventory import Change, Network
from contrail_vsphere.model.protocols import HostEntry, ReadinessState
from contrail_vsphere.vcenter_plugin.agent_audit import AgentAudit
from contrail_vsphere.vcenter_plugin.apply import Applier
from contrail_vsphere.vcenter_plugin.books.ledger import Ledger
from contrail_vsphere.vcenter_plugin.books.moves import BEGINS, FAILS
from contrail_vsphere.vcenter_plugin.books.port_book import PortBook
from contrail_vsphere.vcenter_plugin.contrail_objects import MachineObjects
from contrail_vsphere.vcenter_plugin.controller import PluginController
from contrail_vsphere.vcenter_plugin.desired import Scope, Selection, instance_of
from contrail_vsphere.vcenter_plugin.doors import AgentDoor, IntrospectDoor
from contrail_vsphere.vcenter_plugin.hosts import HostBook
from contrail_vsphere.vcenter_plugin.identity import Identity, PortId, Scheme
from contrail_vsphere.vcenter_plugin.notices.herald import Herald
from contrail_vsphere.vcenter_plugin.notices.troubles import Trouble, troubles
from contrail_vsphere.vcenter_plugin.observed import Observed
from contrail_vsphere.vcenter_plugin.plan.migration import Migration, migration
from contrail_vsphere.vcenter_plugin.plan.networks import NetworkPolicy
from contrail_vsphere.vcenter_plugin.plan.sights import PortPolicy
from contrail_vsphere.vcenter_plugin.vlans import QUARANTINE, Capacity, VlanTable
from contrail_vsphere.vsphere.alarms import Alarms
from contrail_vsphere.vsphere.dvports import DvPorts
from contrail_vsphere.vsphere.events import Event
from contrail_vsphere.vsphere.machine_search import MachineSearch
from contrail_vsphere.vsphere.own_events import EventPoster
from contrail_vsphere.vsphere.port_groups import PortGroups
from contrail_vsphere.vsphere.vcenter import VCenter

EVENTS = (
    "DvsPortReconfiguredEvent", "DvsPortConnectedEvent", "DvsPortDisconnectedEvent", "DvsPortBlockedEvent",
    "DvsPortUnblockedEvent", "DvsPortDeletedEvent", "DvsPortLeavePortgroupEvent", "DvsPortJoinPortgroupEvent",
    *BEGINS, *FAILS,
)  # fmt: skip
"""Events after which the ports they name are read again, and those that tell of moves."""
ROLE_BLOB = "net.juniper.contrail.role"
"""On the ContrailVMs' own trunk, whose range is everybody's."""
SWEEP = 300.0
"""Seconds after which objects of a VM that is gone are cleared up whose own plugin has not done so."""
Mode = Literal["vcenter-only", "vcenter-as-compute"]
"""Who leads: Contrail and vCenter alone, or OpenStack, which then makes networks, port groups and interfaces."""
WIDEST = 1000
"""A trunk of more VLANs than that reserves nothing: it is a carrier, not a user."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PluginOptions:
    """What the operator decides; times in seconds."""

    mode: Mode = "vcenter-only"
    selection: Selection = field(default_factory=Selection)
    scheme: Scheme = "native"
    adopt_existing: bool = False
    migrate: bool = False
    rename: bool = True
    virtual_macs: bool = False
    linger: float = 10.0
    reserved_vlans: frozenset[int] = field(default=frozenset())
    quarantine: float = QUARANTINE
    resync: float = 300.0
    brake_absolute: int = 10
    brake_fraction: float = 0.1
    scope: Scope = field(default_factory=Scope)
    extension_key: str = ""
    """Of our extension, whose events tell vCenter what an operator must act on; empty: vCenter is told nothing."""


class VCenterPlugin:
    """Give it its outside worlds, ``start`` it, ``stop`` it."""

    def __init__(
        self,
        *,
        vcenter: VCenter,
        contrail: ContrailInventory,
        api: ConfigApi,
        agents: AgentDoor,
        introspect: IntrospectDoor,
        directory: Callable[[], Iterable[HostEntry]],
        journal: RecordStore,
        leader: Leader,
        health: HealthBook,
        now: Callable[[], datetime],
        random: Random,
        options: PluginOptions = PluginOptions(),
    ) -> None:
        self.options = options
        self.vcenter = vcenter
        self.contrail = contrail
        self._now = now
        clock = asyncio.get_running_loop().time
        self._clock = clock
        inventory = vcenter.inventory
        self.hosts = HostBook(hosts=lambda: inventory.hosts, directory=directory, introspect=introspect)
        ports = DvPorts(vcenter)
        self.book = PortBook(ports)
        self.ledger = Ledger(journal)
        self.vlans = VlanTable(reserved=options.reserved_vlans, quarantine=options.quarantine)
        self.vlans.on_rest = self._rests
        self.brake = DeletionBrake(
            "plugin",
            journal=journal,
            now=now,
            absolute=options.brake_absolute,
            fraction=options.brake_fraction,
            window=timedelta(minutes=5),
        )
        identity = Identity(UUID(vcenter.about.instanceUuid), options.scheme)
        self.observed = Observed(
            vsphere=inventory,
            contrail=contrail,
            guests=vcenter.guests,
            book=self.book,
            ledger=self.ledger,
            selection=replace(options.selection, by_name=options.mode == "vcenter-as-compute"),
            identity=identity,
            host=self.hosts.sight,
            clock=clock,
            scope=options.scope,
        )
        self.applier = Applier(
            ports=ports,
            groups=PortGroups(vcenter),
            machines=MachineSearch(vcenter),
            contrail=MachineObjects(api, contrail),
            agents=agents,
            book=self.book,
            hosts=self.hosts,
            ledger=self.ledger,
            vlans=self.vlans,
            brake=self.brake,
            leader=leader,
            domain=self._domain,
            population=lambda: len(contrail.vmis),
            clock=clock,
        )
        self.controller = PluginController(
            observed=self.observed,
            applier=self.applier,
            networks=NetworkPolicy(
                adopt_existing=options.adopt_existing,
                rename=options.rename,
                virtual_macs=options.virtual_macs,
                migrate=options.migrate,
                makes=options.mode == "vcenter-only",
            ),
            ports=PortPolicy(
                identity=identity,
                linger=_linger(options),
                spread=bool(options.scope.hosts),
                writes_contrail=options.mode == "vcenter-only",
            ),
            health=health,
            random=random,
            now=now,
        )
        self._herald = Herald(
            EventPoster(vcenter.call),
            Alarms(vcenter),
            key=options.extension_key,
            look=self.troubles,
            observed=self.observed,
            now=now,
        )
        self._reading: set[asyncio.Task[None]] = set()
        self._capacities: tuple[float, dict[HostId, Capacity]] = (0.0, {})
        self._health = health
        self._unsubscribe: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self.started = False

    # -- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Observe everything, then begin to act. Both inventories must have been started.

        Whoever takes over from another plugin must know what that one did last, or it would do it again.
        """
        await self.vcenter.inventory.ready()
        await self.contrail.caught_up()
        self._unsubscribe = [
            self.vcenter.inventory.subscribe(self._vsphere_changed),
            self.contrail.subscribe(self.controller.contrail_changed),
            self.vcenter.events.subscribe(self._event),
        ]
        self.observed.rebuild()
        self.book.on_change = self._port_changed
        self.vcenter.guests.on_change = self._guest_changed
        self.hosts.on_change = self.controller.host_changed
        await self.hosts.first_answers()
        self._reserve()
        for record in self.ledger.all():
            for plug in record.plugs:
                self.vlans.observe(record.id, plug.host, plug.vlan)
        for until, host, vlan in self.ledger.rests():
            left = (until - self._now()).total_seconds()
            # A clock that was set back must not lock VLANs up for longer than they rest.
            self.vlans.rest(host, vlan, until=self._clock() + min(left, self.options.quarantine))
        await self._read_ports()
        mark = self.controller.machines.mark
        await self.hosts.first_audits(
            AgentAudit(ledger=self.ledger, observed=self.observed, vlans=self.vlans, mark=mark)
        )
        self.hosts.start()
        self.controller.start()
        self.started = True
        if self.options.extension_key:
            self._herald.start()
        self._task = asyncio.create_task(self._resync(), name="plugin-resync")

    async def stop(self, deadline: float = 10.0) -> None:
        """Act no more; what runs gets ``deadline`` seconds."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe = []
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._herald.stop()
        for reading in self._reading:
            reading.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        await self.controller.stop(deadline)
        await self.applier.close()
        await self.hosts.stop()
        self.ledger.close()
        self.started = False

    async def _resync(self) -> None:
        """Whatever was not heard of is found here."""
        while True:
            await asyncio.sleep(self.options.resync)
            try:
                await self.resync()
            except ContrailVsphereError as error:
                _LOG.warning("the ports could not be read again: %s", error)

    async def resync(self) -> None:
        """Read the ports of all port groups of ours, and look at every key."""
        self._reserve()
        await self._read_ports()
        self.controller.mark_all()

    async def refresh(self) -> None:
        """Read the ports of all port groups of ours, and of others whose ports may have VLANs of their own."""
        await self._read_ports()

    async def adopt(self, networks: Collection[str] = ()) -> Migration:
        """Take over what predecessors left for these networks (none: all selected); returns what that was.

        Their ports are read first, so that no VLAN which one of them has is given to another.
        """
        if self.options.mode != "vcenter-only":
            raise InvalidState("OpenStack makes the port groups", hint="see adopt_existing in [plugin]")
        if self.observed.blind:
            raise NotReadyYet(self.observed.blind, hint="try again")
        await self._read_ports()
        found = migration(self.observed, networks=networks)
        errors = await self.applier.do(found.actions)
        for error in errors.values():
            raise error
        self.controller.mark_all()
        return found

    async def _read_ports(self) -> None:
        scope, inventory = self.options.scope, self.vcenter.inventory
        hosts = {host.id for host in inventory.hosts.values() if scope.serves(host)} if not scope.whole else set()
        if not scope.whole and not hosts:
            return
        switches = {dvs.id for dvs in self.observed.switches().values()}
        groups: dict[DvsId, set[NetworkId]] = {}
        for group in inventory.networks.values():
            # Ports of other port groups may have VLANs of their own too, which are then not free on their hosts.
            ours = self.observed.selection.network_of(group) is not None
            if group.dvs in switches and (ours or (group.vlan_override and not group.uplink)):
                groups.setdefault(group.dvs, set()).add(group.id)
        for dvs, wanted in groups.items():
            await self.book.fetch_groups(dvs, wanted, hosts=hosts)

    # -- what is heard ----------------------------------------------------------------------------------------------

    def _vsphere_changed(self, change: Change) -> None:
        if isinstance(change.before or change.after, Network):
            self._reserve()
        self.controller.vsphere_changed(change)

    def _event(self, event: Event) -> None:
        for key in event.ports:
            if event.dvs is not None:
                self.book.doubt(event.dvs, key)
                port = self.book.get(event.dvs, key)
                self.controller.port_changed(port, port)
                if self.options.migrate and not self._is_ours(port):
                    self._read_soon(event.dvs, key)
        moving = self.observed.moves.hear(event)
        vm = self.vcenter.inventory.vms.get(moving) if moving is not None else None
        instance = instance_of(vm) if vm is not None else None
        if instance is not None:
            self.controller.machines.mark(instance)

    def _is_ours(self, port: DvPort | None) -> bool:
        group = self.vcenter.inventory.networks.get(port.group) if port is not None else None
        return group is not None and self.observed.selection.network_of(group) is not None

    def _read_soon(self, dvs: DvsId, key: str) -> None:
        """A predecessor may have given it a VLAN, which is then not free on its host."""
        if dvs in {each.id for each in self.observed.switches().values()}:
            task = asyncio.create_task(self.book.refetch(dvs, key), name="plugin-foreign-port")
            self._reading.add(task)
            task.add_done_callback(self._has_read)

    def _has_read(self, task: asyncio.Task[None]) -> None:
        self._reading.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.info("a port that is not ours could not be read, the next resync will: %s", error)

    def _guest_changed(self, vm: VmId) -> None:
        value = self.vcenter.inventory.vms.get(vm)
        instance = instance_of(value) if value is not None else None
        if instance is not None:
            self.controller.machines.mark(instance)

    def _port_changed(self, before: DvPort | None, after: DvPort | None) -> None:
        """Keep the VLAN table true to what switches show, then look at the VMs."""
        for port in (before, after):
            owner = self._owner(port)
            if port is None or owner is None or self.ledger.get(owner) is not None:
                continue
            if port is after and port.vlan and port.blocked is not True and port.host is not None:
                self.vlans.observe(owner, port.host, port.vlan)
            elif port is before and port.host is not None and self._gave_up(before, after, owner):
                self.vlans.free(owner, port.host, at=self._clock())
        self.controller.port_changed(before, after)

    def _gave_up(self, before: DvPort, after: DvPort | None, owner: PortId) -> bool:
        """Whether what it held where it was is free: nobody of ours would have to say so."""
        return after is None or self._owner(after) != owner or (after.host, after.vlan) != (before.host, before.vlan)

    def _owner(self, port: DvPort | None) -> PortId | None:
        vm = self.vcenter.inventory.vms.get(port.vm) if port is not None and port.vm is not None else None
        instance = instance_of(vm) if vm is not None else None
        if port is None or port.nic is None or instance is None:
            return None
        return PortId(instance, port.nic)

    def _rests(self, host: HostId, vlan: int) -> None:
        """A VLAN was given up: whoever acts after us must let it rest too."""
        now = self._now()
        self.ledger.rest(host, vlan, until=now + timedelta(seconds=self.options.quarantine), now=now)

    def _reserve(self) -> None:
        """VLANs of port groups that are not ours are theirs, on every host."""
        taken: set[int] = set()
        for group in self.vcenter.inventory.networks.values():
            if (
                group.dvs is not None
                and self.observed.selection.network_of(group) is None
                and not group.uplink
                and not group.blob(ROLE_BLOB)
            ):
                taken |= vlans_in(group.vlan)
        for host in self.vcenter.inventory.hosts:
            self.vlans.reserve(host, taken)

    def _domain(self, host: HostId) -> frozenset[HostId]:
        value = self.vcenter.inventory.hosts.get(host)
        cluster = self.vcenter.inventory.clusters.get(value.cluster) if value is not None and value.cluster else None
        return frozenset(cluster.hosts) if cluster is not None else frozenset((host,))

    # -- what is asked ----------------------------------------------------------------------------------------------

    def readiness(self, host: HostId) -> ReadinessState:
        """Of a host's vRouter; *synced* when no port is owed to it."""
        sight = self.hosts.sight(host)
        if sight is None or not sight.address:
            return ReadinessState(forwards=False, synced=False, reason="no VRouterAgent is known for the host")
        owed = self.controller.owes(host)
        reason = sight.reason or (f"{len(owed)} ports are not plugged yet" if owed else "")
        return ReadinessState(forwards=sight.forwards, synced=self.started and not owed, reason=reason)

    def capacity(self, host: HostId) -> Capacity:
        """VLANs of a host."""
        return self.vlans.capacity(host, at=self._clock())

    def troubles(self) -> tuple[Trouble, ...]:
        """What an operator has to act on."""
        at, capacities = self._capacities
        if not capacities or self._clock() >= at + self.options.resync:
            busy = {host for port in self.controller.ports() if (host := port.host) is not None}
            self._capacities = self._clock(), {host: self.capacity(host) for host in busy}
        return troubles(
            ports=self.controller.ports(),
            hosts=self.hosts.sights(),
            capacity=self._capacities[1],
            pending=self.controller.pending_deletes,
            brake=self.brake.state,
            bad=self._health.bad(),
        )

    def not_ready(self) -> tuple[str, ...]:
        """Why it does not do its work; empty when it does."""
        found = [] if self.started else ["the plugin has not started"]
        return (*found, self.observed.blind) if self.observed.blind else tuple(found)


def _linger(options: PluginOptions) -> float:
    """Who serves no ports clears up after those who do, once they had time enough to do it themselves."""
    return options.linger if options.scope.ports else max(options.linger, SWEEP)


def vlans_in(text: str) -> set[int]:
    """The VLANs that a port group's setting names ("12", "10-20,30", "none"); none for a wide trunk."""
    found: set[int] = set()
    for part in text.removeprefix("pvlan ").split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            found |= set(range(int(first), int(last or first) + 1))
    return found if len(found) <= WIDEST else set()
