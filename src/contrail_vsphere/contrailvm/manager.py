"""The ContrailVM Manager as one object: what ``app`` composes and what the control API and the command line talk to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from random import Random

from contrail_vsphere.contrailvm.account import Account
from contrail_vsphere.contrailvm.apply import Applier, resolve_batcher
from contrail_vsphere.contrailvm.attachment import Attachment
from contrail_vsphere.contrailvm.backends import Backends, Caches
from contrail_vsphere.contrailvm.bootstrap.enrolment import EnrolmentOffice
from contrail_vsphere.contrailvm.controller import ContrailVmController
from contrail_vsphere.contrailvm.deeds import Deeds, VmEvent
from contrail_vsphere.contrailvm.desired import Key, key_of_agency
from contrail_vsphere.contrailvm.doors import EamDoor, SystemVmDoor, VCenterDoor
from contrail_vsphere.contrailvm.fenced import FencedEam, FencedVCenter
from contrail_vsphere.contrailvm.ground import Ground
from contrail_vsphere.contrailvm.live import KeepsAlive, LiveAgencies, TellsEvents
from contrail_vsphere.contrailvm.notebook import Notebook
from contrail_vsphere.contrailvm.notices.announce import Announcer, Notice
from contrail_vsphere.contrailvm.notices.certificate_alarms import note_certificates
from contrail_vsphere.contrailvm.notices.vcenter_alarms import AlarmBoard, VCenterAlarms, standing
from contrail_vsphere.contrailvm.observed import HostView, LiveInventory, marked_agencies
from contrail_vsphere.contrailvm.operator import Operator
from contrail_vsphere.contrailvm.publish.shelf import Shelf
from contrail_vsphere.contrailvm.readings import Readings
from contrail_vsphere.contrailvm.rollout.desk import RolloutDesk
from contrail_vsphere.contrailvm.rollout.losses import asked_every, is_lossy
from contrail_vsphere.contrailvm.rollout.tasks import RolloutTasks
from contrail_vsphere.contrailvm.rollout.view import runs_now, waits_for_turn
from contrail_vsphere.contrailvm.watch import STEADY, AsksVRouter, SyncedProbe, Target, VRouterWatch, nobody_owes
from contrail_vsphere.engine.brake import DeletionBrake
from contrail_vsphere.engine.fence import Fence
from contrail_vsphere.engine.health import HealthBook
from contrail_vsphere.engine.journal import RecordStore
from contrail_vsphere.engine.leader import AlwaysLeader, Leader
from contrail_vsphere.model.eam import EAM_KEY, Agency
from contrail_vsphere.model.errors import Conflict
from contrail_vsphere.model.ids import AgencyId, HostId, VmId
from contrail_vsphere.model.inventory import Change, VirtualMachine
from contrail_vsphere.model.protocols import ReadinessState
from contrail_vsphere.pki.ca import CertificateAuthority
from contrail_vsphere.pki.tokens import TokenStore
from contrail_vsphere.vsphere.own_events import EventPoster

EAM_EVENTS = "com.vmware.vim.eam."
AGENCY_EVENTS = frozenset(f"{EAM_EVENTS}agency.{name}" for name in ("create", "destroyed", "goalstate", "updated"))
"""After these an agency may be another one; the others tell of EsxAgents."""

_LOG = logging.getLogger(__name__)


class ContrailVmManager(Account):
    """Keeps one healthy ContrailVM on every host of every deployment.

    ``now`` gives aware UTC times; ``synced`` asks the plugin. Parts are handed in started; ``start`` begins to act.
    Nothing is written to vCenter or EAM while ``leader`` does not confirm that this process leads.
    """

    def __init__(
        self,
        *,
        solution_id: str,
        vcenter: VCenterDoor,
        inventory: LiveInventory,
        eam: EamDoor,
        agencies: LiveAgencies,
        journal: RecordStore,
        shelf: Shelf,
        tokens: TokenStore,
        authority: CertificateAuthority,
        introspect: AsksVRouter,
        health: HealthBook,
        now: Callable[[], datetime],
        random: Random,
        synced: SyncedProbe = nobody_owes,
        events: TellsEvents | None = None,
        registration: KeepsAlive | None = None,
        leader: Leader | None = None,
        system_vms: SystemVmDoor | None = None,
        alarms: AlarmBoard | None = None,
        check_address: bool = True,
    ) -> None:
        self.solution_id = solution_id
        self._inventory = inventory
        self._agencies = caches = Caches(agencies, system_vms.cache if system_vms is not None else None)
        self._now = now
        self._journal = journal
        self._shelf = shelf
        self._fence = Fence(leader or AlwaysLeader())
        vcenter, eam = FencedVCenter(vcenter, self.leave), FencedEam(eam, self.leave)
        backends = Backends(eam, system_vms, leave=self.leave)
        self._whole_reads_before = -1
        self.notebook = Notebook(journal)
        self.readings = Readings()
        self.brake = DeletionBrake("contrailvm", journal=journal, now=now)
        self._stops: list[Callable[[], None]] = []
        self._events = events
        self.attachment = Attachment(registration, notebook=self.notebook, leave=self.leave)
        self._resolves = resolve_batcher(backends, caches.fold)
        self.office = EnrolmentOffice(
            tokens=tokens,
            authority=authority,
            notebook=self.notebook,
            readings=self.readings,
            inventory=inventory,
            enrolled=self._enrolled,
            leave=self.leave,
            vcenter=vcenter,
            now=self.epoch,
            check_address=check_address,
        )
        self._deeds = Deeds(solution_id=solution_id, host_of=self.readings.host_of.get)
        self._announcer = Announcer(
            vcenter,
            solution_id=solution_id,
            inventory=inventory,
            deeds=self._deeds,
            host_vm=self._vm_of,
            now=now,
        )
        self.rollouts = RolloutDesk(self.notebook, now=self.epoch)
        applier = Applier(
            solution_id=solution_id,
            vcenter=vcenter,
            backends=backends,
            inventory=inventory,
            notebook=self.notebook,
            ground=Ground(solution_id, vcenter, self.notebook),
            readings=self.readings,
            fold=caches.fold,
            brake=self.brake,
            mint=self.office.mint,
            probe=shelf.probe,
            registered=self.attachment.check,
            now=self.epoch,
            resolves=self._resolves,
            rollouts=self.rollouts,
            told=self._announcer.done,
        )
        self.controller = ContrailVmController(
            solution_id=solution_id,
            inventory=inventory,
            notebook=self.notebook,
            readings=self.readings,
            applier=applier,
            publishing=shelf,
            health=health,
            random=random,
            now=self.epoch,
            blind=self.blind,
            blind_of=self._blind_of,
            features=lambda: caches.features,
            no_system_vms=backends.no_system_vms,
            nudge=caches.nudge,
            hint=caches.hint,
        )
        self.notebook.on_desired = self.controller.mark
        self.controller.on_alarm = self._announcer.alarm
        self.rollouts.told = self._announcer.rollout
        self._tasks = RolloutTasks(
            vcenter, solution_id=solution_id, notebook=self.notebook, status=self._rollout_line, blind=self.blind
        )
        self._poster = EventPoster(vcenter.call)
        self._vcenter_alarms: VCenterAlarms | None = None
        if alarms is not None:
            self._vcenter_alarms = VCenterAlarms(
                alarms,
                solution_id=solution_id,
                look=lambda: standing(self),
                poster=self._poster,
                leave=self.leave,
                now=now,
            )
        self.operator = Operator(
            controller=self.controller,
            notebook=self.notebook,
            inventory=inventory,
            shelf=shelf,
            desk=self.rollouts,
            brake=self.brake,
            blind=self.blind,
            now=self.epoch,
        )
        self.watch = VRouterWatch(
            introspect=introspect,
            synced=synced,
            notebook=self.notebook,
            targets=self._targets,
            changed=self.controller.mark,
            now=self.epoch,
        )

    def _blind_of(self, key: Key) -> str:
        """Why that key cannot be judged although others can: vLCM is minded where it may keep the ContrailVMs."""
        return "" if self.notebook.memory(key).record.backend == "eam" else self._agencies.trouble

    def not_ready(self) -> tuple[str, ...]:
        """What is missing before it does its work."""
        blind = self.blind()
        return (blind,) if blind else ()

    async def leave(self) -> None:
        """Return when all that was written to the journal would survive us, and we still lead; asked before a write.

        Raises Conflict when another process leads, Unreachable when nobody can tell.
        """
        try:
            await self._journal.durable()
        except Conflict:
            # The journal knows of a new reign before the leader does: let it hear, so that ours ends.
            await self._fence.confirm()
            raise
        await self._fence.confirm()

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to observe and to act. Caches may be warm, of a time when another process led: EAM is read anew."""
        self._whole_reads_before = self._agencies.whole_reads
        self._follow()
        self._agencies.nudge()
        if self._events is not None:
            self._stops.append(self._events.subscribe(self._event_seen))
        self.attachment.start()
        self.controller.start()
        self.watch.start()
        self._tasks.start()
        if self._vcenter_alarms is not None:
            self._vcenter_alarms.start()

    def look_on(self) -> None:
        """Observe and tell, act on nothing: for a process that stands by. ``stop`` ends it."""
        self._whole_reads_before = 0
        self._follow()
        for key in self.notebook.desired:
            # A pass would look these up; a pool that we made is named by our agency too.
            self.controller.refresh_offer(key)
            marked = marked_agencies(self.readings.by_id.values(), solution_id=self.solution_id, key=key)
            for cluster, pool in (each for reading in marked for each in reading.agency.config.resource_pools):
                if cluster == key.cluster:
                    self.notebook.set_pool(key, pool)
        self.watch.start()

    def _follow(self) -> None:
        """Fold what the caches have, and what they hear from now on, into what we know."""
        for agency in self._agencies.agencies.values():
            self.readings.read(agency, at=self.epoch())
        self._stops.append(self._inventory.subscribe(self._inventory_changed))
        self._stops.append(self._agencies.subscribe(self._agency_read))

    async def stop(self, deadline: float = 10.0) -> None:
        """Start nothing more, let what runs finish within ``deadline`` seconds."""
        for stop in self._stops:
            stop()
        self._stops.clear()
        await self.attachment.stop()
        await self._tasks.stop()
        await self.watch.stop()
        await self.controller.stop(deadline)
        await self._resolves.close(deadline)
        if self._vcenter_alarms is not None:
            await self._vcenter_alarms.stop()
        await self._announcer.stop()
        await self._poster.stop()

    async def idle(self) -> None:
        """Return once nothing is due now and nothing runs."""
        await self.controller.idle()

    def _inventory_changed(self, change: Change) -> None:
        self.controller.inventory_changed(change)
        value = change.after or change.before
        if isinstance(value, VirtualMachine) and (value.managed_by == EAM_KEY or value.id in self.readings.host_of):
            self.watch.look()
            host = self.readings.host_of.get(value.id)
            if host is not None and _took_a_step(change):
                # EAM goes on from here, perhaps into a hook in which tenants wait for us; it does not tell.
                self._agencies.hint(host)

    def _vm_of(self, key: Key, host: HostId) -> VmId | None:
        """The ContrailVM that EAM has on a host."""
        marked = marked_agencies(self.readings.by_id.values(), solution_id=self.solution_id, key=key)
        return next((agent.vm for each in marked for agent in each.agency.agents if agent.host == host), None)

    def _event_seen(self, event: VmEvent) -> None:
        """EAM tells in events what its API does not push. Only the host is sure: argument names are not documented."""
        self._deeds.see(event)
        if not event.type.startswith(EAM_EVENTS):
            return
        if event.type in AGENCY_EVENTS:
            self._agencies.nudge()
        else:
            self._agencies.hint(event.host)

    def tell(self, listener: Callable[[Notice], None]) -> None:
        """Have somebody else told what vCenter is told."""
        self._announcer.listeners.append(listener)

    # -- certificates -------------------------------------------------------------------------------------------

    def offer_again(self) -> None:
        """What is published, or what guests are told of us, has changed: tell the agencies now."""
        self.controller.offer_again()

    def note_certificates(self, advice: Mapping[str, str]) -> None:
        """What expires soon, by the certificate's name; told in vCenter when it begins and when it is over."""
        note_certificates(advice, notebook=self.notebook, tell=self._announcer.alarm)

    async def reattach(self) -> tuple[str, ...]:
        """A person wants what went with our extension made again. NotFound while it is not registered."""
        if not await self.attachment.reattach():
            return ()
        self._agencies.nudge()
        self.controller.mark_all()
        return tuple(f"{key}: its agency and ContrailVMs are made again" for key in sorted(self.notebook.desired))

    def _agency_read(self, agency_id: AgencyId, _before: Agency | None, agency: Agency | None) -> None:
        before = self.readings.by_id.get(agency_id)
        if agency is None:
            self.readings.gone(agency_id)
        else:
            self.readings.read(agency, at=self.epoch())
            self._note_backend(agency)
        seen = agency or (before.agency if before is not None else None)
        if before is None or before.agency != agency:
            self.watch.look()
        if seen is not None and (before is None or before.agency != agency or agency.status != "green"):
            # Unchanged trouble marks the key too: seeing it again is what a repair waits for.
            self.controller.agency_changed(seen.config.name)

    def _note_backend(self, agency: Agency) -> None:
        """Who keeps the ContrailVMs is remembered, so that a vLCM that is away does not stop what EAM keeps."""
        key = key_of_agency(self.solution_id, agency.config.name)
        if key not in self.notebook.desired or key is None:
            return
        before = self.notebook.memory(key).record.backend
        if before != agency.backend:
            self.notebook.update_key(key, backend=agency.backend, backend_since=self.epoch())
            if before is not None:
                _LOG.info("%s: handed over from %s to %s", key, before, agency.backend)

    def _enrolled(self, key: Key) -> None:
        self.controller.mark(key)

    def _targets(self) -> Iterable[Target]:
        """Every running ContrailVM with an address; urgent where tenants wait for it or it is down."""
        for key, desired in self.notebook.desired.items():
            if desired.removed:
                continue
            hosts = self.controller.observe(key).hosts
            rollout = self.notebook.rollouts.get(key.deployment)
            every = asked_every(rollout) if rollout is not None and rollout.state == "running" else 0.0
            in_turn = (
                frozenset(turn.host for turn in rollout.turns if turn.key == str(key)) if rollout and every else ()
            )
            suspected = rollout and any(is_lossy(each, rollout) for each in hosts if each.host.id in in_turn)
            for view in hosts:
                vm = runs_now(view)
                if vm is None or vm.power != "poweredOn" or not vm.ip_address or not view.reachable:
                    continue
                urgent = not is_ready(view, vm) or (view.hook is not None and not waits_for_turn(view))
                proving = view.host.id in in_turn
                yield Target(
                    key=key,
                    host=view.host.id,
                    address=vm.ip_address,
                    urgent=urgent,
                    vm=vm.id,
                    drops_every=every if proving else STEADY if suspected else 0.0,
                    proving=proving,
                )

    async def readiness(self, host: HostId) -> ReadinessState:
        """Ask the host's vRouter now."""
        for target in self._targets():
            if target.host == host:
                return await self.watch.ask(target)
        return ReadinessState(forwards=False, synced=False, reason="the host has no running ContrailVM with an address")


def _took_a_step(change: Change) -> bool:
    """A VM came, went, or was powered on or off."""
    before, after = change.before, change.after
    if not isinstance(before, VirtualMachine) or not isinstance(after, VirtualMachine):
        return True
    return before.power != after.power


def is_ready(view: HostView, vm: VirtualMachine) -> bool:
    """The vRouter of that very ContrailVM was asked, and tenants may come."""
    return view.vrouter is not None and view.vrouter.ready and view.vrouter.vm == vm.id
