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
from contrail_vsphere.simulator.eam.issues import RULES, Draft
from contrail_vsphere.simulator.eam.service import EamService
from contrail_vsphere.simulator.eam.worker import USER
from contrail_vsphere.simulator.system_vm import compliance
from contrail_vsphere.simulator.system_vm.errors import RestError, stamp
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
    LocationType,
    ProcessedHookSpec,
    RedeploymentPolicy,
    SolutionSpec,
)
from contrail_vsphere.wire.system_vm.state import (
    ApplyResult,
    ApplyStatus,
    ClusterCompliance,
    ClusterSolutionsApplyStatus,
    DeploymentStatus,
    HookList,
    HostApplyStatus,
    HostSolutionsApplyStatus,
    SolutionList,
    info_of,
)

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World


class SystemVms:
    """The operations; each raises RestError. Clusters and hosts are named by their managed object ids."""

    def __init__(self, world: World) -> None:
        self._world = world
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
        self._check_enabled(cluster)
        await self._check(spec, cluster)
        document = encode(spec).decode()
        known = next((item for item in self.all_in(cluster) if item.key == key), None)
        with self._world.commit(user) as tx:
            if known is None:
                tx.add(self._make(cluster, key, spec, user))
            else:
                config = config_of(spec, cluster)
                tx.set(known, document=document, config=config, revision=known.revision + 1, deleted=False)

    def delete(self, cluster: ClusterComputeResource, key: str, *, user: str) -> None:
        """Drop the desired state; the VMs go with the next apply."""
        self._check_enabled(cluster)
        found = self.solution(cluster, key)
        with self._world.commit(user) as tx:
            tx.set(found, deleted=True)
            if not found.agents:
                tx.remove(found)

    def _make(self, cluster: ClusterComputeResource, key: str, spec: SolutionSpec, user: str) -> SystemVmSolution:
        return SystemVmSolution(
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

    async def _check(self, spec: SolutionSpec, cluster: ClusterComputeResource) -> None:
        problem = _problem(spec)
        if problem:
            raise self._invalid(problem)
        if not self._eam.switches.system_vm_set_checks_url:
            return
        try:
            await self._eam.validate(config_of(spec, cluster))
        except SoapFault as error:
            raise self._invalid(error.message) from error

    def _invalid(self, message: str) -> RestError:
        return RestError("INVALID_ARGUMENT", message, at=self._world.clock.now())

    @staticmethod
    def _check_enabled(cluster: ClusterComputeResource) -> None:
        if cluster.disabled:
            raise RestError("NOT_ALLOWED_IN_CURRENT_STATE", f"System VMs are disabled in cluster {cluster.moid}.")

    # -- apply --------------------------------------------------------------------------------------------------

    def begin_apply(
        self, cluster: ClusterComputeResource, spec: ApplySpec
    ) -> list[tuple[SystemVmSolution, HostSystem]]:
        """What an apply is about; the solutions are taken until ``apply`` is over."""
        self._check_enabled(cluster)
        if spec.cluster_solutions is not None and spec.host_solutions is None:
            return []
        names = spec.host_solutions.solutions if spec.host_solutions is not None else None
        solutions = [item for item in self.all_in(cluster) if not names or item.key in names]
        busy = [item.key for item in solutions if item.moid in self._applying]
        if busy:
            raise RestError("NOT_ALLOWED_IN_CURRENT_STATE", f"Another operation on {busy[0]} is in progress.")
        hosts = self._hosts(cluster, spec.host_solutions.hosts if spec.host_solutions is not None else None)
        self._applying.update(item.moid for item in solutions)
        return [(solution, host) for solution in solutions for host in hosts]

    async def apply(self, pairs: list[tuple[SystemVmSolution, HostSystem]], *, user: str) -> ApplyResult:
        """Bring the VMs to the desired state; returns when each is there, or has an issue."""
        started = stamp(self._world.clock.now())
        try:
            agents = {(solution.key, host.moid): self._apply_to(solution, host, user) for solution, host in pairs}
            for agent in agents.values():
                while agent is not None and not self._settled(agent):
                    await self._world.changed_after(self._world.seq)
            await self._eam_caught_up(pairs)
        finally:
            self._applying.difference_update(solution.moid for solution, _ in pairs)
        return self._result(agents, started)

    async def _eam_caught_up(self, pairs: list[tuple[SystemVmSolution, HostSystem]]) -> None:
        """A deleted solution is over once its last VM is."""
        for solution, _ in pairs:
            while solution.is_over and self._world.get(solution.moid) is solution:
                await self._world.changed_after(self._world.seq)

    def _apply_to(self, solution: SystemVmSolution, host: HostSystem, user: str) -> EsxAgent | None:
        agent = next((item for item in solution.agents if item.host is host), None)
        eam = self._eam
        if solution.deleted and agent is None:
            return None
        with self._world.commit(user) as tx:
            if agent is None:
                agent = EsxAgent(world=self._world, moid=eam.new_agent_id(), agency=solution, host=host)
                eam.enlist(tx, agent)
            elif not solution.is_newest(agent):
                kept = tuple(item for item in agent.issues if not RULES[item.type].cleared_by_update)
                tx.set(agent, issues=kept)
            config = agent.applied if solution.deleted else solution.config
            tx.set(agent, applied=config, applied_revision=solution.revision, dismissed=solution.deleted)
            eam.worker.settle(tx, agent)
        eam.remedies.resolve({item.key: (agent, item) for item in agent.issues}, [item.key for item in agent.issues])
        eam.refresh(solution)
        return agent

    def _settled(self, agent: EsxAgent) -> bool:
        if self._world.get(agent.moid) is not agent:
            return True
        return not agent.lock.locked() and agent.status != "yellow"

    def _result(self, agents: dict[tuple[str, str], EsxAgent | None], started: str) -> ApplyResult:
        ended = stamp(self._world.clock.now())

        def status(good: bool) -> ApplyStatus:
            return ApplyStatus(status="SUCCESS" if good else "ERROR", start_time=started, end_time=ended)

        by_host: dict[str, dict[str, bool]] = {}
        for (key, host), agent in agents.items():
            if agent is not None:
                gone = self._world.get(agent.moid) is not agent
                by_host.setdefault(host, {})[key] = gone or agent.status == "green"
        statuses = {
            host: HostApplyStatus(
                status=status(all(found.values())),
                solution_statuses={key: status(good) for key, good in found.items()},
            )
            for host, found in by_host.items()
        }
        whole = status(all(good for found in by_host.values() for good in found.values()))
        return ApplyResult(
            status=whole,
            host_solutions_status=HostSolutionsApplyStatus(status=whole, host_statuses=statuses),
            cluster_solutions_status=ClusterSolutionsApplyStatus(solution_statuses={}),
        )

    def _hosts(self, cluster: ClusterComputeResource, ids: list[str] | None) -> list[HostSystem]:
        known = {host.moid: host for host in cluster.hosts}
        if not ids:
            return list(known.values())
        unknown = [moid for moid in ids if moid not in known]
        if unknown:
            raise self._invalid(f"Host {unknown[0]} is not in cluster {cluster.moid}.")
        return [known[moid] for moid in ids]

    def check(self, cluster: ClusterComputeResource, spec: CheckComplianceSpec) -> ClusterCompliance:
        """How far it all is."""
        solutions = [item for item in self.all_in(cluster) if not spec.solutions or item.key in spec.solutions]
        return compliance.of_cluster(solutions, self._hosts(cluster, spec.hosts))

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
            raise self._invalid(f"{spec.vm} is no System VM of cluster {cluster.moid}.")
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
        self._check_enabled(cluster)
        agency = self._world.get(spec.eam_agency_id)
        if not isinstance(agency, Agency) or isinstance(agency, SystemVmSolution):
            raise RestError("NOT_FOUND", f"There is no agency {spec.eam_agency_id}.")
        if any(item.key == key for item in self.all_in(cluster)):
            raise self._invalid(f"Solution {key} exists in cluster {cluster.moid}.")
        # Documented: outside of the cluster. That a scope of several clusters is refused as well is an inference.
        if [item.moid for item in agency.scope] != [cluster.moid]:
            raise self._invalid(f"Agency {agency.name} is not in the scope of cluster {cluster.moid}.")
        await self._check(spec.solution, cluster)
        await self._fail_where_told(agency)
        solution = self._make(cluster, key, spec.solution, user)
        with self._world.commit(user) as tx:
            tx.add(solution)
            for agent in agency.agents:
                kept = tuple(item for item in agent.issues if item.type != "TransitionFailed")
                tx.set(agent, agency=solution, applied=agency.config, applied_revision=0, issues=kept)
            tx.set(solution, agents=agency.agents, numbered=agency.numbered)
            tx.set(agency, agents=())
            agency_event(tx, agency, "destroyed", "handed over to vSphere Lifecycle Manager")
            tx.remove(agency)
            for agent in solution.agents:
                self._eam.worker.settle(tx, agent)
        self._eam.refresh(solution)

    async def _fail_where_told(self, agency: Agency) -> None:
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


def _problem(spec: SolutionSpec) -> str:
    """What is wrong with a desired state by itself, or nothing."""
    if spec.deployment_type is not DeploymentType.EVERY_HOST_PINNED:
        return "Only EVERY_HOST_PINNED is simulated."
    if spec.host_solution_spec is None:  # so says the union of the API, though it may be empty
        return "host_solution_spec must be set."
    if spec.cluster_solution_spec is not None:
        return "cluster_solution_spec is for CLUSTER_VM_SET."
    if spec.redeployment_policy is RedeploymentPolicy.BLUE_GREEN:
        return "BLUE_GREEN is for CLUSTER_VM_SET."
    if spec.ovf_resource.location_type is LocationType.LOCAL_FILE:
        return "Only REMOTE_FILE is simulated."
    if not spec.ovf_resource.url:
        return "ovf_resource.url must be set."
    if spec.ovf_resource.ssl_certificate_validation is None:  # required with REMOTE_FILE by the API's own union
        return "ovf_resource.ssl_certificate_validation must be set."
    spaced = [name for name in spec.ovf_descriptor_properties or {} if any(letter.isspace() for letter in name)]
    return f"The property name {spaced[0]!r} contains white-space." if spaced else ""
