"""EamService: ties agencies, EsxAgents and the simulated inventory together.

It watches the world's commits, marks what they concern, and works on the marks in tasks of its own; every
``Timing.eam_scan`` seconds it looks at everything once more. State lives in the entities, so that a restart forgets
nothing; calls during a restart fail with EamServiceNotInitialized.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
import uuid
from collections import defaultdict
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from aiohttp.abc import AbstractResolver

from contrail_vsphere.simulator.core.entity import Entity
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.core.world import Committed, World
from contrail_vsphere.simulator.eam import config as rules
from contrail_vsphere.simulator.eam.agency import Agency
from contrail_vsphere.simulator.eam.drs_feed import DrsFeed
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
from contrail_vsphere.simulator.eam.esx_agent_manager import EsxAgentManager
from contrail_vsphere.simulator.eam.events import agency_event, agent_event
from contrail_vsphere.simulator.eam.fetch import Fetcher, Limits
from contrail_vsphere.simulator.eam.issues import Draft, IssueRecord
from contrail_vsphere.simulator.eam.maintenance import EamMaintenance
from contrail_vsphere.simulator.eam.marks import Marks
from contrail_vsphere.simulator.eam.observation import exists
from contrail_vsphere.simulator.eam.operations import Operations
from contrail_vsphere.simulator.eam.profiles import DEFAULT_PROFILE, PROFILES, Profile
from contrail_vsphere.simulator.eam.remedies import Remedies
from contrail_vsphere.simulator.eam.sessions import EamDoor
from contrail_vsphere.simulator.eam.switches import Switches
from contrail_vsphere.simulator.eam.unknown_vms import UnknownVms, vms_of
from contrail_vsphere.simulator.eam.validation import validate
from contrail_vsphere.simulator.eam.vib_work import VibWork
from contrail_vsphere.simulator.eam.worker import USER, Worker
from contrail_vsphere.simulator.vcenter.background import Background
from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource, ComputeResource
from contrail_vsphere.simulator.vcenter.extension_manager import ExtensionManager
from contrail_vsphere.simulator.vcenter.host_life import MaintenanceHooks
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.simulator.vcenter.managed_entity import fault, without
from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine
from contrail_vsphere.wire.soap.types import eam, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.calls import Call
    from contrail_vsphere.simulator.core.world import Transaction

ORPHANS = "orphans"


class EamService:
    """EAM of one vCenter. ``trust`` is the appliance's trust store for OVF URLs; without it only pins are trusted."""

    def __init__(
        self,
        world: World,
        *,
        trust: ssl.SSLContext | None = None,
        profile: str | Profile = DEFAULT_PROFILE,
        switches: Switches | None = None,
        limits: Limits | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self.world = world
        self.profile = PROFILES[profile] if isinstance(profile, str) else profile
        self.switches = switches or Switches()
        self.fetcher = Fetcher(trust=trust, verify=self.profile.verifies_tls, limits=limits, resolver=resolver)
        self.running = False
        self.worker = Worker(self)
        self.vib_work = VibWork(self)
        self.operations = Operations(self)
        self.remedies = Remedies(self)
        self.unknown = UnknownVms(self)
        self.door = world.services[EamDoor] = EamDoor(world, self.profile)
        self._marks: Marks[str] = Marks(self._work, defects=world.defects)
        self._up = asyncio.Event()
        self._keys = itertools.count(1)
        self._agent_by_vm: dict[str, EsxAgent] = {}
        self._agents_by_host: defaultdict[str, list[EsxAgent]] = defaultdict(list)
        self._scanner: asyncio.Task[None] | None = None
        self._starter: asyncio.Task[None] | None = None
        world.services[EamService] = self
        with world.commit(USER) as tx:
            self.manager = tx.add(EsxAgentManager(world=world, moid="EsxAgentManager"))
        world.finish(DrsFeed(self))
        world.observe(self._observe)
        MaintenanceHooks.of(world).register(EamMaintenance(self))
        extensions = world.get("ExtensionManager")
        if isinstance(extensions, ExtensionManager):
            extensions.on_unregister.append(self._unregistered)

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Be up at once (the window of a start is that of ``restart``)."""
        self._come_up()
        self._scanner = asyncio.get_running_loop().create_task(self._scan(), name="eam scan")

    def add_vcls(self) -> None:
        """The agencies of vCLS, one per cluster, in releases that have them in EAM; nobody's VMs hang on them here."""
        clusters = self.world.of_type(ClusterComputeResource) if self.profile.shows_vcls else ()
        for cluster in clusters:
            with self.world.commit(USER) as tx:
                tx.add(
                    Agency(
                        world=self.world,
                        moid=self.new_agent_id(),
                        config=rules.vcls_config(cluster),
                        solution_id="com.vmware.vim.eam",
                        solution_name="vSphere Cluster Services",
                        owner="vpxd-extension",
                        cluster_bound=True,
                        status="green",
                    )
                )

    async def stop(self) -> None:
        """Drop everything at once; for the end of the simulator."""
        self._go_down()
        for task in (self._starter, self._scanner):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._marks.stop()
        await self.fetcher.close()

    async def restart(self) -> None:
        """Go down now and come back after ``Timing.eam_start``; what vCenter does for EAM meanwhile goes on."""
        self._go_down()
        if self._starter is not None:
            self._starter.cancel()

        async def come_back() -> None:
            await self.world.clock.sleep(self.world.service(Timing).eam_start)
            self._come_up()

        self._starter = asyncio.get_running_loop().create_task(come_back(), name="eam start")

    async def up(self) -> None:
        """Wait until it is."""
        await self._up.wait()

    async def idle(self) -> None:
        """Wait until nothing is under way (hooks and issues wait for others and do not count)."""
        while True:
            await self._marks.idle()
            await Background.of(self.world).idle()
            await asyncio.sleep(0)
            if self._marks.is_idle:
                return

    def _go_down(self) -> None:
        self.running = False
        self._up.clear()
        self._marks.pause()

    def _come_up(self) -> None:
        self.running = True
        self._up.set()
        self._marks.resume()
        self.mark_all()

    def adopt(self) -> None:
        """Take over agencies and EsxAgents that were put into the world with an inventory; before ``start``."""
        keys = [0]
        for agency in self.agencies():
            keys += [record.key for record in agency.issues]
            for agent in agency.agents:
                self._agents_by_host[agent.host.moid].append(agent)
                keys += [record.key for record in agent.issues]
        self._keys = itertools.count(max(keys) + 1)

    # -- reading ------------------------------------------------------------------------------------------------

    def agencies(self) -> Iterator[Agency]:
        """All, oldest first."""
        return self.world.of_type(Agency)

    def agents_on(self, host: HostSystem) -> list[EsxAgent]:
        """EsxAgents of that host, of all agencies."""
        return [agent for agent in self._agents_by_host[host.moid] if self.world.get(agent.moid) is agent]

    def forget_vm(self, vm: VirtualMachine) -> None:
        """It is nobody's any more: its changes concern no EsxAgent."""
        self._agent_by_vm.pop(vm.moid, None)

    def agent_of(self, vm: VirtualMachine) -> EsxAgent | None:
        """The EsxAgent whose virtual machine it is, or was."""
        return self._agent_by_vm.get(vm.moid)

    def may_see(self, call: Call, agency: Agency) -> bool:
        """An extension sees its own agencies only, and nobody those that vLCM took over."""
        return not agency.needs_apply and (not call.extension or agency.solution_id == call.user)

    def admit(self, call: Call, entity: Entity) -> None:
        """Raise EamServiceNotInitialized while EAM loads, NotAuthorized for another extension's agency."""
        if not self.running:
            raise fault(
                eam.fault.EamServiceNotInitialized, "EAM is still loading from database. Please try again later."
            )
        self.door.saw(call)
        agency = entity if isinstance(entity, Agency) else getattr(entity, "agency", None)
        if isinstance(agency, Agency) and agency.needs_apply:
            raise fault(vmodl.fault.ManagedObjectNotFound, "The agency is managed by vLCM.", obj=entity.ref)
        if isinstance(agency, Agency) and not self.may_see(call, agency):
            self.door.unauthorized(call)
            raise fault(eam.fault.NotAuthorized, "The agency belongs to another solution.")

    def new_issue_key(self) -> int:
        """Unique in this server."""
        return next(self._keys)

    # -- agencies -----------------------------------------------------------------------------------------------

    async def validate(self, config: Any) -> None:
        """The synchronous checks of CreateAgency and Update."""
        await validate(config, world=self.world, profile=self.profile, fetcher=self.fetcher)

    def create(self, call: Call, config: Any, *, goal: str) -> Agency:
        """Register an agency that has been validated."""
        world = self.world
        with world.commit(call.user) as tx:
            agency = Agency(
                world=world,
                moid=str(uuid.UUID(int=world.random.getrandbits(128), version=4)),
                config=config,
                solution_id=call.user,
                solution_name=self._solution_name(call.user),
                owner="" if call.extension else call.user,
                goal=goal,  # type: ignore[arg-type]
            )
            tx.add(agency)
            agency_event(tx, agency, "create", "created")
            agency_event(tx, agency, "goalstate", f"its goal is {goal}")
            self.worker.settle_agency(tx, agency)
        self.mark(agency)
        return agency

    def destroy(self, agency: Agency, *, user: str) -> None:
        """Begin to remove the agency with everything it has."""
        with self.world.commit(user) as tx:
            if tx.set(agency, destroying=True):
                agency_event(tx, agency, "goalstate", "it is being destroyed")
            self.worker.settle_agency(tx, agency)
        self.refresh(agency)

    def enlist(self, tx: Transaction, agent: EsxAgent) -> None:
        """Inside a commit: an agency gets an EsxAgent."""
        tx.add(agent)
        self._agents_by_host[agent.host.moid].append(agent)
        tx.set(agent.agency, agents=(*agent.agency.agents, agent))
        agent_event(tx, agent, "agent.created", f"created for host {agent.host.name}")

    def rehost(self, tx: Transaction, agent: EsxAgent, host: HostSystem) -> None:
        """Inside a commit: an EsxAgent of a set is on another host now."""
        self._agents_by_host[agent.host.moid].remove(agent)
        self._agents_by_host[host.moid].append(agent)
        tx.set(agent, host=host)

    def forget(self, agent: EsxAgent) -> None:
        """The last step of an EsxAgent."""
        agency = agent.agency
        host_gone = self.world.get(agent.host.moid) is not agent.host
        with self.world.commit(USER) as tx:
            tx.set(agency, agents=without(agency.agents, agent))
            agent_event(tx, agent, "agent.destroyedNoHost" if host_gone else "agent.destroyed", "destroyed")
            tx.remove(agent)
            self._agents_by_host[agent.host.moid].remove(agent)
            self.worker.settle_agency(tx, agency)
        self.mark(agency)

    def drop_agency_issue(self, owner: Any, record: IssueRecord) -> bool:
        """Resolve an issue of the agency itself; its EsxAgents then try again what they waited with."""
        if record.rule.resolve == "impossible":
            return False
        if record.rule.resolve == "destroy-agency":
            self.destroy(owner, user=USER)
            return True
        with self.world.commit(USER) as tx:
            tx.set(owner, issues=tuple(item for item in owner.issues if item.key != record.key))
            agency_event(tx, owner, "statusChanged", f"{record.type} is resolved")
            self.worker.settle_agency(tx, owner)
        self.mark_agency(owner)
        return True

    def _solution_name(self, key: str) -> str:
        extensions = self.world.get("ExtensionManager")
        found = extensions.extensions.get(key) if isinstance(extensions, ExtensionManager) else None
        label = getattr(getattr(found, "description", None), "label", None)
        return str(label or key)

    def _unregistered(self, key: str) -> None:
        for agency in list(self.agencies()):
            if agency.solution_id != key or agency.owner:
                continue
            if self.switches.unregistered_extension == "destroys" or not self.profile.knows("OrphanedAgency"):
                self.destroy(agency, user=USER)
            else:
                with self.world.commit(USER) as tx:
                    self.worker.raise_agency_issue(tx, agency, Draft("OrphanedAgency"))

    # -- work ---------------------------------------------------------------------------------------------------

    def background(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        """Start something that nobody waits for."""
        Background.of(self.world).run(work, name)

    def mark(self, entity: Agency | EsxAgent) -> None:
        """Have an agency's scope, or one EsxAgent, looked at."""
        self._marks.mark(entity.moid)

    def mark_agency(self, agency: Agency) -> None:
        """Have an agency looked at with all its EsxAgents."""
        self.mark(agency)
        for agent in agency.agents:
            self.mark(agent)

    def refresh(self, agency: Agency) -> None:
        """After a change of the agency: its statuses tell of it at once, the work follows."""
        for agent in agency.agents:
            if self.running and not agent.lock.locked():
                self.worker.evaluate(agent)
        self.mark_agency(agency)

    def mark_orphans(self) -> None:
        """Have virtual machines that no agency knows removed; releases that do not, tell of them."""
        if self.profile.removes_orphans:
            self._marks.mark(ORPHANS)

    def mark_all(self) -> None:
        """Have everything looked at."""
        for agency in self.agencies():
            self.mark_agency(agency)
        self.mark_orphans()

    async def _scan(self) -> None:
        while True:
            await self.world.clock.sleep(self.world.service(Timing).eam_scan)
            self.door.sweep()
            self.unknown.scan_daily()
            self.mark_all()

    async def _work(self, key: str) -> None:
        entity = self.world.get(key)
        if key == ORPHANS:
            await self.unknown.remove_all()
        elif isinstance(entity, Agency):
            self._reconcile_scope(entity)
        elif isinstance(entity, EsxAgent):
            await self.worker.advance(entity)

    def _reconcile_scope(self, agency: Agency) -> None:
        """EsxAgents for hosts that have none; the agency itself goes with its last one when it is being destroyed."""
        world = self.world
        if agency.is_over:
            with world.commit(USER) as tx:
                agency_event(tx, agency, "destroyed", "destroyed")
                tx.remove(agency)
            return
        known = {agent.host.moid for agent in agency.agents}
        new = [
            EsxAgent(world=world, moid=self.new_agent_id(), agency=agency, host=host)
            for host in agency.wanted_hosts
            if host.moid not in known
        ]
        with world.commit(USER) as tx:
            self._forget_lost_clusters(tx, agency)
            self._settle_disabled(tx, agency)
            for agent in new:
                self.enlist(tx, agent)
            self.worker.settle_agency(tx, agency)
        for agent in agency.agents:
            if agent in new or agent.leaving:
                self.mark(agent)

    def new_agent_id(self) -> str:
        """As EAM makes them."""
        return str(uuid.UUID(int=self.world.random.getrandbits(128), version=4))

    def _forget_lost_clusters(self, tx: Any, agency: Agency) -> None:
        """A cluster that left the inventory leaves the scope."""
        refs = rules.scope_of(agency.config)
        left = [ref for ref in refs if rules.entity_of(self.world, ref) is not None]
        if len(left) != len(refs):
            tx.set(agency, config=rules.with_scope(agency.config, left))

    def _settle_disabled(self, tx: Any, agency: Agency) -> None:
        disabled = any(resource.disabled for resource in agency.scope)
        present = [item for item in agency.issues if item.type == "AgencyDisabled"]
        if disabled and not present:
            record = IssueRecord(key=self.new_issue_key(), type="AgencyDisabled", time=self.world.clock.now())
            tx.set(agency, issues=(*agency.issues, record))
        elif present and not disabled:
            tx.set(agency, issues=tuple(item for item in agency.issues if item.type != "AgencyDisabled"))

    # -- watching -----------------------------------------------------------------------------------------------

    def _observe(self, done: Committed) -> None:
        for entry in done.entries:
            entity = entry.entity
            if isinstance(entity, VirtualMachine):
                agent = self._agent_by_vm.get(entity.moid)
                if agent is not None:
                    self.mark(agent)
                    if entry.kind == "leave":
                        del self._agent_by_vm[entity.moid]
            elif isinstance(entity, EsxAgent):
                for vm in vms_of(entity):
                    if exists(entity, vm):
                        self._agent_by_vm[vm.moid] = entity
            elif isinstance(entity, HostSystem):
                for agent in self.agents_on(entity):
                    self.mark(agent)
                if entry.kind != "modify" or entry.path == "parent":
                    self._mark_scopes()
            elif isinstance(entity, ComputeResource):
                self._mark_scopes()
                for host in entity.hosts:
                    for agent in self.agents_on(host):
                        self.mark(agent)

    def _mark_scopes(self) -> None:
        for agency in self.agencies():
            self.mark(agency)
