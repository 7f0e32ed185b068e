"""What a desired state of System VMs must be like, in general, in this release and in this cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.wire.system_vm.spec import DeploymentType, LocationType, RedeploymentPolicy, SolutionSpec

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.service import EamService
    from contrail_vsphere.simulator.vcenter.compute_resource import ClusterComputeResource


def problem(spec: SolutionSpec, cluster: ClusterComputeResource, eam: EamService) -> str:
    """What is wrong with it, or nothing."""
    newest = eam.profile.later_operations
    if spec.redeployment_policy is not None and not newest:
        return "redeployment_policy is not known before 9.1."
    if spec.deployment_type is DeploymentType.CLUSTER_VM_SET:
        wrong = _of_set(spec, cluster, newest=newest, sets=newest or eam.switches.sets_in_9_0)
    else:
        wrong = _of_hosts(spec)
    return wrong or _of_package(spec)


def _of_hosts(spec: SolutionSpec) -> str:
    if spec.host_solution_spec is None:  # so says the union of the API, though it may be empty
        return "host_solution_spec must be set."
    if spec.cluster_solution_spec is not None:
        return "cluster_solution_spec is for CLUSTER_VM_SET."
    if spec.redeployment_policy is RedeploymentPolicy.BLUE_GREEN:
        return "BLUE_GREEN is for CLUSTER_VM_SET."
    return ""


def _of_set(spec: SolutionSpec, cluster: ClusterComputeResource, *, newest: bool, sets: bool) -> str:
    wish = spec.cluster_solution_spec
    if not sets:
        return "CLUSTER_VM_SET is not supported."
    if wish is None:
        return "cluster_solution_spec must be set."
    if spec.host_solution_spec is not None:
        return "host_solution_spec is for EVERY_HOST_PINNED."
    if wish.vm_count < 1:
        return "cluster_solution_spec.vm_count must be at least 1."
    if not newest and (wish.remediation_policy is not None or wish.alternative_vm_specs is not None):
        return "remediation_policy and alternative_vm_specs are not known before 9.1."
    if wish.devices is not None or wish.alternative_vm_specs:
        return "Devices that the package does not have are not simulated."
    if not wish.vm_datastores and not cluster.drs:
        return f"DRS is off in cluster {cluster.moid}: cluster_solution_spec.vm_datastores must be set."
    return _of_places(spec, cluster)


def _of_places(spec: SolutionSpec, cluster: ClusterComputeResource) -> str:
    wish = spec.cluster_solution_spec
    assert wish is not None  # noqa: S101 - checked before
    for kind, moids in ((Network, (wish.vm_networks or {}).values()), (Datastore, wish.vm_datastores or ())):
        for moid in moids:
            if not isinstance(cluster.world.get(moid), kind):
                return f"There is no {kind.wsdl.lower()} {moid}."
    return "" if cluster.hosts else f"Cluster {cluster.moid} has no host."


def _of_package(spec: SolutionSpec) -> str:
    if spec.ovf_resource.location_type is LocationType.LOCAL_FILE:
        return "Only REMOTE_FILE is simulated."
    if not spec.ovf_resource.url:
        return "ovf_resource.url must be set."
    if spec.ovf_resource.ssl_certificate_validation is None:  # required with REMOTE_FILE by the API's own union
        return "ovf_resource.ssl_certificate_validation must be set."
    spaced = [name for name in spec.ovf_descriptor_properties or {} if any(letter.isspace() for letter in name)]
    return f"The property name {spaced[0]!r} contains white-space." if spaced else ""
