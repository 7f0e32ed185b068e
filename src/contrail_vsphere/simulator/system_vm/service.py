"""What can be done with System VMs: set, apply, look, delete, process hooks, take over an agency of EAM.

A new desired state does nothing by itself; an apply names hosts and solutions, or all. While VMs are being brought to
it, EsxAgents behave as EAM's do, only that hooks have a time limit and that issues wait for the next apply.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from contrail_vsphere.simulator.core.faults import FaultBook
from contrail_vsphere.simulator.eam.agency import Agency
from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
from contrail_vsphere.simulator.eam.events import agency_event
from contrail_vsphere.simulator.eam.issues import Draft
from contrail_vsphere.simulator.eam.service import EamService
from contrail_vsphere.simulator.eam.worker import USER
from contrail_vsphere.simulator.system_vm import compliance, validation
from contrail_vsphere.simulator.system_vm.cluster_set import SystemVmSet
from contrail_vsphere.simulator.system_vm.errors import RestError
from contrail_vsphere.simulator.system_vm.remediation import Remediation, Scope
from contrail_vsphere.simulator.system_vm.solution import STATES, SystemVmSolution, config_of
from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource
from contrail_vsphere.simulator.vcenter.host_system import HostSystem
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.system_vm.codec import encode
from contrail_vsphere.wire.system_vm.spec import (
    ApplySpec,
    CheckComplianceSpec,
    DeploymentType,
    EnableSpec,
    ProcessedHookSpec,
    SolutionSpec,
)
from contrail_vsphere.wire.system_vm.state import (
    ApplyResult,
    ClusterCompliance,
    DeploymentStatus,
    HookList,
    SolutionList,
    info_of,
)

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction, World


class SystemVms:
    """The operations; each raises RestError. Clusters and hosts are named by their managed object ids."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._remediation = Remediation(world)
        self._applying: set[str] = set()
        """Solutions (by moid) that an apply works on."""

    @property
    def _eam(self) -> EamService:
        found: EamService = self._world.service(EamService)
        return found

    # -- finding ------------------------------------------------------------------------------------------------

    def cluster(self, moid: str, *, managed: bool = True) -> ClusterComputeResource:
        """NOT_FOUND; UNSUPPORTED for one that vLCM does not manage by an image."""
        found = self._world.get(moid)
        if not isinstance(found, ClusterComputeResource):
            raise RestError("NOT_FOUND", f"There is no cluster {moid}.")
        if managed and not found.image_managed:
            raise RestError("UNSUPPORTED", f"Cluster {moid} is not managed by vSphere Lifecycle Manager.")
        return found

    def all_in(self, cluster: ClusterComputeResource) -> list[SystemVmSolution]:
        """Wanted there, or still there."""
        return [item for item in self._world.of_type(SystemVmSolution) if item.cluster is cluster]

    def solution(self, cluster: ClusterComputeResource, key: str) -> SystemVmSolution:
        """NOT_FOUND also for a solution that is deleted and only waits to be removed."""
        for item in self.all_in(cluster):
            if item.key == key and not item.deleted:
                return item
        raise RestError("NOT_FOUND", f"There is no solution {key} in cluster {cluster.moid}.")

    def listed(self, cluster: ClusterComputeResource, keys: Iterable[str]) -> SolutionList:
        """Desired states by solution, those named or all."""
        wanted = list(keys) or [item.key for item in self.all_in(cluster) if not item.deleted]
        return SolutionList(solutions={key: info_of(self.solution(cluster, key).spec) for key in wanted})

    # -- desired state ------------------------------------------------------------------------------------------

    async def set(self, cluster: ClusterComputeResource, key: str, spec: SolutionSpec, *, user: str) -> None:
        """Replace the desired state; nothing happens before an apply."""
        self.check_enabled(cluster)
        await self.check_spec(spec, cluster)
        known = next((item for item in self.all_in(cluster) if item.key == key), None)
        if known is not None and known.spec.deployment_type is not spec.deployment_type:
            raise self.invalid(f"The deployment type of solution {key} cannot change.")
        with self._world.commit(user) as tx:
            if known is None:
                self.add(tx, cluster, key, spec, user=user)
            else:
                self.renew(tx, known, spec)

    def add(
        self, tx: Transaction, cluster: ClusterComputeResource, key: str, spec: SolutionSpec, *, user: str
    ) -> SystemVmSolution:
        """Inside a commit: a new solution; the deployment units of a set are there at once, without VMs."""
        made = self.empty(tx, cluster, key, spec, user=user)
        self.adjust(tx, made)
        return made

    def empty(
        self, tx: Transaction, cluster: ClusterComputeResource, key: str, spec: SolutionSpec, *, user: str
    ) -> SystemVmSolution:
        """Inside a commit: a new solution without anything."""
        return tx.add(self._make(cluster, key, spec, user))

    def adjust(self, tx: Transaction, solution: SystemVmSolution) -> None:
        """Inside a commit: a set gets the deployment units that it lacks."""
        if isinstance(solution, SystemVmSet):
            self._remediation.adjust(tx, solution)

    def look_at(self, solution: SystemVmSolution) -> None:
        """After a change: its statuses tell of it at once."""
        self._eam.refresh(solution)

    def renew(self, tx: Transaction, known: SystemVmSolution, spec: SolutionSpec) -> None:
        """Inside a commit: another desired state for a solution."""
        config, document = config_of(spec, known.cluster), encode(spec).decode()
        tx.set(known, document=document, config=config, revision=known.revision + 1, deleted=False)
        for agent in known.agents:
            tx.set(agent, blocked=False)
        self.adjust(tx, known)

    def delete(self, cluster: ClusterComputeResource, key: str, *, user: str) -> None:
        """Drop the desired state; the VMs go with the next apply."""
        self.check_enabled(cluster)
        found = self.solution(cluster, key)
        with self._world.commit(user) as tx:
            tx.set(found, deleted=True)
            for agent in found.agents:
                if agent.applied_revision == 0 and agent.vm is None:
                    tx.set(agent, dismissed=True)
            if not found.agents:
                tx.remove(found)
        self._eam.refresh(found)

    def _make(self, cluster: ClusterComputeResource, key: str, spec: SolutionSpec, user: str) -> SystemVmSolution:
        kind = SystemVmSet if spec.deployment_type is DeploymentType.CLUSTER_VM_SET else SystemVmSolution
        return kind(
            world=self._world,
            moid=str(uuid.UUID(int=self._world.random.getrandbits(128), version=4)),
            config=config_of(spec, cluster),
            solution_id=key,
            solution_name=spec.display_name,
            owner=user,
            cluster=cluster,
            key=key,
            document=encode(spec).decode(),
            status="green",
        )

    async def check_spec(self, spec: SolutionSpec, cluster: ClusterComputeResource) -> None:
        """INVALID_ARGUMENT for a desired state that this release, or this cluster, cannot have."""
        problem = validation.problem(spec, cluster, self._eam)
        if problem:
            raise self.invalid(problem)
        if not self._eam.switches.system_vm_set_checks_url:
            return
        try:
            await self._eam.validate(config_of(spec, cluster))
        except SoapFault as error:
            raise self.invalid(error.message) from error

    def invalid(self, message: str) -> RestError:
        """To be raised, with the reason in its data."""
        return RestError("INVALID_ARGUMENT", message, at=self._world.clock.now())

    @staticmethod
    def check_enabled(cluster: ClusterComputeResource) -> None:
        """NOT_ALLOWED_IN_CURRENT_STATE while System VMs are disabled there."""
        if cluster.disabled:
            raise RestError("NOT_ALLOWED_IN_CURRENT_STATE", f"System VMs are disabled in cluster {cluster.moid}.")

    # -- apply --------------------------------------------------------------------------------------------------

    def begin_apply(self, cluster: ClusterComputeResource, spec: ApplySpec) -> Scope:
        """What an apply is about; the solutions are taken until ``apply`` is over."""
        self.check_enabled(cluster)
        everything = spec.host_solutions is None and spec.cluster_solutions is None
        solutions: list[SystemVmSolution] = []
        for item in self.all_in(cluster):
            wanted = spec.cluster_solutions if isinstance(item, SystemVmSet) else spec.host_solutions
            if everything or (wanted is not None and (not wanted.solutions or item.key in wanted.solutions)):
                solutions.append(item)
        busy = [item.key for item in solutions if item.moid in self._applying]
        if busy:
            raise RestError("NOT_ALLOWED_IN_CURRENT_STATE", f"Another operation on {busy[0]} is in progress.")
        hosts = self._hosts(cluster, spec.host_solutions.hosts if spec.host_solutions is not None else None)
        chosen = spec.cluster_solutions.deployment_units if spec.cluster_solutions is not None else None
        sets = [item for item in solutions if isinstance(item, SystemVmSet)]
        units = [(item, unit) for item in sets for unit in item.units if not chosen or unit.moid in chosen]
        unknown = set(chosen or ()) - {unit.moid for _, unit in units}
        if unknown:
            raise self.invalid(f"There is no deployment unit {min(unknown)} in cluster {cluster.moid}.")
        self._applying.update(item.moid for item in solutions)
        pinned = [item for item in solutions if not isinstance(item, SystemVmSet)]
        return Scope(hosts=[(item, host) for item in pinned for host in hosts], units=units, solutions=solutions)

    async def apply(self, scope: Scope, *, user: str) -> ApplyResult:
        """Bring the VMs to the desired state; returns when each is there, or has an issue."""
        try:
            return await self._remediation.apply(scope, user=user)
        finally:
            self._applying.difference_update(item.moid for item in scope.solutions)

    def is_applied(self, solution: SystemVmSolution) -> bool:
        """Whether an apply works on it now."""
        return solution.moid in self._applying

    def _hosts(self, cluster: ClusterComputeResource, ids: list[str] | None) -> list[HostSystem]:
        known = {host.moid: host for host in cluster.hosts}
        if not ids:
            return list(known.values())
        unknown = [moid for moid in ids if moid not in known]
        if unknown:
            raise self.invalid(f"Host {unknown[0]} is not in cluster {cluster.moid}.")
        return [known[moid] for moid in ids]

    def check(self, cluster: ClusterComputeResource, spec: CheckComplianceSpec) -> ClusterCompliance:
        """How far it all is."""
        solutions = [item for item in self.all_in(cluster) if not spec.solutions or item.key in spec.solutions]
        units = spec.deployment_units or ()
        hosts = [] if units and not spec.hosts else self._hosts(cluster, spec.hosts)
        return compliance.of_cluster(solutions, hosts, units)

    # -- hooks --------------------------------------------------------------------------------------------------

    def hooks(self, cluster: ClusterComputeResource, key: str) -> HookList:
        """Open hooks of a solution."""
        solution = self.solution(cluster, key)
        found = (compliance.deployment(solution, agent) for agent in solution.agents)
        waiting = (item for item in found if item.status is DeploymentStatus.IN_LIFECYCLE_HOOK)
        return HookList(hooks=[item.lifecycle_hook for item in waiting if item.lifecycle_hook is not None])

    def mark(self, cluster: ClusterComputeResource, spec: ProcessedHookSpec, *, user: str) -> None:
        """The hook of a VM is processed; not successfully: an issue."""
        agent = next((item for item in self._agents(cluster) if item.hook_vm and item.hook_vm.moid == spec.vm), None)
        if agent is None:
            raise self.invalid(f"{spec.vm} is no System VM of cluster {cluster.moid}.")
        if STATES.get(agent.hook) is not spec.lifecycle_state or agent.issues:
            raise RestError("NOT_ALLOWED_IN_CURRENT_STATE", f"{spec.vm} is not in {spec.lifecycle_state.value}.")
        if spec.processed_successfully:
            self._eam.worker.release_hook(agent, user=user)
            return
        with self._world.commit(user) as tx:
            self._eam.worker.raise_issue(tx, agent, Draft("VmHookFailed"), vm=agent.hook_vm)
            self._eam.worker.settle(tx, agent)

    def _agents(self, cluster: ClusterComputeResource) -> Iterator[EsxAgent]:
        for solution in self.all_in(cluster):
            yield from solution.agents

    # -- transition ---------------------------------------------------------------------------------------------

    async def enable(self, cluster: ClusterComputeResource, key: str, spec: EnableSpec, *, user: str) -> None:
        """Take over an agency of EAM: its VMs stay as they are, the desired state is set and not applied."""
        self.check_enabled(cluster)
        agency = self._world.get(spec.eam_agency_id)
        if not isinstance(agency, Agency) or isinstance(agency, SystemVmSolution):
            raise RestError("NOT_FOUND", f"There is no agency {spec.eam_agency_id}.")
        if any(item.key == key for item in self.all_in(cluster)):
            raise self.invalid(f"Solution {key} exists in cluster {cluster.moid}.")
        # Documented: outside of the cluster. That a scope of several clusters is refused as well is an inference.
        if [item.moid for item in agency.scope] != [cluster.moid]:
            raise self.invalid(f"Agency {agency.name} is not in the scope of cluster {cluster.moid}.")
        if spec.solution.deployment_type is not DeploymentType.EVERY_HOST_PINNED:
            raise self.invalid("This is supported for EVERY_HOST_PINNED only.")
        await self.check_spec(spec.solution, cluster)
        await self.fail_where_told(agency)
        solution = self._make(cluster, key, spec.solution, user)
        with self._world.commit(user) as tx:
            tx.add(solution)
            self.take_over(tx, solution, agency)
        self._eam.refresh(solution)

    def take_over(self, tx: Transaction, solution: SystemVmSolution, agency: Agency) -> None:
        """Inside a commit: what an agency has is the solution's, and the agency is no more."""
        taken = agency.agents
        for agent in taken:
            kept = tuple(item for item in agent.issues if item.type != "TransitionFailed")
            tx.set(agent, agency=solution, applied=agency.config, applied_revision=0, issues=kept)
            if solution.is_set and agent.vm is not None:
                tx.set(agent.vm, esx_agent=False)
        numbered = max(solution.numbered, agency.numbered)
        tx.set(solution, agents=(*solution.agents, *taken), numbered=numbered)
        tx.set(agency, agents=())
        agency_event(tx, agency, "destroyed", "handed over to vSphere Lifecycle Manager")
        tx.remove(agency)
        for agent in taken:
            self._eam.worker.settle(tx, agent)

    async def fail_where_told(self, agency: Agency) -> None:
        """The point ``system_vm.transition``: each EsxAgent then has the issue TransitionFailed."""
        effect = self._world.service(FaultBook).point("system_vm.transition", agency, agency=agency.name)
        if effect is None:
            return
        try:
            await effect.apply(self._world.clock)
        except SoapFault as error:
            with self._world.commit(USER) as tx:
                for agent in agency.agents:
                    self._eam.worker.raise_issue(tx, agent, Draft("TransitionFailed"))
                    self._eam.worker.settle(tx, agent)
            raise RestError("ERROR", f"The transition of agency {agency.name} failed: {error.message}") from error
