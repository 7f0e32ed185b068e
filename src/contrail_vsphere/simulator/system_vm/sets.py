"""What release 9.1 added to System VMs, for sets of a cluster only: other ways to get one, and updates in a hook.

They are refused in the order in which the API checks: what does not exist, what cannot be done now, what is not for
this deployment type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contrail_vsphere.simulator.eam.agency import Agency
from contrail_vsphere.simulator.system_vm.cluster_set import SystemVmSet
from contrail_vsphere.simulator.system_vm.errors import RestError
from contrail_vsphere.simulator.system_vm.solution import STATES, SystemVmSolution
from contrail_vsphere.wire.system_vm.spec import (
    DeploymentType,
    DynamicUpdateSpec,
    MultiSourceEnableSpec,
    SolutionSpec,
    TransitionSpec,
)

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World
    from contrail_vsphere.simulator.system_vm.service import SystemVms
    from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource


class LaterOperations:
    """The operations of 9.1; each raises RestError."""

    def __init__(self, world: World, vms: SystemVms) -> None:
        self._world, self._vms = world, vms

    async def multi_source_enable(
        self, cluster: ClusterComputeResource, key: str, spec: MultiSourceEnableSpec, *, user: str
    ) -> None:
        """Several agencies of EAM become one set; their VMs stay as they are, the desired state is not applied."""
        vms = self._vms
        vms.check_enabled(cluster)
        agencies = [self._agency(cluster, moid) for moid in spec.eam_agency_ids]
        self._check_new(cluster, key)
        self._check_type(spec.solution)
        await vms.check_spec(spec.solution, cluster)
        for agency in agencies:
            await vms.fail_where_told(agency)
        with self._world.commit(user) as tx:
            solution = vms.empty(tx, cluster, key, spec.solution, user=user)
            for agency in agencies:
                vms.take_over(tx, solution, agency)
            vms.adjust(tx, solution)
        vms.look_at(solution)

    async def transition(self, cluster: ClusterComputeResource, key: str, spec: TransitionSpec, *, user: str) -> None:
        """A set moves here from another cluster: its desired state at once, its VMs with the next apply."""
        vms = self._vms
        vms.check_enabled(cluster)
        solution = vms.solution(vms.cluster(spec.source_cluster), key)
        self._check_new(cluster, key)
        if not cluster.drs:
            raise vms.invalid(f"DRS is off in cluster {cluster.moid}.")
        self._check_type(spec.solution)
        if not isinstance(solution, SystemVmSet):
            raise vms.invalid("This is supported for CLUSTER_VM_SET only.")
        await vms.check_spec(spec.solution, cluster)
        with self._world.commit(user) as tx:
            tx.set(solution, cluster=cluster)
            vms.renew(tx, solution, spec.solution)
        vms.look_at(solution)

    def dynamic_update(self, cluster: ClusterComputeResource, spec: DynamicUpdateSpec, *, user: str) -> None:
        """A VM is made another one while it is in its hook; only that it was is simulated."""
        vms = self._vms
        solution = vms.solution(cluster, spec.solution)
        agent = next((item for item in solution.agents if item.hook_vm and item.hook_vm.moid == spec.vm), None)
        if agent is None:
            raise vms.invalid(f"{spec.vm} is no System VM of solution {spec.solution}.")
        if STATES.get(agent.hook) is not spec.lifecycle_state or not vms.is_applied(solution):
            raise RestError("NOT_ALLOWED_IN_CURRENT_STATE", f"{spec.vm} is not in {spec.lifecycle_state.value}.")
        self._check_type(solution.spec)
        if spec.alternative_vm_spec is not None:
            raise vms.invalid("Devices that the package does not have are not simulated.")
        with self._world.commit(user) as tx:
            tx.set(agent, hook_updated=True)

    def _agency(self, cluster: ClusterComputeResource, moid: str) -> Agency:
        agency = self._world.get(moid)
        if not isinstance(agency, Agency) or isinstance(agency, SystemVmSolution):
            raise RestError("NOT_FOUND", f"There is no agency {moid}.")
        if [item.moid for item in agency.scope] != [cluster.moid]:
            raise self._vms.invalid(f"Agency {agency.name} is not in the scope of cluster {cluster.moid}.")
        return agency

    def _check_new(self, cluster: ClusterComputeResource, key: str) -> None:
        if any(item.key == key for item in self._vms.all_in(cluster)):
            raise self._vms.invalid(f"Solution {key} exists in cluster {cluster.moid}.")

    def _check_type(self, spec: SolutionSpec) -> None:
        if spec.deployment_type is not DeploymentType.CLUSTER_VM_SET:
            raise self._vms.invalid("This is supported for CLUSTER_VM_SET only.")
