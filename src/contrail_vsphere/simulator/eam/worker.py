"""Moves one EsxAgent on: read the situation, decide, commit, run the operation, and again until nothing is left."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from contrail_vsphere.model.errors import PackageError
from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.eam.events import (
    HOOK_EVENTS,
    agency_event,
    agency_issue_event,
    agent_event,
    issue_event,
)
from contrail_vsphere.simulator.eam.failures import (
    DEPLOYMENTS,
    IpPoolError,
    OvfPropertyError,
    VibError,
    draft_for,
    is_stale,
)
from contrail_vsphere.simulator.eam.fetch import FetchError
from contrail_vsphere.simulator.eam.host_image import HostImage
from contrail_vsphere.simulator.eam.issues import Draft, IssueRecord
from contrail_vsphere.simulator.eam.machine import after_provisioning, decide, status
from contrail_vsphere.simulator.eam.observation import exists, host_condition, misplaced, selection, situation
from contrail_vsphere.simulator.eam.outcomes import Decision, Do
from contrail_vsphere.simulator.eam.situation import HOOKS, SETTLED_ON_NEW, Phase
from contrail_vsphere.simulator.vcenter.managed_entity import without
from contrail_vsphere.wire.soap.fault import SoapFault

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.eam.agency import Agency
    from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
    from contrail_vsphere.simulator.eam.service import EamService

USER: Final = "com.vmware.vim.eam"
PATIENCE: Final = 60
"""How often a step may find that somebody else holds the virtual machine before that becomes an issue."""
STEP_FAILURES: Final = (SoapFault, FetchError, PackageError, OvfPropertyError, VibError, IpPoolError)


class Worker:
    """The one place that changes EsxAgents."""

    def __init__(self, service: EamService) -> None:
        self._service = service
        self._world = service.world
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(service.switches.parallel_deployments)
        )

    async def advance(self, agent: EsxAgent) -> None:
        """Go on as far as possible now."""
        stale = 0
        while self._service.running and self._world.get(agent.moid) is agent:
            async with agent.lock:
                do = self.evaluate(agent)
                if do is None:
                    return
                try:
                    await self._step(agent, do)
                    stale = 0
                except STEP_FAILURES as error:
                    if self._stale(agent, error) and stale < PATIENCE:
                        stale += 1
                        self._move(agent, do.retry)
                    else:
                        self._failed(agent, do, error)
            if stale:
                await self._world.clock.sleep(1.0)

    def evaluate(self, agent: EsxAgent) -> Do | None:
        """Commit what the present situation makes of the EsxAgent; the operation to run next, if any."""
        with self._world.commit(USER) as tx:
            self._notice(tx, agent)
            decision = decide(situation(agent))
            self._apply(tx, agent, decision)
        return decision.do

    def release_hook(self, agent: EsxAgent, *, user: str) -> None:
        """MarkAsAvailable. What the hook was said to have failed with, or its timeout, stays until it is resolved."""
        if not agent.hook or any(item.type in {"VmHookTimedout", "VmHookFailed"} for item in agent.issues):
            return
        goal = Phase.POWERING_ON if agent.agency.goal == "enabled" else Phase.OFF
        then = {
            Phase.HOOK_POWERED_ON: Phase.WAIT_HEARTBEAT,
            Phase.NEW_HOOK_POWERED_ON: Phase.NEW_WAIT_HEARTBEAT,
            Phase.UPGRADE_PROVISIONED: after_provisioning(blue_green=agent.agency.blue_green),
        }
        with self._world.commit(user) as tx:
            self._enter(tx, agent, then.get(agent.phase, goal))
            self.settle(tx, agent)
        self._service.mark(agent)

    # -- noticing -----------------------------------------------------------------------------------------------

    def _notice(self, tx: Transaction, agent: EsxAgent) -> None:
        """Virtual machines that are gone, or that somebody moved to another host."""
        gone = [vm for vm in agent.orphans if not exists(agent, vm)]
        back = [vm for vm in agent.orphans if exists(agent, vm) and vm.host is agent.host]
        if gone or back:
            tx.set(agent, orphans=without(agent.orphans, *gone, *back))
            self._drop(
                tx, agent, [item for item in agent.issues if item.type == "VmOrphaned" and item.vm in gone + back]
            )
        if back and agent.vm is None and agent.new_vm is None:
            tx.set(agent, vm=back[0], phase=Phase.HOOK_POWERED_ON, marked=False)
            self._drop(tx, agent, [item for item in agent.issues if item.type == "VmNotDeployed"])
        self._notice_software(tx, agent)
        for name in ("vm", "new_vm"):
            vm = getattr(agent, name)
            if vm is None:
                continue
            if not exists(agent, vm):
                tx.set(agent, **{name: None})
            elif agent.agency.is_set:
                continue
            elif vm.host is not agent.host and self._service.switches.user_migration == "orphan":
                tx.set(agent, **{name: None}, orphans=(*agent.orphans, vm))
                self.raise_issue(tx, agent, Draft("VmOrphaned"), vm=vm, host=vm.host)

        if agent.agency.is_set:
            self._follow(tx, agent)

    def _follow(self, tx: Transaction, agent: EsxAgent) -> None:
        """A virtual machine that may move is where it is; one that is still to be deployed goes where it can."""
        vm = agent.subject
        host = vm.host if vm is not None else agent.host if agent.held else agent.agency.place(agent)
        if host is not None and host is not agent.host:
            self._service.rehost(tx, agent, host)

    def _notice_software(self, tx: Transaction, agent: EsxAgent) -> None:
        """VIBs that somebody removed; maintenance mode that somebody else ended."""
        image = HostImage.of(self._world, agent.host)
        if image is None:
            return
        if image.entered_by_eam and not agent.host.in_maintenance:
            tx.set(image, entered_by_eam=False)
        if agent.vibs and not agent.leaving and not all(image.has(vib) for vib in agent.vibs):
            tx.set(agent, vibs=(), vib_url="", bulletins=())
            self.raise_issue(tx, agent, Draft("VibNotInstalled"))

    # -- committing ---------------------------------------------------------------------------------------------

    def _apply(self, tx: Transaction, agent: EsxAgent, decision: Decision) -> None:
        if decision.cleared:
            self._drop(tx, agent, [item for item in agent.issues if item.type in decision.cleared])
        known = (*selection(agent).problems, *misplaced(agent)) if decision.raised else ()
        drafts = {draft.type: draft for draft in known}
        for name in decision.raised:
            self.raise_issue(tx, agent, drafts.get(name, Draft(name)))
        self._enter(tx, agent, decision.phase)
        self.settle(tx, agent)

    def _enter(self, tx: Transaction, agent: EsxAgent, phase: Phase) -> None:
        """Everything that goes with a phase; being in it already changes nothing."""
        entered = tx.set(agent, phase=phase)
        if entered:
            tx.set(agent, hook_since=self._world.clock.now() if phase in HOOKS else None, hook_updated=False)
        if agent.vm is None and agent.new_vm is not None and phase in SETTLED_ON_NEW:
            tx.set(agent, vm=agent.new_vm, new_vm=None, deployed=agent.new_deployed, new_deployed=None)
        if phase in {Phase.WAIT_HEARTBEAT, Phase.STEADY}:
            tx.set(agent, marked=True)
        elif phase in {Phase.HOOK_POWERED_ON, Phase.POWERING_ON, Phase.OFF, Phase.PRECHECK}:
            tx.set(agent, marked=False)
        if entered and (name := HOOK_EVENTS.get(HOOKS.get(phase, ""))):
            if agent.agency.is_set:
                name = name.replace("agent.", "agent.cluster.", 1)
            agent_event(tx, agent, name, "EAM waits for MarkAsAvailable", vm=agent.hook_vm)

    def settle(self, tx: Transaction, agent: EsxAgent) -> None:
        """Bring the statuses up to date."""
        issues = frozenset(item.type for item in agent.issues)
        now = status(agent.phase, issues, in_maintenance=self._service.switches.maintenance_status)
        if tx.set(agent, status=now):
            agent_event(tx, agent, "agent.statusChanged", f"its status is now {now}")
        self.settle_agency(tx, agent.agency)

    def settle_agency(self, tx: Transaction, agency: Agency) -> None:
        """Bring the agency's status up to date."""
        now = agency.combined_status()
        if tx.set(agency, status=now):
            agency_event(tx, agency, "statusChanged", f"its status is now {now}")

    def raise_issue(self, tx: Transaction, agent: EsxAgent, draft: Draft, *, vm: Any = None, host: Any = None) -> None:
        """Add an issue; one of the same type is replaced (issues that persist come back under a new key)."""
        subject = vm if vm is not None else agent.subject
        record = IssueRecord(
            key=self._service.new_issue_key(),
            type=draft.type,
            time=self._world.clock.now(),
            host=host if host is not None else agent.host,
            vm=subject,
            fields=draft.fields,
            vm_version=subject.change_version if subject is not None else 0,
        )
        kept = tuple(item for item in agent.issues if item.type != draft.type or draft.type == "VmOrphaned")
        tx.set(agent, issues=(*kept, record))
        issue_event(tx, agent, record)

    def raise_agency_issue(self, tx: Transaction, agency: Agency, draft: Draft) -> None:
        """Add an issue of the agency itself; one of the same type is replaced."""
        record = IssueRecord(
            key=self._service.new_issue_key(), type=draft.type, time=self._world.clock.now(), fields=draft.fields
        )
        tx.set(agency, issues=(*(item for item in agency.issues if item.type != draft.type), record))
        agency_issue_event(tx, agency, record)
        self.settle_agency(tx, agency)

    def _drop(self, tx: Transaction, agent: EsxAgent, gone: list[IssueRecord]) -> None:
        keys = {item.key for item in gone}
        if tx.set(agent, issues=tuple(item for item in agent.issues if item.key not in keys)):
            for item in gone:
                agent_event(tx, agent, "issue.resolved", f"{item.type} is resolved", vm=item.vm)

    # -- running ------------------------------------------------------------------------------------------------

    async def _step(self, agent: EsxAgent, do: Do) -> None:
        await self._world.clock.sleep(self._world.service(Timing).eam_step)
        if do.operation not in DEPLOYMENTS:
            await self._operate(agent, do)
            return
        async with self._slots[agent.host.parent.moid if agent.host.parent is not None else ""]:
            if decide(situation(agent)).do == do:  # what was true before the wait need not be true now
                await self._operate(agent, do)

    async def _operate(self, agent: EsxAgent, do: Do) -> None:
        changes = await self._service.operations.run(agent, do.operation)
        if self._world.get(agent.moid) is not agent:
            return
        with self._world.commit(USER) as tx:
            tx.set(agent, **changes)
            self._enter(tx, agent, do.then)
            self.settle(tx, agent)

    def _move(self, agent: EsxAgent, phase: Phase) -> None:
        with self._world.commit(USER) as tx:
            self._enter(tx, agent, phase)
            self.settle(tx, agent)

    def _stale(self, agent: EsxAgent, error: Exception) -> bool:
        """Whether to look again before complaining: somebody was faster, holds the VM, or the host went away."""
        if not isinstance(error, SoapFault):
            return False
        held = any(vm is not None and vm.busy_chain for vm in (agent.vm, agent.new_vm))
        return held or is_stale(error) or host_condition(agent) not in {"ready", "maintenance"}

    def _failed(self, agent: EsxAgent, do: Do, error: Exception) -> None:
        draft = draft_for(do.operation, error)
        with self._world.commit(USER) as tx:
            if isinstance(error, VibError) and error.agency is not None:
                self.raise_agency_issue(tx, agent.agency, error.agency)
            self.raise_issue(tx, agent, draft)
            self._enter(tx, agent, do.retry)
            self.settle(tx, agent)
