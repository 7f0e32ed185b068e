"""What release 9.1 added to System VMs is for sets of a cluster only, and says so for a VM on every host.

Transitions from several agencies or from another cluster and updates of a VM in its hook are refused for solutions with
EVERY_HOST_PINNED, in the order in which the API checks: what does not exist, what cannot be done now, what is not for
this deployment type. Sets themselves are not simulated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from contrail_vsphere.simulator.eam.agency import Agency
from contrail_vsphere.simulator.system_vm.errors import RestError
from contrail_vsphere.simulator.system_vm.solution import STATES, SystemVmSolution
from contrail_vsphere.wire.system_vm.spec import (
    DeploymentType,
    DynamicUpdateSpec,
    MultiSourceEnableSpec,
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

    def multi_source_enable(self, cluster: ClusterComputeResource, key: str, spec: MultiSourceEnableSpec) -> NoReturn:
        """Several agencies of EAM become one solution."""
        for moid in spec.eam_agency_ids:
            agency = self._world.get(moid)
            if not isinstance(agency, Agency) or isinstance(agency, SystemVmSolution):
                raise RestError("NOT_FOUND", f"There is no agency {moid}.")
            if [item.moid for item in agency.scope] != [cluster.moid]:
                raise self._invalid(f"Agency {agency.name} is not in the scope of cluster {cluster.moid}.")
        if any(item.key == key for item in self._vms.all_in(cluster)):
            raise self._invalid(f"Solution {key} exists in cluster {cluster.moid}.")
        raise self._not_for(spec.solution.deployment_type)

    def transition(self, cluster: ClusterComputeResource, key: str, spec: TransitionSpec) -> NoReturn:
        """A solution moves here from another cluster."""
        self._vms.solution(self._vms.cluster(spec.source_cluster), key)
        if any(item.key == key for item in self._vms.all_in(cluster)):
            raise self._invalid(f"Solution {key} exists in cluster {cluster.moid}.")
        if not cluster.drs:
            raise self._invalid(f"DRS is off in cluster {cluster.moid}.")
        raise self._not_for(spec.solution.deployment_type)

    def dynamic_update(self, cluster: ClusterComputeResource, spec: DynamicUpdateSpec) -> NoReturn:
        """A VM is made another one while it is in its hook."""
        solution = self._vms.solution(cluster, spec.solution)
        agent = next((item for item in solution.agents if item.hook_vm and item.hook_vm.moid == spec.vm), None)
        if agent is None:
            raise self._invalid(f"{spec.vm} is no System VM of solution {spec.solution}.")
        if STATES.get(agent.hook) is not spec.lifecycle_state:
            raise RestError("NOT_ALLOWED_IN_CURRENT_STATE", f"{spec.vm} is not in {spec.lifecycle_state.value}.")
        raise self._not_for(solution.spec.deployment_type)

    def _not_for(self, kind: DeploymentType) -> RestError:
        if kind is DeploymentType.EVERY_HOST_PINNED:
            return self._invalid("This is supported for CLUSTER_VM_SET only.")
        return self._invalid("Only EVERY_HOST_PINNED is simulated.")

    def _invalid(self, message: str) -> RestError:
        return RestError("INVALID_ARGUMENT", message, at=self._world.clock.now())
