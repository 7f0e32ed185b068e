"""How far each System VM is, in vLCM's words; worst first where several are summed up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from contrail_vsphere.simulator.system_vm.errors import stamp
from contrail_vsphere.simulator.system_vm.solution import STATES
from contrail_vsphere.wire.system_vm.spec import HookConfig
from contrail_vsphere.wire.system_vm.state import (
    ClusterCompliance,
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
        dynamic_update_processed=False,
    ) if hook_vm is not None else None  # fmt: skip
    return DeploymentInfo(
        status=_status(solution, agent),
        issues=_issues(solution, agent),
        vm=agent.vm.moid if agent.vm is not None else None,
        replacement_vm=agent.new_vm.moid if agent.new_vm is not None else None,
        lifecycle_hook=hook,
        solution_info=shown,
    )


def of_cluster(solutions: Iterable[SystemVmSolution], hosts: Iterable[HostSystem]) -> ClusterCompliance:
    """All these solutions on all these hosts; one that is neither wanted nor there is left out."""
    chosen, by_host = list(solutions), {}
    for host in hosts:
        found = {}
        for solution in chosen:
            agent = next((item for item in solution.agents if item.host is host), None)
            if agent is not None or not solution.deleted:
                found[solution.key] = of_host(solution, agent)
        by_host[host.moid] = HostCompliance(status=worst(item.status for item in found.values()), compliances=found)
    of_hosts = HostSolutionsCompliance(status=worst(item.status for item in by_host.values()), compliances=by_host)
    return ClusterCompliance(
        status=of_hosts.status,
        host_solutions_status=of_hosts,
        cluster_solutions_status=ClusterSolutionsCompliance(status=ComplianceStatus.COMPLIANT, compliances={}),
    )


def worst(statuses: Iterable[ComplianceStatus]) -> ComplianceStatus:
    """COMPLIANT only if all are."""
    good = all(status is ComplianceStatus.COMPLIANT for status in statuses)
    return ComplianceStatus.COMPLIANT if good else ComplianceStatus.NON_COMPLIANT


def _status(solution: SystemVmSolution, agent: EsxAgent) -> DeploymentStatus:
    if agent.applied_revision == 0:
        return DeploymentStatus.NOT_APPLIED
    if not solution.is_newest(agent):
        return DeploymentStatus.OBSOLETE_SPEC
    if agent.issues or solution.cluster.disabled:
        return DeploymentStatus.ISSUE
    if agent.hook:
        return DeploymentStatus.IN_LIFECYCLE_HOOK
    return DeploymentStatus.COMPLIANT if agent.status == "green" else DeploymentStatus.IN_PROGRESS


def _issues(solution: SystemVmSolution, agent: EsxAgent) -> list[IssueInfo]:
    now = stamp(solution.world.clock.now())
    found = [
        _info(ISSUES.get(record.type, IssueType.VM_INVALID_CONFIG), stamp(record.time), record.describe(solution))
        for record in agent.issues
    ]
    if solution.cluster.disabled:
        found.append(_info(IssueType.VMS_DISABLED, now, "System VMs are disabled in this cluster."))
    return found


def _info(kind: IssueType, time: str, text: str) -> IssueInfo:
    message = Message(id=f"com.vmware.vcIntegrity.systemVm.{kind.value.lower()}", default_message=text, args=[])
    return IssueInfo(type=kind, notifications=Notifications(errors=[Notification(id="1", time=time, message=message)]))
