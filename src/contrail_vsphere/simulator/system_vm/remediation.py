"""An apply: bringing hosts and deployment units to the newest desired state, all at once or one after the other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
from contrail_vsphere.simulator.eam.issues import RULES, Draft
from contrail_vsphere.simulator.eam.service import EamService
from contrail_vsphere.simulator.system_vm.cluster_set import SystemVmSet
from contrail_vsphere.simulator.system_vm.errors import stamp
from contrail_vsphere.simulator.system_vm.solution import SystemVmSolution
from contrail_vsphere.simulator.vcenter import vm_move
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.system_vm.spec import RemediationPolicy
from contrail_vsphere.wire.system_vm.state import (
    ApplyResult,
    ApplyStatus,
    ClusterSolutionApplyStatus,
    ClusterSolutionsApplyStatus,
    HostApplyStatus,
    HostSolutionsApplyStatus,
)

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction, World
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What one apply is about."""

    hosts: list[tuple[SystemVmSolution, HostSystem]] = field(default_factory=list)
    units: list[tuple[SystemVmSet, EsxAgent]] = field(default_factory=list)
    solutions: list[SystemVmSolution] = field(default_factory=list)


class Remediation:
    """Does applies; who may begin one is decided before."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def _eam(self) -> EamService:
        found: EamService = self._world.service(EamService)
        return found

    async def apply(self, scope: Scope, *, user: str) -> ApplyResult:
        """Returns when every virtual machine is as desired, or has an issue, or is blocked by another's."""
        started = stamp(self._world.clock.now())
        on_hosts = {(solution.key, host.moid): self._on_host(solution, host, user) for solution, host in scope.hosts}
        sets = {item.moid: item for item, _ in scope.units}
        await asyncio.gather(
            *(self._remediate(item, [unit for of, unit in scope.units if of is item], user) for item in sets.values())
        )
        for agent in on_hosts.values():
            await self._settled(agent)
        for solution in scope.solutions:  # a deleted one is over once its last VM is
            while solution.is_over and self._world.get(solution.moid) is solution:
                await self._world.changed_after(self._world.seq)
        return self._result(on_hosts, scope.units, started)

    # -- hosts --------------------------------------------------------------------------------------------------

    def _on_host(self, solution: SystemVmSolution, host: HostSystem, user: str) -> EsxAgent | None:
        agent = next((item for item in solution.agents if item.host is host), None)
        if agent is None:
            if solution.deleted:
                return None
            agent = EsxAgent(world=self._world, moid=self._eam.new_agent_id(), agency=solution, host=host)
            with self._world.commit(user) as tx:
                self._eam.enlist(tx, agent)
        self._bring(solution, agent, user=user, away=solution.deleted)
        return agent

    def _bring(self, solution: SystemVmSolution, agent: EsxAgent, *, user: str, away: bool) -> None:
        """The newest desired state counts for it from now on; what waited with an issue is tried again."""
        eam = self._eam
        with self._world.commit(user) as tx:
            if not solution.is_newest(agent):
                kept = tuple(item for item in agent.issues if not RULES[item.type].cleared_by_update)
                tx.set(agent, issues=kept)
            config = agent.applied if away else solution.config
            tx.set(agent, applied=config, applied_revision=solution.revision, dismissed=away, blocked=False)
            eam.worker.settle(tx, agent)
        eam.remedies.resolve({item.key: (agent, item) for item in agent.issues}, [item.key for item in agent.issues])
        eam.refresh(solution)

    async def _settled(self, agent: EsxAgent | None) -> None:
        while agent is not None and self._world.get(agent.moid) is agent:
            if not agent.lock.locked() and agent.status != "yellow":
                return
            await self._world.changed_after(self._world.seq)

    # -- sets ---------------------------------------------------------------------------------------------------

    def adjust(self, tx: Transaction, item: SystemVmSet) -> None:
        """Inside a commit: a set has as many deployment units as desired; those too many go with the next apply."""
        for _ in range(item.wish.vm_count - len(item.units)):
            unit = EsxAgent(world=self._world, moid=self._eam.new_agent_id(), agency=item, host=item.cluster.hosts[0])
            host = item.place(unit)
            unit.host = host if host is not None else unit.host
            self._eam.enlist(tx, unit)

    async def _remediate(self, item: SystemVmSet, units: list[EsxAgent], user: str) -> None:
        surplus = item.surplus
        if item.wish.remediation_policy is not RemediationPolicy.SEQUENTIAL:
            await asyncio.gather(*(self._unit(item, unit, user, away=unit in surplus) for unit in units))
            return
        with self._world.commit(user) as tx:
            for unit in units:
                tx.set(unit, blocked=True)
        for unit in units:
            await self._unit(item, unit, user, away=unit in surplus)
            if self._world.get(unit.moid) is unit and unit.issues:
                return  # the others stay blocked

    async def _unit(self, item: SystemVmSet, unit: EsxAgent, user: str, *, away: bool) -> None:
        moved = away or await self._brought_over(item, unit, user)
        if moved:
            self._bring(item, unit, user=user, away=away)
            await self._settled(unit)

    async def _brought_over(self, item: SystemVmSet, unit: EsxAgent, user: str) -> bool:
        """After a transition from another cluster: the virtual machine moves here. False: it could not."""
        vm, eam = unit.vm, self._eam
        if vm is None or vm.host is None or vm.host.parent is item.cluster:
            return True
        host = item.place(unit)
        pool = item.cluster.root_pool
        try:
            if host is not None:
                await vm_move.relocate(self._world, vm, vm_move.Destination(host=host, pool=pool), user=user)
                return True
        except SoapFault:
            host = None  # the issue says it
        with self._world.commit(user) as tx:
            tx.set(unit, blocked=False, applied_revision=item.revision)
            eam.worker.raise_issue(tx, unit, Draft("TransitionFailed"))
            eam.worker.settle(tx, unit)
        return False

    # -- results ------------------------------------------------------------------------------------------------

    def _result(
        self,
        on_hosts: dict[tuple[str, str], EsxAgent | None],
        units: list[tuple[SystemVmSet, EsxAgent]],
        started: str,
    ) -> ApplyResult:
        ended = stamp(self._world.clock.now())

        def status(good: bool) -> ApplyStatus:
            return ApplyStatus(status="SUCCESS" if good else "ERROR", start_time=started, end_time=ended)

        by_host: dict[str, dict[str, bool]] = {}
        for (key, host), agent in on_hosts.items():
            if agent is not None:
                by_host.setdefault(host, {})[key] = self._good(agent)
        by_set: dict[str, dict[str, bool]] = {}
        for item, unit in units:
            by_set.setdefault(item.key, {})[unit.moid] = self._good(unit)
        statuses = {
            host: HostApplyStatus(
                status=status(all(found.values())),
                solution_statuses={key: status(good) for key, good in found.items()},
            )
            for host, found in by_host.items()
        }
        sets = {
            key: ClusterSolutionApplyStatus(
                status=status(all(found.values())),
                deployment_unit_statuses={unit: status(good) for unit, good in found.items()},
            )
            for key, found in by_set.items()
        }
        hosts_good = all(good for found in by_host.values() for good in found.values())
        sets_good = all(good for found in by_set.values() for good in found.values())
        return ApplyResult(
            status=status(hosts_good and sets_good),
            host_solutions_status=HostSolutionsApplyStatus(status=status(hosts_good), host_statuses=statuses),
            cluster_solutions_status=ClusterSolutionsApplyStatus(status=status(sets_good), solution_statuses=sets),
        )

    def _good(self, agent: EsxAgent) -> bool:
        gone = self._world.get(agent.moid) is not agent
        return gone or (agent.status == "green" and not agent.blocked)
