"""What a client asks for: a solution's desired state, and the requests that act on it.

Field names are those of the JSON (vSphere API 9.1, ``com.vmware.esx.settings.clusters.vms``); what is None is not sent.
References are plain managed object ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

DEFAULT_HOOK_TIMEOUT: Final = 36_000
"""Seconds, where a hook names none."""


class DeploymentType(StrEnum):
    """One VM on every host, or a set somewhere in the cluster."""

    EVERY_HOST_PINNED = "EVERY_HOST_PINNED"
    CLUSTER_VM_SET = "CLUSTER_VM_SET"


class LifecycleState(StrEnum):
    """Where a solution may hook in."""

    POST_PROVISIONING = "POST_PROVISIONING"
    POST_POWER_ON = "POST_POWER_ON"


class LocationType(StrEnum):
    """Where the package is: behind a URL, or on the appliance."""

    REMOTE_FILE = "REMOTE_FILE"
    LOCAL_FILE = "LOCAL_FILE"


class CertificateValidation(StrEnum):
    """Whether the package server's certificate is checked."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


class NameSuffix(StrEnum):
    """What follows the prefix of a VM's name."""

    UUID = "UUID"
    COUNTER = "COUNTER"


class CloneConfig(StrEnum):
    """Whether later VMs may be clones of the first."""

    ALL_CLONES = "ALL_CLONES"
    FULL_CLONES_ONLY = "FULL_CLONES_ONLY"
    NO_CLONES = "NO_CLONES"


class StoragePolicy(StrEnum):
    """The datastore's own, or profiles that are named."""

    DEFAULT = "DEFAULT"
    PROFILE = "PROFILE"


class DiskType(StrEnum):
    """Provisioning of the disks."""

    DEFAULT = "DEFAULT"
    THIN = "THIN"
    THICK = "THICK"


class RedeploymentPolicy(StrEnum):
    """BLUE_GREEN is for sets of a cluster only, and new in 9.1."""

    RECREATE = "RECREATE"
    BLUE_GREEN = "BLUE_GREEN"


class RemediationPolicy(StrEnum):
    """Of the VMs of a set: all at once, or one by one."""

    PARALLEL = "PARALLEL"
    SEQUENTIAL = "SEQUENTIAL"


class PlacementPolicy(StrEnum):
    """Of the VMs of a set: never two on one host."""

    VM_VM_ANTI_AFFINITY = "VM_VM_ANTI_AFFINITY"


@dataclass(frozen=True, slots=True, kw_only=True)
class HookConfig:
    """How long vLCM waits in a hook."""

    timeout: int | None = None
    """Seconds until the hook is over and an issue; None: ten hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OvfResource:
    """The package, and how to trust its server."""

    location_type: LocationType
    url: str | None = None
    ssl_certificate_validation: CertificateValidation | None = None
    """Required for REMOTE_FILE."""
    certificate: str | None = None
    """PEM that the server's certificate must equal."""
    authentication_scheme: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VmNameTemplate:
    """How VMs are called."""

    prefix: str
    suffix: NameSuffix


@dataclass(frozen=True, slots=True, kw_only=True)
class VmResourceSpec:
    """Which of the package's deployment options is used."""

    ovf_deployment_option: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSolutionSpec:
    """Where the VM of a host goes; the first network and datastore that the host has."""

    prefer_host_configuration: bool | None = None
    vm_networks: list[str] | None = None
    vm_datastores: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSolutionSpec:
    """A set of VMs somewhere in the cluster."""

    vm_count: int
    vm_networks: dict[str, str] | None = None
    """By the name that the network has in the OVF."""
    vm_datastores: list[str] | None = None
    """The first that is there; None: vLCM chooses, which needs DRS."""
    vm_placement_policies: list[PlacementPolicy] | None = None
    devices: Any = None
    """A ConfigSpec with devices to add; not together with ``vm_networks``."""
    remediation_policy: RemediationPolicy | None = None
    """New in 9.1; None: PARALLEL."""
    alternative_vm_specs: list[Any] | None = None
    """New in 9.1: other devices for VMs that are marked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SolutionSpec:
    """Desired state of one solution in one cluster."""

    deployment_type: DeploymentType
    display_name: str
    display_version: str
    vm_name_template: VmNameTemplate
    ovf_resource: OvfResource
    vm_storage_policy: StoragePolicy
    host_solution_spec: HostSolutionSpec | None = None
    cluster_solution_spec: ClusterSolutionSpec | None = None
    hook_configurations: dict[LifecycleState, HookConfig] | None = None
    ovf_descriptor_properties: dict[str, str] | None = None
    vm_clone_config: CloneConfig | None = None
    vm_storage_profiles: list[str] | None = None
    vm_disk_type: DiskType | None = None
    vm_resource_pool: str | None = None
    vm_folder: str | None = None
    vm_resource_spec: VmResourceSpec | None = None
    redeployment_policy: RedeploymentPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFilter:
    """Empty or None: all."""

    solutions: list[str] | None = None
    hosts: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFilter:
    """Empty or None: all."""

    solutions: list[str] | None = None
    deployment_units: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplySpec:
    """Without any filter everything is applied."""

    host_solutions: HostFilter | None = None
    cluster_solutions: ClusterFilter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckComplianceSpec:
    """Empty or None: all."""

    solutions: list[str] | None = None
    hosts: list[str] | None = None
    deployment_units: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessedHookSpec:
    """The hook of a VM has been dealt with, well or not."""

    vm: str
    lifecycle_state: LifecycleState
    processed_successfully: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableSpec:
    """Take over an agency of EAM: its managed object id, and the desired state from then on."""

    eam_agency_id: str
    solution: SolutionSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiSourceEnableSpec:
    """Take over several agencies of EAM as one solution (9.1, sets of a cluster only)."""

    eam_agency_ids: list[str]
    solution: SolutionSpec
    cluster_module: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionSpec:
    """Move a solution here from another cluster (9.1, sets of a cluster only)."""

    source_cluster: str
    solution: SolutionSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicUpdateSpec:
    """Change a VM while it waits in a hook (9.1, sets of a cluster only)."""

    vm: str
    solution: str
    lifecycle_state: LifecycleState
    alternative_vm_spec: Any = None
    """Devices for this VM; None: none, the update is only said to be processed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnablementInfo:
    """Whether a cluster is managed by an image."""

    enabled: bool
