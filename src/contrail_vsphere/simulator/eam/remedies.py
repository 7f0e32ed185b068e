"""Resolve: what EAM does when a solution asks it to remedy an issue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from contrail_vsphere.simulator.core.timing import Timing
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
from contrail_vsphere.simulator.eam.events import agent_event
from contrail_vsphere.simulator.eam.issues import Draft, IssueRecord
from contrail_vsphere.simulator.eam.situation import Phase
from contrail_vsphere.simulator.eam.worker import USER
from contrail_vsphere.simulator.vcenter import host_life
from contrail_vsphere.wire.soap.fault import SoapFault

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.eam_object import EamObject
    from contrail_vsphere.simulator.eam.service import EamService


class Remedies:
    """Starts remedies; none is waited for, their effect is seen like any other change."""

    def __init__(self, service: EamService) -> None:
        self._service = service
        self._world = service.world

    def resolve(self, known: Mapping[int, tuple[EamObject, IssueRecord]], keys: Iterable[int]) -> list[int]:
        """Start the remedy of each issue; the keys that are unknown or cannot be resolved now."""
        left: list[int] = []
        for key in dict.fromkeys(keys):
            found = known.get(key)
            if found is None or not self._resolve(*found):
                left.append(key)
        return left

    def _resolve(self, owner: EamObject, record: IssueRecord) -> bool:
        if not isinstance(owner, EsxAgent):
            return self._service.drop_agency_issue(owner, record)
        match record.rule.resolve:
            case "impossible":
                return False
            case "exit-maintenance":
                self._service.background(self._exit_maintenance(owner, record), f"exit maintenance of {record.host}")
            case "power-up-host":
                self._service.background(self._power_up(owner, record), f"power up {record.host}")
            case "delete-orphan":
                self._service.background(self._delete_orphan(owner, record), f"delete orphan {record.vm}")
            case "rebuild":
                self._take_away(owner, record, phase=Phase.DISCARD)
            case "continue" | "recheck":
                self._take_away(owner, record)
        return True

    def _take_away(self, agent: EsxAgent, record: IssueRecord, phase: Phase | None = None) -> None:
        """Without its issue the EsxAgent goes on; should the cause persist, a new issue comes."""
        with self._world.commit(USER) as tx:
            tx.set(agent, issues=tuple(item for item in agent.issues if item.key != record.key))
            if phase is not None:
                tx.set(agent, phase=phase)
            agent_event(tx, agent, "issue.resolved", f"{record.type} is being resolved", vm=record.vm)
            self._service.worker.settle(tx, agent)
        self._service.mark(agent)

    async def _exit_maintenance(self, agent: EsxAgent, record: IssueRecord) -> None:
        await self._world.clock.sleep(self._world.service(Timing).eam_resolve)
        if agent.host.in_maintenance:
            await self._attempt(agent, record, host_life.exit_maintenance(self._world, agent.host, user=USER))

    async def _power_up(self, agent: EsxAgent, record: IssueRecord) -> None:
        await self._world.clock.sleep(self._world.service(Timing).eam_resolve)
        if agent.host.power_state == "standBy":
            await self._attempt(agent, record, host_life.boot(self._world, agent.host))

    async def _delete_orphan(self, agent: EsxAgent, record: IssueRecord) -> None:
        await self._world.clock.sleep(self._world.service(Timing).eam_resolve)
        if record.vm in agent.orphans:
            await self._attempt(agent, record, self._service.operations.delete(agent, record.vm))

    async def _attempt(self, agent: EsxAgent, record: IssueRecord, remedy: Any) -> None:
        """The issue stays until the world shows that the remedy worked; failed, it comes back under a new key."""
        try:
            await remedy
        except SoapFault:
            if any(item.key == record.key for item in agent.issues):
                with self._world.commit(USER) as tx:
                    tx.set(agent, issues=tuple(item for item in agent.issues if item.key != record.key))
                    worker = self._service.worker
                    worker.raise_issue(tx, agent, Draft(record.type, record.fields), vm=record.vm, host=record.host)
        self._service.mark(agent)
