"""The reconcile loops of the plugin: one key per network, one per VM.

A pass looks, plans, does what is possible, and looks again, until nothing is left to do or something outside is waited
for. Changes of vCenter, Contrail, DVPorts and hosts only mark keys.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from random import Random
from uuid import UUID

from contrail_vsphere.engine.backoff import QUICK
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.reconcile import Controller, Done, Outcome, RequeueAfter
from contrail_vsphere.model.contrail import ContrailChange, ContrailVm, InstanceIp, VirtualNetwork, Vmi
from contrail_vsphere.model.dvport import DvPort
from contrail_vsphere.model.errors import Busy
from contrail_vsphere.model.ids import HostId, NetworkId, VnId
from contrail_vsphere.model.inventory import Change, Dvs, Host, Network, VirtualMachine
from contrail_vsphere.model.port_group import is_adopting
from contrail_vsphere.vcenter_plugin.apply import Applier
from contrail_vsphere.vcenter_plugin.books.port_states import PortState, PortStates
from contrail_vsphere.vcenter_plugin.desired import instance_of
from contrail_vsphere.vcenter_plugin.identity import PortId
from contrail_vsphere.vcenter_plugin.lanes import MEANWHILE, Lanes, raise_first
from contrail_vsphere.vcenter_plugin.observed import Observed
from contrail_vsphere.vcenter_plugin.plan.actions import Action, PlugPort, Wait, WritePort
from contrail_vsphere.vcenter_plugin.plan.networks import NetworkPolicy, display_name, plan_network
from contrail_vsphere.vcenter_plugin.plan.ports import LOOK_AGAIN, plan_machine
from contrail_vsphere.vcenter_plugin.plan.sights import MachineSight, PortPolicy
from contrail_vsphere.vcenter_plugin.plan.states import ACTIVE, PROVISIONING, state_of

ROUNDS = 12
"""Looks of one pass, or between two waits of it for others; a port's whole way from nothing to plugged takes five."""
GROUP_PAUSE = 0.5
"""Seconds after which a port group that was just made is looked for again, should its update be lost."""
REPEATS = 2
"""Times that the same is done again, because somebody else was faster or it does not show."""
RESYNC = 300.0
TOGETHER = 2000
"""Passes of VMs at once: so many ports share their writes when a whole site boots; bounded for memory's sake."""
ASKING = ("RefetchPort", "ConfirmCards")
"""Verbs that change nothing."""

_LOG = logging.getLogger(__name__)


class PluginController:
    """Plans and applies for one vCenter; ``start`` it when every view is complete."""

    def __init__(
        self,
        *,
        observed: Observed,
        applier: Applier,
        networks: NetworkPolicy,
        ports: PortPolicy,
        health: HealthBook,
        random: Random,
        now: Callable[[], datetime],
    ) -> None:
        self.observed = observed
        self.applier = applier
        self.network_policy = networks
        self.port_policy = ports
        self._now = now
        self.states = PortStates()
        self._pending: dict[VnId, str] = {}
        self._tried: dict[VnId, Counter[tuple[str, str]]] = {}
        """What was done for a network since there was last nothing to do for it."""
        self._unseen: set[int] = set()
        """Numbers of VMs that were not looked at yet since the start."""
        self._in_vain: dict[UUID, set[Action]] = {}
        """Writes to ports of cards that do not run which were done and do not show: one that runs takes them."""
        self._left: list[int] = []
        """Those that ``mark_all`` has not marked yet."""
        self._wanted_since: dict[PortId, float] = {}
        self._news: dict[UUID, asyncio.Future[None]] = {}
        """Of VMs whose pass waits: vCenter told something of one."""
        self.networks: Controller[VnId] = Controller(
            "network", self.reconcile_network, health=health, random=random, deadline=600.0
        )
        self.machines: Controller[UUID] = Controller(
            "vm", self.reconcile_machine, health=health, random=random, backoff=QUICK, deadline=600.0,
            concurrency=TOGETHER, tells_well=False,
        )  # fmt: skip

    # -- marks ------------------------------------------------------------------------------------------------------

    def vsphere_changed(self, change: Change) -> None:
        """Subscriber of the vSphere inventory."""
        self.observed.index.vsphere(change)
        for value in (change.before, change.after):
            match value:
                case VirtualMachine():
                    self._vm_changed(value, change)
                case Network():
                    self._group_changed(value)
                    if value is change.before and (change.after is None or change.after.name != value.name):
                        self._name_freed(value.name)
                case Dvs():
                    self.mark_all()
                case Host():
                    if change.before is None or change.after is None:
                        self.host_changed(value.id)
                case _:
                    pass

    def _vm_changed(self, vm: VirtualMachine, change: Change) -> None:
        instance = instance_of(vm)
        if instance is None:
            return
        relevant = False
        switches = self.observed.switches()
        for nic in vm.nics:
            group = self.observed.vsphere.networks.get(nic.network or NetworkId(""))
            mark = self.observed.selection.network_of(group) if group is not None else None
            if mark is not None and nic.dvs_uuid in switches:
                relevant = True
                self.observed.book.doubt(switches[nic.dvs_uuid].id, nic.port_key)
                if change.before is None or change.after is None or _cards(change.before) != _cards(change.after):
                    self.networks.mark(mark)
        if relevant or self.observed.ledger.of_vm(instance):
            self.heard_of(instance, hasten=_whereabouts(change.before) != _whereabouts(change.after))

    def heard_of(self, instance: UUID, *, hasten: bool = False) -> None:
        """Of a VM, from vCenter: its ports are looked at while its pass waits for others; ``hasten``: or has failed."""
        (self.machines.hasten if hasten else self.machines.mark)(instance)
        news = self._news.get(instance)
        if news is not None and not news.done():
            news.set_result(None)

    def _group_changed(self, group: Network) -> None:
        mark = self.observed.selection.network_of(group)
        if mark is not None:
            self.networks.mark(mark)
            for vm in self.observed.machines_on(group.id):
                self.machines.mark(vm)

    def _name_freed(self, name: str) -> None:
        """Networks of that name may have port groups that had to be called otherwise."""
        for network in self.observed.contrail.networks.values():
            if display_name(network) == name:
                self.networks.mark(network.uuid)

    def contrail_changed(self, change: ContrailChange) -> None:
        """Subscriber of the Contrail inventory."""
        self.observed.index.contrail(change)
        for value in (change.before, change.after):
            match value:
                case VirtualNetwork():
                    self.networks.mark(value.uuid)
                    for vm in self.observed.machines_in(value.uuid):
                        self.machines.mark(vm)
                case ContrailVm():
                    self._mark_if_known(value.uuid)
                case Vmi() if value.vm is not None:
                    self._mark_if_known(value.vm)
                case InstanceIp():
                    for vmi in value.vmis:
                        interface = self.observed.contrail.vmis.get(vmi)
                        if interface is not None and interface.vm is not None:
                            self._mark_if_known(interface.vm)
                case _:
                    pass

    def _mark_if_known(self, vm: UUID) -> None:
        if self.observed.machine(vm) is not None:
            self.machines.mark(vm)

    def port_changed(self, before: DvPort | None, after: DvPort | None) -> None:
        """A DVPort was read and differs."""
        for port in (before, after):
            vm = self.observed.vsphere.vms.get(port.vm) if port is not None and port.vm is not None else None
            instance = instance_of(vm) if vm is not None else None
            if instance is not None:
                self.heard_of(instance)
        group = self.observed.vsphere.networks.get(after.group) if after is not None else None
        if group is not None and is_adopting(group):
            self._group_waits(group)

    def _group_waits(self, group: Network) -> None:
        """One that is being taken over waits for its ports."""
        network = self.observed.selection.network_of(group)
        if network is not None:
            self.networks.mark(network)

    def host_changed(self, host: HostId) -> None:
        """A host came, went, or its VRouterAgent answers otherwise than before."""
        affected = {record.id.vm for record in self.observed.ledger.at_host(host)}
        affected |= {state.id.vm for state in self.states.unsettled(host)}
        for vm in affected:
            self.machines.mark(vm)

    def mark_all(self) -> None:
        """Look at everything: at as many VMs as there are passes at once, and at one more for each that begins."""
        self._in_vain.clear()
        for network in self.observed.networks():
            self.networks.mark(network)
        self._left = list(self.observed.machines())
        self._mark_some(TOGETHER)

    def _mark_some(self, most: int) -> None:
        """Keys that are due take more memory than VMs that nobody has marked yet."""
        for machine in self._left[-most:]:
            self.machines.mark(UUID(int=machine))
        del self._left[-most:]

    # -- passes -----------------------------------------------------------------------------------------------------

    async def reconcile_network(self, network: VnId) -> Outcome:
        """One network's port groups."""
        if not self.observed.scope.networks:
            return Done()
        if self.observed.blind:
            return RequeueAfter(2.0, reason=self.observed.blind)
        actions = plan_network(self.observed.network(network), self.network_policy)
        waits = [action for action in actions if isinstance(action, Wait)]
        work = [action for action in actions if not isinstance(action, Wait)]
        if waits:
            self._pending[network] = waits[0].reason
        else:
            self._pending.pop(network, None)
        if not work:
            self._tried.pop(network, None)
        else:
            tried = self._tried.setdefault(network, Counter())
            tried.update((each.verb, each.reason) for each in work)
            again = [each for each in work if tried[each.verb, each.reason] > REPEATS]
            if again:
                del self._tried[network]
                raise Busy(f"{again[0].verb} was done and does not show: {again[0].reason}")
            self._log("network", network, work)
            raise_first(await self.applier.do(work))
            # The change comes back through the inventory and marks the key; this is for the case that it is lost.
            return RequeueAfter(GROUP_PAUSE, reason=work[0].reason)
        return RequeueAfter(RESYNC, reason=waits[0].reason) if waits else Done()

    async def reconcile_machine(self, machine: UUID) -> Outcome:
        """One VM's ports."""
        self._mark_some(1)
        try:
            async with self.applier.lanes() as lanes:
                return await self._reconcile_machine(machine, lanes)
        finally:
            self._news.pop(machine, None)

    async def _reconcile_machine(self, machine: UUID, lanes: Lanes) -> Outcome:
        done: Counter[Action] = Counter()
        rounds = ROUNDS
        while rounds:
            sight = self.observed.machine(machine)
            work: list[Action] = []
            if sight is not None:
                self._follow_guest(sight)
                actions = plan_machine(sight, self.port_policy)
                self._note(sight, actions)
                self._unseen.discard(machine.int)
                work = [each for each in actions if not isinstance(each, Wait) and each.track not in lanes.failed]
                work = self._not_in_vain(machine, work, done)
                again = [each for each in work if done[_essence(each)] >= REPEATS]
                if lanes.busy:
                    work = [each for each in work if isinstance(each, MEANWHILE) and each not in again]
                elif again:
                    raise Busy(f"{again[0].verb} was done and does not show: {again[0].reason}")
                elif not work:
                    raise_first(lanes.failed)
                    self._doubt_moving(sight, actions)
                    return self._outcome(actions)
                self._log("vm", sight.name or machine, work)
                lanes.begin(work)
            elif not lanes.busy:
                self.states.put(machine, ())
                self.observed.let_go(machine)
                self._unseen.discard(machine.int)
                self._in_vain.pop(machine, None)
                return Done()
            rounds = rounds - 1 if work else ROUNDS
            self._news[machine] = news = asyncio.get_running_loop().create_future()
            ended = await lanes.settle(news)
            done.update(_essence(each) for each in ended if each.lane != "local" and each.verb not in ASKING)
            self._note_plugs(ended)
        while lanes.busy:
            self._note_plugs(await lanes.settle())
        raise_first(lanes.failed)
        return RequeueAfter(0.1, reason="there is more to do")

    def _not_in_vain(self, machine: UUID, work: Sequence[Action], done: Mapping[Action, int]) -> list[Action]:
        """Without writes to ports of cards that do not run which vCenter has lost already."""
        writes = {_essence(each) for each in work if isinstance(each, WritePort) and each.asleep}
        lost = {each for each in writes if done[each] >= REPEATS} | (self._in_vain.get(machine, set()) & writes)
        if lost:
            self._in_vain[machine] = lost
        else:
            self._in_vain.pop(machine, None)
        return [each for each in work if _essence(each) not in lost] if lost else list(work)

    def _follow_guest(self, sight: MachineSight) -> None:
        """Ask for the addresses of a guest as long as it has a card in a network whose guests bring their own."""
        cards = [port for port in sight.ports if port.wanted is not None]
        brings = any(port.network is not None and port.network.external_ipam for port in cards)
        for vm in {port.wanted.vm for port in cards if port.wanted is not None}:
            self.observed.guests.follow(vm, wanted=brings)

    def _doubt_moving(self, sight: MachineSight, actions: Sequence[Action]) -> None:
        """Nothing tells that a port has followed its VM: ask again at the next look."""
        moving = {action.port for action in actions if isinstance(action, Wait) and action.seconds == LOOK_AGAIN}
        for port in sight.ports:
            if port.id in moving and port.wanted is not None:
                self.observed.book.doubt(port.wanted.dvs, port.wanted.key)

    @staticmethod
    def _outcome(actions: Sequence[Action]) -> Outcome:
        waits = [action for action in actions if isinstance(action, Wait)]
        due = [wait.seconds for wait in waits if wait.seconds is not None]
        if due:
            return RequeueAfter(max(0.05, min(due)), reason=waits[0].reason)
        return Done()

    def _log(self, kind: str, key: object, work: Iterable[Action]) -> None:
        for action in work:
            level = logging.DEBUG if action.verb in (*ASKING, "Claim") else logging.INFO
            _LOG.log(level, "%s %s: %s (%s)", kind, key, action.verb, action.reason)

    # -- what is shown ----------------------------------------------------------------------------------------------

    def _note(self, sight: MachineSight, actions: Sequence[Action]) -> None:
        """Remember each port's state."""
        before, after = {state.id: state for state in self.states.of(sight.id)}, []
        loop_time = asyncio.get_running_loop().time()
        for port in sight.ports:
            state, reason, host = state_of(port, actions)
            if state == PROVISIONING and port.wanted is not None and port.wanted.on:
                self._wanted_since.setdefault(port.id, loop_time)
            elif state not in (PROVISIONING, ACTIVE):
                # What somebody else has to do first is not time that we take.
                self._wanted_since.pop(port.id, None)
            old = before.get(port.id)
            since = old.since if old is not None and old.state == state else self._now()
            after.append(PortState(port.id, state, reason, since, sight.name, host))
        self.states.put(sight.id, after)
        for gone in before.keys() - {each.id for each in after}:
            self._wanted_since.pop(gone, None)

    def _note_plugs(self, done: Iterable[Action]) -> None:
        for action in done:
            if isinstance(action, PlugPort):
                since = self._wanted_since.pop(action.port, None)
                if since is not None:
                    self.applier.tally.plug_seconds.append(asyncio.get_running_loop().time() - since)

    def ports(self) -> tuple[PortState, ...]:
        """Every port, by VM."""
        return tuple(self.states)

    @property
    def pending_deletes(self) -> Mapping[VnId, str]:
        """Networks whose port groups cannot go yet, and why."""
        return self._pending

    def owes(self, host: HostId) -> tuple[PortState, ...]:
        """Ports of running VMs on a host that are not plugged there yet."""
        return tuple(state for state in self.states.unsettled(host) if state.state != "OWED")

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; everything known is looked at once."""
        self.networks.start()
        self.machines.start()
        self._unseen = self.observed.machines()
        self.mark_all()

    async def stop(self, deadline: float = 10.0) -> None:
        """Start nothing more; passes that run get ``deadline`` seconds."""
        await self.networks.stop(deadline)
        await self.machines.stop(deadline)

    @property
    def has_looked(self) -> bool:
        """Every VM that was there at the start was looked at: what is owed is known."""
        return not self._unseen

    @property
    def idle(self) -> bool:
        """No pass runs or is due now."""
        return not self._left and self.networks.is_idle and self.machines.is_idle


def _cards(value: object) -> frozenset[tuple[int, NetworkId | None]]:
    return frozenset((nic.key, nic.network) for nic in value.nics) if isinstance(value, VirtualMachine) else frozenset()


def _whereabouts(value: object) -> object:
    return (value.host, value.power, value.nics) if isinstance(value, VirtualMachine) else None


def _essence(action: Action) -> Action:
    """The action without what differs from one look to the next."""
    fields: dict[str, object] = {"reason": ""}
    if hasattr(action, "version"):
        fields["version"] = ""
    return replace(action, **fields)  # type: ignore[arg-type]
