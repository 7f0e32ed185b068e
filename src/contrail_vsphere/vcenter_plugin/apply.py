"""Does what plans say: lanes side by side, each in order, and small writes gathered into large ones.

Before anything is written, three questions: are we still the leader, is what we remember of it on disk, and, for a
deletion, does the brake permit it. Nothing is retried here: an error is the pass's, whose key is looked at again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from contrail_vsphere.engine.batcher import Batcher
from contrail_vsphere.engine.brake import DeletionBrake
from contrail_vsphere.engine.fence import Fence
from contrail_vsphere.engine.leader import Leader
from contrail_vsphere.model.dvport import DvPortEdit
from contrail_vsphere.model.errors import (
    AlreadyExists,
    Conflict,
    ContrailVsphereError,
    NotFound,
    OutOfResources,
    TransientError,
)
from contrail_vsphere.model.ids import DvsId, HostId
from contrail_vsphere.model.port_group import GroupSpec
from contrail_vsphere.vcenter_plugin.books.ledger import Ledger
from contrail_vsphere.vcenter_plugin.books.moves import Moves
from contrail_vsphere.vcenter_plugin.books.port_book import PortBook
from contrail_vsphere.vcenter_plugin.books.records import LINK_DOWN, Plug, PortRecord
from contrail_vsphere.vcenter_plugin.books.shown import Shown
from contrail_vsphere.vcenter_plugin.doors import AgentDoor, ContrailObjects, GroupDoor, MachineDoor, PortDoor
from contrail_vsphere.vcenter_plugin.hosts import HostBook
from contrail_vsphere.vcenter_plugin.identity import PortId
from contrail_vsphere.vcenter_plugin.lanes import Lanes
from contrail_vsphere.vcenter_plugin.plan.actions import (
    Action,
    AdoptVmi,
    AllowOverrides,
    Claim,
    ConfirmCards,
    CreateGroup,
    CreateIip,
    CreateVmi,
    DeleteIip,
    DeleteVm,
    DeleteVmi,
    DestroyGroup,
    EnsureVm,
    ForgetPort,
    HoldVlan,
    PlugPort,
    RefetchPort,
    Release,
    RenameGroup,
    RepairGroup,
    SetLink,
    SetMac,
    Unplug,
    WritePort,
)
from contrail_vsphere.vcenter_plugin.plan.names import escaped
from contrail_vsphere.vcenter_plugin.vlans import VlanTable

PORTS_PER_WRITE = 256
GROUPS_PER_WRITE = 50
IDLE, AGE = 0.05, 0.25
"""Seconds: a batch goes when nothing came for so long, or its oldest item has waited so long."""


CONTRAIL_TURNS, AGENT_TURNS = 64, 256
"""Calls under way, more than the clients send at once. Who waits here takes a few kilobytes; as a request half made,
ten times as much, and in a burst there are thousands."""
ContrailAction = EnsureVm | CreateVmi | AdoptVmi | SetMac | CreateIip | DeleteIip | DeleteVmi | DeleteVm


@dataclass(slots=True)
class Tally:
    """What was done since the start, for metrics and benchmarks."""

    done: dict[str, int] = field(default_factory=dict)
    moves: int = 0
    plug_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))
    """The last plugs: from the moment a card was seen in need of one and waited for nobody but us."""


class Applier:
    """Everything actions are done with; ``clock`` gives seconds, ``domain`` the hosts that a VM on a host may go to."""

    def __init__(
        self,
        *,
        ports: PortDoor,
        groups: GroupDoor,
        machines: MachineDoor,
        contrail: ContrailObjects,
        agents: AgentDoor,
        book: PortBook,
        hosts: HostBook,
        ledger: Ledger,
        vlans: VlanTable,
        shown: Shown,
        moves: Moves,
        brake: DeletionBrake,
        leader: Leader,
        domain: Callable[[HostId], frozenset[HostId]],
        population: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._ports = ports
        self._groups = groups
        self._machines = machines
        self._contrail = contrail
        self._agents = agents
        self._book = book
        self._hosts = hosts
        self._ledger = ledger
        self._vlans = vlans
        self._shown = shown
        self._moves = moves
        self._brake = brake
        self._fence = Fence(leader)
        self._domain = domain
        self._population = population
        self._clock = clock
        self.tally = Tally()
        self._contrail_turns = asyncio.Semaphore(CONTRAIL_TURNS)
        self._agent_turns = asyncio.Semaphore(AGENT_TURNS)
        self._writes: Batcher[tuple[DvsId, str], WritePort, None] = Batcher(
            self._write_ports, size=PORTS_PER_WRITE, age=AGE, idle=IDLE
        )
        self._new_groups: Batcher[DvsId, CreateGroup, None] = Batcher(
            self._create_groups, size=GROUPS_PER_WRITE, age=AGE, idle=IDLE
        )

    def lanes(self) -> Lanes:
        """For one pass."""
        return Lanes(self._lane)

    async def do(self, actions: Sequence[Action]) -> dict[str, Exception]:
        """Do them; the error of each lane that could not be finished, by lane."""
        async with self.lanes() as lanes:
            lanes.begin(actions)
            while lanes.busy:
                await lanes.settle()
        return lanes.failed

    async def close(self) -> None:
        """Let what was begun come to its end."""
        await self._writes.close(5.0)
        await self._new_groups.close(5.0)
        await self._book.close()

    async def _lane(self, actions: Sequence[Action]) -> None:
        for action in actions:
            # What is gathered into batches is confirmed there, when the batch goes; reading needs no leave.
            if not isinstance(action, WritePort | CreateGroup | RefetchPort):
                await self._fence.confirm()
            if action.deletes:
                await self._permit(action)
            await self._do(action)
            self.tally.done[action.verb] = self.tally.done.get(action.verb, 0) + 1

    async def _permit(self, action: Action) -> None:
        """Ask the brake; what counts is the port, network or VM that goes, not its parts."""
        match action:
            case DeleteVmi():
                key = f"interface {action.vmi}"
            case DestroyGroup():
                key = f"port group {action.group}"
            case _:
                return
        self._brake.permit([key], population=self._population())

    async def _do(self, action: Action) -> None:
        match action:
            case Claim():
                await self._claim(action)
            case Release() | HoldVlan() | ForgetPort():
                self._remember(action)
            case RefetchPort():
                await self._book.refetch(action.dvs, action.key)
            case WritePort():
                sight = self._hosts.sight(action.host) if action.host is not None else None
                suspect = sight is not None and not sight.reachable
                group = action.dvs, action.host if suspect and action.host else ""
                await self._writes.submit(group, action, at_once=action.at_once)
            case ConfirmCards():
                await self._confirm(action)
            case (
                EnsureVm() | CreateVmi() | AdoptVmi() | SetMac() | CreateIip() | DeleteIip() | DeleteVmi() | DeleteVm()
            ):
                async with self._contrail_turns:
                    await self._in_contrail(action)
            case PlugPort() | SetLink() | Unplug():
                async with self._agent_turns:
                    await self._at_agent(action)
            case CreateGroup():
                await self._new_groups.submit(action.dvs, action)
            case RepairGroup():
                spec = GroupSpec(
                    escaped(action.group.name),
                    action.network,
                    action.adopting,
                    virtual_macs=action.virtual_macs,
                    fq_name=action.fq_name,
                )
                await self._groups.repair(action.group, spec)
            case AllowOverrides():
                await self._groups.allow_overrides(action.group)
            case RenameGroup():
                await self._groups.rename(action.group, escaped(action.name))
            case DestroyGroup():
                await self._destroy_group(action)
            case _:
                raise TypeError(f"nobody knows how to do {action.verb}")

    async def _in_contrail(self, action: ContrailAction) -> None:
        match action:
            case EnsureVm():
                await self._contrail.ensure_vm(action)
            case CreateVmi():
                await self._contrail.create_vmi(action)
            case AdoptVmi():
                await self._contrail.adopt_vmi(action)
            case SetMac():
                await self._contrail.set_mac(action.vmi, action.mac)
            case CreateIip():
                await self._contrail.create_iip(action)
            case DeleteIip():
                await self._contrail.delete_iip(action.iip)
            case DeleteVmi():
                await self._contrail.delete_vmi(action.vmi)
            case DeleteVm():
                await self._contrail.delete_vm(action.vm)

    async def _confirm(self, action: ConfirmCards) -> None:
        """Conflict when vCenter has the VM otherwise than the plan supposes; its update is on the way."""
        found = await self._machines.cards_of(action.vm)
        believed = dict(action.believed)
        if found is not None and believed.get(found[0]) != found[1]:
            await self._machines.follow(action.vm)
            raise Conflict(f"vCenter has cards of {action.vm} that were believed gone", hint="it is looked at again")

    # -- what we remember -------------------------------------------------------------------------------------------

    async def _claim(self, action: Claim) -> None:
        try:
            vlan = self._vlans.allocate(
                action.port,
                action.host,
                domain=self._domain(action.host),
                prefer=action.prefer,
                keep=action.keep,
                shown=self._shown.beside(action.port),
                at=self._clock(),
            )
        except OutOfResources:
            if action.ahead is not None:
                self._moves.found(action.vm, action.host, frozenset(self._vlans.of(action.port).values()))
            if action.otherwise is not None:
                await self._do(action.otherwise)
            raise
        record = self._ledger.get(action.port)
        plugs = record.plugs if record is not None else ()
        record = PortRecord(action.port, action.vmi, action.dvs, action.key, plugs)
        plug = record.plug(action.host)
        if plugs and plug is None:
            self.tally.moves += 1
        self._ledger.put(self._renumbered(record, action.ahead, vlan).with_plug(plug or Plug(action.host, vlan)))

    def _remember(self, action: Release | HoldVlan | ForgetPort) -> None:
        match action:
            case Release():
                self._release(action.port, action.host)
            case HoldVlan():
                self._hold(action)
            case ForgetPort():
                for host in tuple(self._vlans.of(action.port)):
                    self._vlans.free(action.port, host, at=self._clock())
                self._ledger.drop(action.port)

    def _renumbered(self, record: PortRecord, host: HostId | None, vlan: int) -> PortRecord:
        """With that VLAN on a host that the VM is about to leave: it must not arrive in somebody else's."""
        plug = record.plug(host) if host is not None else None
        if plug is None or plug.vlan == vlan:
            return record
        if not self._vlans.renumber(record.id, plug.host, vlan, at=self._clock()):
            return record
        return record.with_plug(replace(plug, vlan=vlan, digest="", attempted=True))

    def _hold(self, action: HoldVlan) -> None:
        """What it held there before was another DVPort's."""
        record, holder = self._ledger.get(action.port), self._vlans.owner(action.host, action.vlan)
        if record is None or holder not in (None, action.port):
            return
        if holder is None:
            self._vlans.free(action.port, action.host, at=self._clock())
            self._vlans.observe(action.port, action.host, action.vlan)
        record = replace(record, dvs=action.dvs, key=action.key)
        self._ledger.put(record.with_plug(Plug(action.host, action.vlan)))

    def _release(self, port: PortId, host: HostId) -> None:
        record = self._ledger.get(port)
        if record is not None:
            self._vlans.free(record.id, host, at=self._clock())
            self._ledger.put(record.without(host))

    def _update(self, action: PlugPort | SetLink | Unplug, **values: object) -> None:
        """Note what an agent confirmed, unless the place was given up meanwhile."""
        record = self._ledger.get(action.port)
        plug = record.plug(action.host) if record is not None else None
        if record is not None and plug is not None:
            self._ledger.put(record.with_plug(replace(plug, **values)))  # type: ignore[arg-type]

    # -- VRouterAgents ----------------------------------------------------------------------------------------------

    async def _at_agent(self, action: PlugPort | SetLink | Unplug) -> None:
        try:
            match action:
                case PlugPort():
                    await self._unsure(action)
                    send = self._agents.replace if action.replace else self._agents.add
                    await send(action.address, action.values)
                    self._update(action, digest=action.digest, up=action.values.enabled)
                case SetLink():
                    await self._set_link(action)
                case Unplug():
                    await self._agents.remove(action.address, action.vmi)
                    if action.keep_vlan:
                        self._update(action, digest="", up=False, attempted=False)
                    else:
                        self._release(action.port, action.host)
        except TransientError:
            self._hosts.doubt(action.host)
            raise

    async def _unsure(self, action: PlugPort | SetLink) -> str:
        """Note that nobody will know what the agent has if we do not live to hear; returns what was known before."""
        record = self._ledger.get(action.port)
        plug = record.plug(action.host) if record is not None else None
        self._update(action, attempted=True, digest="")
        await self._ledger.durable()
        return plug.digest if plug is not None else ""

    async def _set_link(self, action: SetLink) -> None:
        known = await self._unsure(action)
        try:
            if action.up:
                await self._agents.enable(action.address, action.vmi)
            else:
                await self._agents.disable(action.address, action.vmi)
        except NotFound:
            # The agent lost it (another's doing, or an agent made anew): plug it again, if its VM runs.
            self._update(action, digest="" if action.up else LINK_DOWN, up=False)
        else:
            self._update(action, digest=known or LINK_DOWN, up=action.up)

    # -- vCenter ----------------------------------------------------------------------------------------------------

    async def _write_ports(
        self, group: tuple[DvsId, str], actions: Sequence[WritePort]
    ) -> Sequence[ContrailVsphereError | None]:
        dvs, _ = group
        await self._ledger.durable()
        await self._fence.confirm()
        last = {action.key: action for action in actions}
        edits = [DvPortEdit(one.key, one.version, one.vlan, one.blocked) for one in last.values()]
        try:
            errors = await self._ports.edit(dvs, edits)
        finally:
            # Even a write that failed may have been carried out, and one that succeeded is read back.
            for edit in edits:
                self._book.doubt(dvs, edit.key)
        of_key = dict(zip(last, errors, strict=True))
        return [
            None if isinstance(of_key[action.key], Conflict | NotFound) else of_key[action.key] for action in actions
        ]

    async def _create_groups(self, dvs: DvsId, actions: Sequence[CreateGroup]) -> Sequence[ContrailVsphereError | None]:
        await self._fence.confirm()
        specs = [
            GroupSpec(escaped(one.name), one.network, virtual_macs=one.virtual_macs, fq_name=one.fq_name)
            for one in actions
        ]
        try:
            await self._groups.create(dvs, specs)
        except AlreadyExists as error:
            if len(specs) == 1:
                return [Conflict(error.message, hint="the name is being looked at again")]
        else:
            return [None] * len(specs)
        # All or none: find out which of them cannot be made.
        return [error for action in actions for error in await self._create_groups(dvs, [action])]

    async def _destroy_group(self, action: DestroyGroup) -> None:
        """Read mark and network once more: nothing that is not ours is destroyed, and nothing that is in use."""
        if action.gone and await self._contrail.has_network(action.network):
            raise Conflict(f"Contrail has network {action.network}, which was believed gone")
        try:
            if await self._groups.mark_of(action.group) != action.network:
                raise Conflict(f"{action.group} bears our mark no more; it is left alone")
            await self._groups.destroy(action.group)
        except NotFound:
            return
