"""What vLCM answers: how far each VM is, results of tasks, errors.

Unknown fields of newer releases are ignored when read. Lists and maps that the API always sends have no default.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import Field

from contrail_vsphere.wire.system_vm.spec import (
    CloneConfig,
    ClusterSolutionSpec,
    DeploymentType,
    DiskType,
    HookConfig,
    LifecycleState,
    OvfResource,
    RedeploymentPolicy,
    SolutionSpec,
    StoragePolicy,
    VmNameTemplate,
    VmResourceSpec,
)

E = TypeVar("E", bound=StrEnum)
Known = Annotated[E | str, Field(union_mode="left_to_right")]
"""A word of ours, or one that only a newer release has: it must not hide all the rest."""


class DeploymentStatus(StrEnum):
    """OBSOLETE_SPEC (the desired state is newer than what was applied) comes before all but NOT_APPLIED."""

    NOT_APPLIED = "NOT_APPLIED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLIANT = "COMPLIANT"
    ISSUE = "ISSUE"
    IN_LIFECYCLE_HOOK = "IN_LIFECYCLE_HOOK"
    BLOCKED = "BLOCKED"
    OBSOLETE_SPEC = "OBSOLETE_SPEC"


class IssueType(StrEnum):
    """Why a deployment does not get on; nearly every one is mended and then applied again."""

    VM_POWERED_ON = "VM_POWERED_ON"
    VM_POWERED_OFF = "VM_POWERED_OFF"
    VM_SUSPENDED = "VM_SUSPENDED"
    VM_INACCESSIBLE = "VM_INACCESSIBLE"
    VM_CORRUPTED = "VM_CORRUPTED"
    VM_NOT_DEPLOYED = "VM_NOT_DEPLOYED"
    VM_NOT_REMOVED = "VM_NOT_REMOVED"
    VM_DATASTORE_MISSING = "VM_DATASTORE_MISSING"
    VM_NETWORK_MISSING = "VM_NETWORK_MISSING"
    OVF_INVALID_FORMAT = "OVF_INVALID_FORMAT"
    OVF_INVALID_PROPERTY = "OVF_INVALID_PROPERTY"
    OVF_CANNOT_ACCESS = "OVF_CANNOT_ACCESS"
    OVF_CERTIFICATE_NOT_TRUSTED = "OVF_CERTIFICATE_NOT_TRUSTED"
    INSUFFICIENT_SPACE = "INSUFFICIENT_SPACE"
    INSUFFICIENT_RESOURCES = "INSUFFICIENT_RESOURCES"
    HOST_IN_MAINTENANCE_MODE = "HOST_IN_MAINTENANCE_MODE"
    HOST_IN_PARTIAL_MAINTENANCE_MODE = "HOST_IN_PARTIAL_MAINTENANCE_MODE"
    HOST_IN_STAND_BY_MODE = "HOST_IN_STAND_BY_MODE"
    HOST_NOT_REACHABLE = "HOST_NOT_REACHABLE"
    VM_INVALID_CONFIG = "VM_INVALID_CONFIG"
    VMS_DISABLED = "VMS_DISABLED"
    VM_LIFECYCLE_HOOK_TIMED_OUT = "VM_LIFECYCLE_HOOK_TIMED_OUT"
    VM_LIFECYCLE_HOOK_FAILED = "VM_LIFECYCLE_HOOK_FAILED"
    VM_PROTECTED = "VM_PROTECTED"
    VM_LIFECYCLE_HOOK_DYNAMIC_UPDATE_FAILED = "VM_LIFECYCLE_HOOK_DYNAMIC_UPDATE_FAILED"
    CLUSTER_TRANSITION_FAILED = "CLUSTER_TRANSITION_FAILED"
    TRANSITION_FAILED = "TRANSITION_FAILED"


class ComplianceStatus(StrEnum):
    """Of a VM, a host, a solution, a cluster; the worst counts."""

    COMPLIANT = "COMPLIANT"
    NON_COMPLIANT = "NON_COMPLIANT"
    INCOMPATIBLE = "INCOMPATIBLE"


class TaskStatus(StrEnum):
    """Of a task of vCenter's REST API."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    BLOCKED = "BLOCKED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A text with its key and arguments."""

    id: str
    default_message: str
    args: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A message and when it came."""

    id: str
    time: str
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifications:
    """By severity; what is None is empty."""

    info: list[Notification] | None = None
    warnings: list[Notification] | None = None
    errors: list[Notification] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueInfo:
    """What keeps a deployment from getting on."""

    type: Known[IssueType]
    notifications: Notifications


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleHookInfo:
    """An open hook: vLCM waits for the solution."""

    vm: str
    lifecycle_state: LifecycleState
    configuration: HookConfig
    hook_activated: str
    """RFC 3339."""
    dynamic_update_processed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HookList:
    """Open hooks of a solution in a cluster."""

    hooks: list[LifecycleHookInfo]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSolutionInfo:
    """Where the VM of a host goes."""

    prefer_host_configuration: bool
    vm_networks: list[str]
    vm_datastores: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SolutionInfo:
    """A desired state with its defaults filled in."""

    deployment_type: DeploymentType
    display_name: str
    display_version: str
    vm_name_template: VmNameTemplate
    hook_configurations: dict[LifecycleState, HookConfig]
    ovf_resource: OvfResource
    ovf_descriptor_properties: dict[str, str]
    vm_clone_config: CloneConfig
    vm_storage_policy: StoragePolicy
    vm_disk_type: DiskType
    host_solution_info: HostSolutionInfo | None = None
    cluster_solution_info: ClusterSolutionSpec | None = None
    vm_storage_profiles: list[str] | None = None
    vm_resource_pool: str | None = None
    vm_folder: str | None = None
    vm_resource_spec: VmResourceSpec | None = None
    redeployment_policy: RedeploymentPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SolutionList:
    """By solution."""

    solutions: dict[str, SolutionInfo]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentInfo:
    """One VM. ``replacement_vm`` is the one that is to take its place."""

    status: Known[DeploymentStatus]
    issues: list[IssueInfo]
    vm: str | None = None
    replacement_vm: str | None = None
    lifecycle_hook: LifecycleHookInfo | None = None
    solution_info: SolutionInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentCompliance:
    """Of one VM."""

    status: ComplianceStatus
    notifications: Notifications
    deployment: DeploymentInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCompliance:
    """By solution."""

    status: ComplianceStatus
    compliances: dict[str, DeploymentCompliance]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSolutionsCompliance:
    """By host."""

    status: ComplianceStatus
    compliances: dict[str, HostCompliance]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSolutionCompliance:
    """By deployment unit."""

    status: ComplianceStatus
    compliances: dict[str, DeploymentCompliance]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSolutionsCompliance:
    """By solution."""

    status: ComplianceStatus
    compliances: dict[str, ClusterSolutionCompliance]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterCompliance:
    """Result of ``check-compliance``."""

    status: ComplianceStatus
    host_solutions_status: HostSolutionsCompliance
    cluster_solutions_status: ClusterSolutionsCompliance


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyStatus:
    """``status`` is SUCCESS or ERROR, None while it goes on."""

    start_time: str
    status: str | None = None
    end_time: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostApplyStatus:
    """By solution."""

    solution_statuses: dict[str, ApplyStatus]
    status: ApplyStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSolutionsApplyStatus:
    """By host."""

    host_statuses: dict[str, HostApplyStatus]
    status: ApplyStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSolutionApplyStatus:
    """By deployment unit."""

    deployment_unit_statuses: dict[str, ApplyStatus]
    status: ApplyStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSolutionsApplyStatus:
    """By solution."""

    solution_statuses: dict[str, ClusterSolutionApplyStatus]
    status: ApplyStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """Result of ``apply``."""

    host_solutions_status: HostSolutionsApplyStatus
    cluster_solutions_status: ClusterSolutionsApplyStatus
    status: ApplyStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiError:
    """Body of an answer that is not a success; ``error_type`` is NOT_FOUND, UNSUPPORTED and the like."""

    error_type: str
    messages: list[Message]
    data: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDescription:
    """What a task does, for people."""

    id: str
    default_message: str
    args: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """What ``/api/cis/tasks/{task}`` says; ``result`` and ``error`` are those of the operation."""

    service: str
    operation: str
    status: TaskStatus
    cancelable: bool
    description: TaskDescription
    user: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    result: Any = None
    error: Any = None


def info_of(spec: SolutionSpec) -> SolutionInfo:
    """A desired state as vLCM shows it."""
    where = spec.host_solution_spec
    host = HostSolutionInfo(
        prefer_host_configuration=bool(where and where.prefer_host_configuration),
        vm_networks=list((where and where.vm_networks) or []),
        vm_datastores=list((where and where.vm_datastores) or []),
    )
    pinned = spec.deployment_type is DeploymentType.EVERY_HOST_PINNED
    return SolutionInfo(
        deployment_type=spec.deployment_type,
        display_name=spec.display_name,
        display_version=spec.display_version,
        vm_name_template=spec.vm_name_template,
        host_solution_info=host if pinned else None,
        cluster_solution_info=spec.cluster_solution_spec,
        hook_configurations=spec.hook_configurations or {},
        ovf_resource=spec.ovf_resource,
        ovf_descriptor_properties=spec.ovf_descriptor_properties or {},
        vm_clone_config=spec.vm_clone_config or CloneConfig.ALL_CLONES,
        vm_storage_policy=spec.vm_storage_policy,
        vm_storage_profiles=spec.vm_storage_profiles,
        vm_disk_type=spec.vm_disk_type or DiskType.DEFAULT,
        vm_resource_pool=spec.vm_resource_pool,
        vm_folder=spec.vm_folder,
        vm_resource_spec=spec.vm_resource_spec,
        redeployment_policy=spec.redeployment_policy or RedeploymentPolicy.RECREATE,
    )
