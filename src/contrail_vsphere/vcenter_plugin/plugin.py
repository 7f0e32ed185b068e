"""The plugin for one vCenter as one object: its parts put together, its state restored, its loops started.

Starting is observing first: nothing is decided before both inventories are whole, the DVPorts of all port groups of
ours are read, and every VLAN that a switch or the ledger knows is claimed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from contrail_vsphere.contrail.config_api import ConfigApi
from contrail_vsphere.contrail.inventory import ContrailInventory
from contrail_vsphere.engine.brake import DeletionBrake
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.journal import RecordStore
from contrail_vsphere.engine.leader import Leader
from contrail_vsphere.model.errors import ContrailVsphereError, InvalidState, NotReadyYet
from contrail_vsphere.model.ids import HostId
from contrail_vsphere.model.protocols import HostEntry, ReadinessState
from contrail_vsphere.vcenter_plugin.agent_audit import AgentAudit
from contrail_vsphere.vcenter_plugin.apply import Applier
from contrail_vsphere.vcenter_plugin.books.ledger import Ledger
from contrail_vsphere.vcenter_plugin.books.port_book import PortBook
from contrail_vsphere.vcenter_plugin.books.shown import Shown
from contrail_vsphere.vcenter_plugin.contrail_objects import MachineObjects
from contrail_vsphere.vcenter_plugin.controller import PluginController
from contrail_vsphere.vcenter_plugin.doors import AgentDoor, IntrospectDoor
from contrail_vsphere.vcenter_plugin.hosts import HostBook
from contrail_vsphere.vcenter_plugin.identity import Identity
from contrail_vsphere.vcenter_plugin.notices.herald import Herald
from contrail_vsphere.vcenter_plugin.notices.troubles import Trouble, troubles
from contrail_vsphere.vcenter_plugin.observed import Observed
from contrail_vsphere.vcenter_plugin.options import DEFAULTS, PluginOptions
from contrail_vsphere.vcenter_plugin.plan.migration import Migration, migration
from contrail_vsphere.vcenter_plugin.plan.networks import NetworkPolicy
from contrail_vsphere.vcenter_plugin.plan.sights import PortPolicy
from contrail_vsphere.vcenter_plugin.port_watch import EVENTS, PortWatch
from contrail_vsphere.vcenter_plugin.vlans import Capacity, VlanTable
from contrail_vsphere.vsphere.alarms import Alarms
from contrail_vsphere.vsphere.dvports import DvPorts
from contrail_vsphere.vsphere.machine_search import MachineSearch
from contrail_vsphere.vsphere.own_events import EventPoster
from contrail_vsphere.vsphere.port_groups import PortGroups
from contrail_vsphere.vsphere.vcenter import VCenter

__all__ = ["EVENTS", "PluginOptions", "VCenterPlugin"]

_LOG = logging.getLogger(__name__)


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
        options: PluginOptions = DEFAULTS,
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
            holder=self.vlans.owner,
            clock=clock,
            scope=options.scope,
        )
        shown = Shown(self.book, self.vlans, inventory)
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
            shown=shown,
            moves=self.observed.moves,
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
                linger=options.patience,
                spread=bool(options.scope.hosts),
                writes_contrail=options.mode == "vcenter-only",
            ),
            health=health,
            random=random,
            now=now,
        )
        self.ports = PortWatch(
            vsphere=inventory,
            controller=self.controller,
            vlans=self.vlans,
            shown=shown,
            clock=clock,
            foreign=options.migrate,
        )
        self._herald = Herald(
            EventPoster(vcenter.call),
            Alarms(vcenter),
            key=options.extension_key,
            look=self.troubles,
            observed=self.observed,
            now=now,
        )
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
        await self._find_those_who_left()
        self._unsubscribe = [
            self.vcenter.inventory.subscribe(self.ports.vsphere_changed),
            self.contrail.subscribe(self.controller.contrail_changed),
            self.vcenter.events.subscribe(self.ports.event),
        ]
        self.observed.rebuild()
        self.book.on_change = self.ports.port_changed
        self.vcenter.guests.on_change = self.ports.guest_changed
        self.hosts.on_change = self.controller.host_changed
        await self.hosts.first_answers()
        self.ports.reserve()
        for record in self.ledger.all():
            for plug in record.plugs:
                self.vlans.observe(record.id, plug.host, plug.vlan)
        for until, host, vlan in self.ledger.rests():
            left = (until - self._now()).total_seconds()
            # A clock that was set back must not lock VLANs up for longer than they rest.
            self.vlans.rest(host, vlan, until=self._clock() + min(left, self.options.quarantine))
        await self.ports.read()
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

    async def _find_those_who_left(self) -> None:
        """VMs that we remember and do not see are gone, or elsewhere: it must be known before anything is undone."""
        if self.vcenter.reach is None:
            return
        self.vcenter.reach.unfinished = self.observed.has_business
        seen = {vm.instance_uuid for vm in self.vcenter.inventory.vms.values()}
        for instance in {record.id.vm for record in self.ledger.all()}:
            if str(instance) not in seen:
                await self.vcenter.inventory.find(instance)

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
        await self.ports.stop()
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
        self.ports.reserve()
        await self.ports.read()
        self.controller.mark_all()

    async def refresh(self) -> None:
        """Read the ports of all port groups of ours, and of others whose ports may have VLANs of their own."""
        await self.ports.read()

    async def adopt(self, networks: Collection[str] = ()) -> Migration:
        """Take over what predecessors left for these networks (none: all selected); returns what that was.

        Their ports are read first, so that no VLAN which one of them has is given to another.
        """
        if self.options.mode != "vcenter-only":
            raise InvalidState("OpenStack makes the port groups", hint="see adopt_existing in [plugin]")
        if self.observed.blind:
            raise NotReadyYet(self.observed.blind, hint="try again")
        await self.ports.read()
        found = migration(self.observed, networks=networks)
        errors = await self.applier.do(found.actions)
        for error in errors.values():
            raise error
        self.controller.mark_all()
        return found

    # -- what is heard ----------------------------------------------------------------------------------------------

    def _rests(self, host: HostId, vlan: int) -> None:
        """A VLAN was given up: whoever acts after us must let it rest too."""
        now = self._now()
        self.ledger.rest(host, vlan, until=now + timedelta(seconds=self.options.quarantine), now=now)

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
        known = self.started and self.controller.has_looked
        if not known:
            reason = "the plugin has not looked at every VM yet"
        return ReadinessState(forwards=sight.forwards, synced=known and not owed, reason=reason)

    def capacity(self, host: HostId) -> Capacity:
        """VLANs of a host."""
        return self.vlans.capacity(host, at=self._clock())

    def troubles(self) -> tuple[Trouble, ...]:
        """What an operator has to act on."""
        at, capacities = self._capacities
        if not capacities or self._clock() >= at + self.options.resync:
            busy = {host for port in self.controller.states if (host := port.host) is not None}
            self._capacities = self._clock(), {host: self.capacity(host) for host in busy}
        return troubles(
            ports=self.controller.states,
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
