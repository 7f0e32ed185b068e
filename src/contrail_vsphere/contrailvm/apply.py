"""Does what a plan says, and nothing else: no judgement here.

Before a call that changes the world its intent is in the journal (an attempt, a creation begun), so that a crash at any
point leaves at worst an action that the next plan repeats harmlessly. Errors are raised to the caller as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from contrail_vsphere.contrailvm.bootstrap.request import either_order
from contrail_vsphere.contrailvm.desired import Build, Key, agency_name
from contrail_vsphere.contrailvm.doors import AgencyDoor, MintToken, VCenterDoor
from contrail_vsphere.contrailvm.ground import TASK_DEADLINE, Ground
from contrail_vsphere.contrailvm.notebook import Notebook
from contrail_vsphere.contrailvm.observed import InventoryView, marked_agencies
from contrail_vsphere.contrailvm.plan.actions import (
    Action,
    ApplyToHosts,
    BlockPort,
    CreateAgency,
    DestroyAgency,
    EndTurn,
    EnsureResourcePool,
    EnsureTrunkPortGroup,
    FinishRollout,
    Forget,
    GiveUpHook,
    HandOver,
    Hold,
    MarkAsAvailable,
    PowerOffContrailVm,
    ReconfigureVm,
    Refetch,
    RemoveResourcePool,
    RemoveTrunkPortGroup,
    Resolve,
    RestartContrailVm,
    SetHostAgentSettings,
    StopRollout,
    TakeTurn,
    UninstallAgency,
    UpdateAgency,
)
from contrail_vsphere.contrailvm.plan.agency import config_digest
from contrail_vsphere.contrailvm.readings import Readings
from contrail_vsphere.contrailvm.records import Attempt, AttemptKind, ConfigSent, HoldRecord, HookWork
from contrail_vsphere.contrailvm.rollout.desk import RolloutDesk
from contrail_vsphere.contrailvm.rollout.turns import build_of
from contrail_vsphere.contrailvm.vm_spec import READ, macs_after, product_version, reconfigure_spec
from contrail_vsphere.engine.batcher import Batcher
from contrail_vsphere.engine.brake import DeletionBrake
from contrail_vsphere.model.eam import Agency, VmHook
from contrail_vsphere.model.errors import Busy, InvalidState, NotFound, TransientError
from contrail_vsphere.model.ids import AgencyId, HostId
from contrail_vsphere.wire.soap.types import vim

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Applier:
    """Everything actions are done with.

    ``registered`` raises NotFound when our extension is gone; ``probe`` asks a URL of ours as EAM would; ``fold`` takes
    in what was read on the way; ``told`` hears of what was done; ``now`` is epoch seconds.
    """

    solution_id: str
    vcenter: VCenterDoor
    backends: AgencyDoor
    inventory: InventoryView
    notebook: Notebook
    ground: Ground
    readings: Readings
    fold: Callable[[Agency], None]
    brake: DeletionBrake
    mint: MintToken
    probe: Callable[[str], Awaitable[None]]
    registered: Callable[[], Awaitable[None]]
    now: Callable[[], float]
    resolves: Batcher[AgencyId, Resolve, bool]
    rollouts: RolloutDesk
    told: Callable[[Key, Action], None] = lambda _key, _action: None

    async def do(self, key: Key, actions: Sequence[Action]) -> None:
        """Do the actions of one host (or of the agency) in order; the first error ends it."""
        for action in actions:
            await self._do(key, action)

    async def _do(self, key: Key, action: Action) -> None:
        match action:
            case CreateAgency():
                await self._create(key, action)
            case UpdateAgency():
                await self._update(key, action)
            case HandOver():
                await self._hand_over(action)
            case ApplyToHosts():
                await self.backends.apply(action.agency, action.hosts)
            case UninstallAgency():
                await self._uninstall(key, action)
            case DestroyAgency():
                await self._destroy(action)
            case (
                EnsureTrunkPortGroup()
                | EnsureResourcePool()
                | RemoveTrunkPortGroup()
                | RemoveResourcePool()
                | BlockPort()
            ):
                await self.ground.do(key, action)
            case SetHostAgentSettings():
                with self._attempt(key, action.host, "settings", "EsxAgent settings"):
                    await self._settings(action)
            case ReconfigureVm():
                what = f"{action.hook} {action.vm}" if action.hook else f"drift {action.vm}"
                with self._attempt(key, action.host, "reconfigure", what):
                    await self._reconfigure(key, action)
            case MarkAsAvailable():
                await self._mark(key, action)
            case GiveUpHook():
                hook = VmHook(vm=action.vm, state=action.hook)
                await self.backends.release_hook(action.agent, hook, well=False)
            case Resolve():
                if not await self._resolve(key, action):
                    return
            case Hold():
                hold = HoldRecord(reason=action.reason, since=self.now())
                self.notebook.update_host(key, action.host, hold=hold)
            case RestartContrailVm():
                with self._attempt(key, action.host, "restart", str(action.vm)):
                    await self._boot_anew(key, action)
            case PowerOffContrailVm():
                with self._attempt(key, action.host, "power-off", str(action.vm)):
                    await self._power_off(action)
            case Refetch():
                await self.reread(action.agency)
            case Forget():
                self.notebook.forget(key)
            case TakeTurn() | EndTurn() | StopRollout() | FinishRollout():
                self.rollouts.do(key, action)
        self.told(key, action)

    async def reread(self, agency: AgencyId) -> None:
        """Read an agency now; one that is gone is forgotten."""
        try:
            self.fold(await self.backends.read_agency(agency))
        except NotFound:
            self.readings.gone(agency)

    # -- agencies -----------------------------------------------------------------------------------------------

    async def _create(self, key: Key, action: CreateAgency) -> None:
        """Look once more, by name, for the agency that a crash or a lost reply may have left; only then create."""
        for agency in await self.backends.query_agencies(self.solution_id):
            self.fold(agency)
            if agency.config.name == action.config.name:
                return
        # Somebody who unregistered us made EAM destroy our agencies: that is not an accident to be repaired.
        await self.registered()
        await self.probe(action.url)
        self.notebook.update_key(key, created_at=self.now())
        await self.reread(await self.backends.create_agency(action.config, action.backend))

    async def _update(self, key: Key, action: UpdateAgency) -> None:
        if "package" in action.changed:
            for agent in action.config.agents:
                await self.probe(agent.ovf_url)
        sent = ConfigSent(digest=config_digest(action.config), at=self.now())
        self.notebook.update_key(key, sent=sent)
        await self.backends.update_agency(action.agency, action.config)
        self.notebook.update_key(key, sent=replace(sent, accepted=True))
        await self.reread(action.agency)

    async def _hand_over(self, action: HandOver) -> None:
        """Both are read before the next plan: for a moment each might show the same ContrailVMs."""
        taken = await self.backends.hand_over(action.agency, action.config)
        await self.reread(action.agency)
        await self.reread(taken)

    async def _uninstall(self, key: Key, action: UninstallAgency) -> None:
        population = sum(each.vm is not None for r in self.readings.by_id.values() for each in r.agency.agents)
        self.brake.permit([f"{key}/{host}" for host in action.hosts], population=population)
        self.notebook.update_key(key, uninstalled_at=self.now())
        await self.backends.uninstall(action.agency)
        await self.reread(action.agency)

    async def _destroy(self, action: DestroyAgency) -> None:
        await self.backends.destroy_agency(action.agency)
        await self.reread(action.agency)

    # -- one ContrailVM -----------------------------------------------------------------------------------------

    async def _settings(self, action: SetHostAgentSettings) -> None:
        host = vim.HostSystem(action.host)
        manager = (await self.vcenter.read(host, "configManager.esxAgentHostManager")).get(
            "configManager.esxAgentHostManager"
        )
        if manager is None:
            raise InvalidState("the host has no EsxAgent host manager")
        config = vim.host.EsxAgentHostManager.ConfigInfo(
            agentVmDatastore=vim.Datastore(action.datastore) if action.datastore else None,
            agentVmNetwork=vim.Network(action.network) if action.network else None,
        )
        await self.vcenter.call(manager, "EsxAgentHostManagerUpdateConfig", configInfo=config)

    async def _reconfigure(self, key: Key, action: ReconfigureVm) -> None:
        vm = vim.VirtualMachine(action.vm)
        config = await self.vcenter.read(vm, *READ)
        properties = self._identity(key, action, config) if action.token else {}
        spec = reconfigure_spec(
            action,
            config=config,
            networks=self.inventory.networks,
            dvss=self.inventory.dvss,
            properties=properties,
        )
        task = await self.vcenter.call(vm, "ReconfigVM_Task", spec=spec)
        await self.vcenter.wait_task(task, deadline=TASK_DEADLINE)
        if action.hook is not None:
            work = HookWork(vm=action.vm, hook=action.hook, at=self.now())
            record = replace(self.notebook.host(key, action.host), prepared=work)
            build = self._build_of(key, version=product_version(config))
            if action.hook == "provisioned" and build is not None:
                own = tuple(each._moId for each in config.get("rootSnapshot") or ())
                record = record.with_built(action.vm, build, snapshots=own)
            self.notebook.put_host(key, action.host, record)

    def _build_of(self, key: Key, *, version: str) -> Build | None:
        """What a ContrailVM in its hook was made from, else what EAM makes them from now; None where it is neither.

        ``version`` is what the VM itself says: EAM may have begun it before it was given another package.
        """
        desired, offer = self.notebook.desired.get(key), self.notebook.offers.get(key)
        marked = marked_agencies(self.readings.by_id.values(), solution_id=self.solution_id, key=key)
        entry = marked[0].agency.config.agents[0] if marked and marked[0].agency.config.agents else None
        if desired is None or entry is None:
            return None
        wanted, rollout = build_of(desired), self.notebook.rollouts.get(key.deployment)
        before = rollout.build_before(key) if rollout is not None and rollout.active else None
        if before is not None and before.package.version != wanted.package.version:
            said = [each for each in (wanted, before) if each.package.version == version]
            if said:
                return said[0]
        is_wanted = offer is not None and offer.digest == wanted.package.digest and offer.url == entry.ovf_url
        if before is None or before.package.digest != wanted.package.digest:
            return wanted if is_wanted else before
        return wanted if entry.deployment_option == wanted.size else before

    def _identity(self, key: Key, action: ReconfigureVm, config: Any) -> dict[str, str]:
        """The properties that are this VM's own: its instance UUID, and a fresh token bound to it."""
        uuid = str(config.get("config.instanceUuid") or "")
        macs = ",".join(sorted(macs_after(config, action.nics)))
        bound = {"key": str(key), "host": action.host, "vm": action.vm, "macs": macs}
        bound["firmware"] = either_order(str(config.get("config.uuid") or ""))
        known = {each.id for each in config.get("config.vAppConfig.property") or ()}
        # A guest can only tell what it was told.
        bound |= {"instance_uuid": uuid} if "instance_uuid" in known else {}
        bound |= {"agency": agency_name(self.solution_id, key)} if "agency_id" in known else {}
        values = {"bootstrap_token": self.mint(action.vm, bound), "instance_uuid": uuid}
        return {name: value for name, value in values.items() if name in known or name == "bootstrap_token"}

    async def _mark(self, key: Key, action: MarkAsAvailable) -> None:
        work = HookWork(vm=action.vm, hook=action.hook, at=self.now())
        self.notebook.update_host(key, action.host, released=work)
        await self.backends.release_hook(action.agent, VmHook(vm=action.vm, state=action.hook))

    async def _resolve(self, key: Key, action: Resolve) -> bool:
        """False when the issue was gone before EAM was asked."""
        before = self.notebook.host(key, action.host)
        approved = tuple(each for each in before.approved if each != action.issue_type)
        attempt = Attempt(kind="resolve", what=action.issue_type, at=self.now(), open=True)
        self.notebook.put_host(key, action.host, replace(before.with_attempt(attempt), approved=approved))
        try:
            return await self.resolves.submit(action.agency, action)
        except TransientError:
            # Not the ContrailVM's fault: an unreachable vCenter must not use up the tries that the flap guard counts.
            record = self.notebook.host(key, action.host)
            kept = tuple(each for each in record.attempts if each != attempt)
            self.notebook.put_host(key, action.host, replace(record, attempts=kept, approved=before.approved))
            raise
        finally:
            self._ended(key, action.host, attempt)

    async def _boot_anew(self, key: Key, action: RestartContrailVm) -> None:
        """What is desired before it boots is what it is told at least; more would only restart it once too often."""
        desired = self.notebook.desired.get(key)
        settings = build_of(desired).settings if desired is not None else ""
        await self._restart(key, action)
        record = self.notebook.host(key, action.host)
        self.notebook.put_host(key, action.host, record.with_settings(action.vm, settings))

    async def _power_off(self, action: PowerOffContrailVm) -> None:
        vm = vim.VirtualMachine(action.vm)
        if (await self.vcenter.read(vm, "runtime.powerState")).get("runtime.powerState") != "poweredOff":
            task = await self.vcenter.call(vm, "PowerOffVM_Task")
            await self.vcenter.wait_task(task, deadline=TASK_DEADLINE)

    async def _restart(self, key: Key, action: RestartContrailVm) -> None:
        vm = vim.VirtualMachine(action.vm)
        if not action.token:
            task = await self.vcenter.call(vm, "ResetVM_Task")
            await self.vcenter.wait_task(task, deadline=TASK_DEADLINE)
            return
        task = await self.vcenter.call(vm, "PowerOffVM_Task")
        await self.vcenter.wait_task(task, deadline=TASK_DEADLINE)
        fresh = ReconfigureVm(
            host=action.host, agent=action.agent, vm=action.vm, hook=None, token=True, reason=action.reason
        )
        await self._reconfigure(key, fresh)
        task = await self.vcenter.call(vm, "PowerOnVM_Task")
        await self.vcenter.wait_task(task, deadline=TASK_DEADLINE)

    @contextmanager
    def _attempt(self, key: Key, host: HostId, kind: AttemptKind, what: str) -> Iterator[None]:
        """In the journal before the action, and again at its end.

        A death in between leaves it open, and uncounted; and so does what passes (vCenter or a host is away, another
        task holds the VM): it says nothing of the ContrailVM.
        """
        attempt = Attempt(kind=kind, what=what, at=self.now(), open=True)
        self.notebook.put_host(key, host, self.notebook.host(key, host).with_attempt(attempt))
        try:
            yield
        except TransientError:
            raise
        except BaseException:
            self._ended(key, host, attempt)
            raise
        self._ended(key, host, attempt)

    def _ended(self, key: Key, host: HostId, attempt: Attempt) -> None:
        record = self.notebook.host(key, host)
        if attempt in record.attempts:
            self.notebook.put_host(key, host, record.ended(attempt))


def resolve_batcher(backends: AgencyDoor, fold: Callable[[Agency], None]) -> Batcher[AgencyId, Resolve, bool]:
    """One Resolve call per agency for all hosts that need one at that moment.

    The keys are taken from a read made just before: EAM draws new ones whenever it regenerates an issue.
    """

    async def flush(agency: AgencyId, actions: tuple[Resolve, ...]) -> list[bool | Exception]:
        seen = await backends.read_agency(agency)
        fold(seen)
        current = {(agent.id, issue.type): issue.key for agent in seen.agents for issue in agent.issues}
        keys = [current.get((action.agent, action.issue_type)) for action in actions]
        wanted = tuple(sorted({key for key in keys if key is not None}))
        refused = set(await backends.resolve(agency, wanted)) if wanted else set()
        return [
            Busy(f"EAM cannot resolve {action.issue_type} now") if key in refused else key is not None
            for action, key in zip(actions, keys, strict=True)
        ]

    return Batcher(flush, size=200, age=0.25, idle=0.1)
