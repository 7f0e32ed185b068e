"""How far each System VM is, in vLCM's words; worst first where several are summed up."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

from contrail_vsphere.simulator.system_vm.cluster_set import SystemVmSet
from contrail_vsphere.simulator.system_vm.errors import stamp
from contrail_vsphere.simulator.system_vm.solution import STATES
from contrail_vsphere.wire.system_vm.spec import HookConfig
from contrail_vsphere.wire.system_vm.state import (
    ClusterCompliance,
    ClusterSolutionCompliance,
    ClusterSolutionsCompliance,
    ComplianceStatus,
    DeploymentCompliance,
    DeploymentInfo,
    DeploymentStatus,
    HostCompliance,
    HostSolutionsCompliance,
    IssueInfo,
    IssueType,
    LifecycleHookInfo,
    Message,
    Notification,
    Notifications,
    info_of,
)

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
    from contrail_vsphere.simulator.system_vm.solution import SystemVmSolution
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem

ISSUES: Final = {
    "VmPoweredOn": IssueType.VM_POWERED_ON,
    "VmPoweredOff": IssueType.VM_POWERED_OFF,
    "VmSuspended": IssueType.VM_SUSPENDED,
    "VmInaccessible": IssueType.VM_INACCESSIBLE,
    "VmCorrupted": IssueType.VM_CORRUPTED,
    "VmNotDeployed": IssueType.VM_NOT_DEPLOYED,
    "IncompatibleHostVersion": IssueType.VM_NOT_DEPLOYED,
    "VmDeployed": IssueType.VM_NOT_REMOVED,
    "VmOrphaned": IssueType.VM_NOT_REMOVED,
    "NoAgentVmDatastore": IssueType.VM_DATASTORE_MISSING,
    "NoCustomAgentVmDatastore": IssueType.VM_DATASTORE_MISSING,
    "NoAgentVmNetwork": IssueType.VM_NETWORK_MISSING,
    "NoCustomAgentVmNetwork": IssueType.VM_NETWORK_MISSING,
    "OvfInvalidFormat": IssueType.OVF_INVALID_FORMAT,
    "OvfInvalidProperty": IssueType.OVF_INVALID_PROPERTY,
    "CannotAccessAgentOVF": IssueType.OVF_CANNOT_ACCESS,
    "CertificateNotTrusted": IssueType.OVF_CERTIFICATE_NOT_TRUSTED,
    "InsufficientSpace": IssueType.INSUFFICIENT_SPACE,
    "InsufficientResources": IssueType.INSUFFICIENT_RESOURCES,
    "HostInMaintenanceMode": IssueType.HOST_IN_MAINTENANCE_MODE,
    "VmRequiresHostOutOfMaintenanceMode": IssueType.HOST_IN_MAINTENANCE_MODE,
    "HostInPartialMaintenanceMode": IssueType.HOST_IN_PARTIAL_MAINTENANCE_MODE,
    "HostInStandbyMode": IssueType.HOST_IN_STAND_BY_MODE,
    "HostNotReachable": IssueType.HOST_NOT_REACHABLE,
    "InvalidConfig": IssueType.VM_INVALID_CONFIG,
    "VmHookTimedout": IssueType.VM_LIFECYCLE_HOOK_TIMED_OUT,
    "VmHookFailed": IssueType.VM_LIFECYCLE_HOOK_FAILED,
    "VmProtected": IssueType.VM_PROTECTED,
    "TransitionFailed": IssueType.TRANSITION_FAILED,
}
"""Issue of the EsxAgent -> vLCM's."""


def of_host(solution: SystemVmSolution, agent: EsxAgent | None) -> DeploymentCompliance:
    """One solution on one host."""
    info = deployment(solution, agent)
    good = info.status is DeploymentStatus.COMPLIANT
    return DeploymentCompliance(
        status=ComplianceStatus.COMPLIANT if good else ComplianceStatus.NON_COMPLIANT,
        notifications=Notifications(),
        deployment=info,
    )


def deployment(solution: SystemVmSolution, agent: EsxAgent | None) -> DeploymentInfo:
    """State of the VM; None for a host to which the solution was never applied."""
    shown = None if solution.deleted else info_of(solution.spec)
    if agent is None:
        return DeploymentInfo(status=DeploymentStatus.NOT_APPLIED, issues=[], solution_info=shown)
    hook_vm = agent.hook_vm if agent.hook else None
    hook = LifecycleHookInfo(
        vm=hook_vm.moid,
        lifecycle_state=STATES[agent.hook],
        configuration=HookConfig(timeout=solution.hook_timeout(agent)),
        hook_activated=stamp(agent.hook_since or solution.world.clock.now()),
        dynamic_update_processed=agent.hook_updated,
    ) if hook_vm is not None else None  # fmt: skip
    return DeploymentInfo(
        status=_status(solution, agent),
        issues=_issues(solution, agent),
        vm=agent.vm.moid if agent.vm is not None else None,
        replacement_vm=agent.new_vm.moid if agent.new_vm is not None else None,
        lifecycle_hook=hook,
        solution_info=shown,
    )


def of_cluster(
    solutions: Iterable[SystemVmSolution], hosts: Iterable[HostSystem], units: Collection[str]
) -> ClusterCompliance:
    """All these solutions on all these hosts and in these deployment units (all, if there are none).

    One that is neither wanted nor there is left out.
    """
    every, by_host = list(solutions), {}
    chosen = [item for item in every if not isinstance(item, SystemVmSet)]
    for host in hosts:
        found = {}
        for solution in chosen:
            agent = next((item for item in solution.agents if item.host is host), None)
            if agent is not None or not solution.deleted:
                found[solution.key] = of_host(solution, agent)
        by_host[host.moid] = HostCompliance(status=worst(item.status for item in found.values()), compliances=found)
    of_hosts = HostSolutionsCompliance(status=worst(item.status for item in by_host.values()), compliances=by_host)
    of_sets = _of_sets([item for item in every if isinstance(item, SystemVmSet)], units)
    return ClusterCompliance(
        status=worst([of_hosts.status, of_sets.status]),
        host_solutions_status=of_hosts,
        cluster_solutions_status=of_sets,
    )


def _of_sets(sets: Iterable[SystemVmSet], units: Collection[str]) -> ClusterSolutionsCompliance:
    found = {}
    for item in sets:
        compliances = {
            unit.moid: of_host(item, unit) for unit in item.agents if not units or unit.moid in units
        }  # fmt: skip
        found[item.key] = ClusterSolutionCompliance(
            status=worst(one.status for one in compliances.values()), compliances=compliances
        )
    return ClusterSolutionsCompliance(status=worst(item.status for item in found.values()), compliances=found)


def worst(statuses: Iterable[ComplianceStatus]) -> ComplianceStatus:
    """COMPLIANT only if all are."""
    good = all(status is ComplianceStatus.COMPLIANT for status in statuses)
    return ComplianceStatus.COMPLIANT if good else ComplianceStatus.NON_COMPLIANT


def _status(solution: SystemVmSolution, agent: EsxAgent) -> DeploymentStatus:
    if agent.applied_revision == 0:
        return DeploymentStatus.NOT_APPLIED
    if agent.blocked:
        stopped = any(other.issues for other in solution.agents)
        return DeploymentStatus.BLOCKED if stopped else DeploymentStatus.IN_PROGRESS
    if not solution.is_newest(agent):
        return DeploymentStatus.OBSOLETE_SPEC
    if agent.issues or solution.cluster.disabled:
        return DeploymentStatus.ISSUE
    if agent.hook:
        return DeploymentStatus.IN_LIFECYCLE_HOOK
    return DeploymentStatus.COMPLIANT if agent.status == "green" else DeploymentStatus.IN_PROGRESS


def _issues(solution: SystemVmSolution, agent: EsxAgent) -> list[IssueInfo]:
    now = stamp(solution.world.clock.now())
    kinds = {**ISSUES, "TransitionFailed": IssueType.CLUSTER_TRANSITION_FAILED} if solution.is_set else ISSUES
    found = [
        _info(kinds.get(record.type, IssueType.VM_INVALID_CONFIG), stamp(record.time), record.describe(solution))
        for record in agent.issues
    ]
    if solution.cluster.disabled:
        found.append(_info(IssueType.VMS_DISABLED, now, "System VMs are disabled in this cluster."))
    return found


def _info(kind: IssueType, time: str, text: str) -> IssueInfo:
    message = Message(id=f"com.vmware.vcIntegrity.systemVm.{kind.value.lower()}", default_message=text, args=[])
    return IssueInfo(type=kind, notifications=Notifications(errors=[Notification(id="1", time=time, message=message)]))
