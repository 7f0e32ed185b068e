"""Between vLCM's words for System VMs and ``model.eam``: a solution in a cluster is an agency, its VM an EsxAgent.

So the manager judges both by the same rules. What differs is said in the values: ``Agency.backend``, and
``EsxAgent.unapplied`` for a host that vLCM brings to the desired state only when it is told to.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from contrail_vsphere.model.eam import (
    Agency,
    AgencyConfig,
    EsxAgent,
    EsxAgentConfig,
    GoalState,
    HookState,
    Issue,
    Status,
    Trust,
    VmHook,
)
from contrail_vsphere.model.errors import InvalidArgument
from contrail_vsphere.model.ids import (
    AgencyId,
    ClusterId,
    DatacenterId,
    DatastoreId,
    EsxAgentId,
    FolderId,
    HostId,
    NetworkId,
    ResourcePoolId,
    VmId,
)
from contrail_vsphere.wire.system_vm.spec import (
    CertificateValidation,
    CloneConfig,
    DeploymentType,
    DiskType,
    HookConfig,
    HostSolutionSpec,
    LifecycleState,
    LocationType,
    NameSuffix,
    OvfResource,
    SolutionSpec,
    StoragePolicy,
    VmNameTemplate,
    VmResourceSpec,
)
from contrail_vsphere.wire.system_vm.state import (
    DeploymentInfo,
    DeploymentStatus,
    IssueInfo,
    IssueType,
    SolutionInfo,
)

PREFIX = "system-vm/"
"""Ids of agencies and EsxAgents begin so where vLCM has them, and never do where EAM has."""
PROVISIONED_TIMEOUT = 36_000
"""Seconds vLCM waits before power-on: a manager that was away overnight still finds its ContrailVMs waiting."""
POWERED_ON_TIMEOUT = 1_200
"""Seconds vLCM waits after power-on. Until a hook is over nothing else in the cluster can be applied, so that one host
whose vRouter never comes up must not keep all others from being repaired."""

STATES: Mapping[HookState, LifecycleState] = {
    "provisioned": LifecycleState.POST_PROVISIONING,
    "poweredOn": LifecycleState.POST_POWER_ON,
}
_HOOKS: Mapping[LifecycleState, HookState] = {theirs: ours for ours, theirs in STATES.items()}
_DISKS = {"": None, "thin": DiskType.THIN, "thick": DiskType.THICK}

_ISSUES: Mapping[str, str] = {
    IssueType.VM_POWERED_ON: "VmPoweredOn",
    IssueType.VM_POWERED_OFF: "VmPoweredOff",
    IssueType.VM_SUSPENDED: "VmSuspended",
    IssueType.VM_INACCESSIBLE: "VmInaccessible",
    IssueType.VM_CORRUPTED: "VmCorrupted",
    IssueType.VM_NOT_DEPLOYED: "VmNotDeployed",
    IssueType.VM_NOT_REMOVED: "VmDeployed",
    IssueType.OVF_INVALID_FORMAT: "OvfInvalidFormat",
    IssueType.OVF_INVALID_PROPERTY: "OvfInvalidProperty",
    IssueType.OVF_CANNOT_ACCESS: "CannotAccessAgentOVF",
    IssueType.OVF_CERTIFICATE_NOT_TRUSTED: "CertificateNotTrusted",
    IssueType.INSUFFICIENT_SPACE: "InsufficientSpace",
    IssueType.INSUFFICIENT_RESOURCES: "InsufficientResources",
    IssueType.HOST_IN_MAINTENANCE_MODE: "HostInMaintenanceMode",
    IssueType.HOST_IN_PARTIAL_MAINTENANCE_MODE: "HostInPartialMaintenanceMode",
    IssueType.HOST_IN_STAND_BY_MODE: "HostInStandbyMode",
    IssueType.HOST_NOT_REACHABLE: "HostNotReachable",
    IssueType.VM_INVALID_CONFIG: "InvalidConfig",
    IssueType.VMS_DISABLED: "AgencyDisabled",
    IssueType.VM_LIFECYCLE_HOOK_TIMED_OUT: "VmHookTimedout",
    IssueType.VM_LIFECYCLE_HOOK_FAILED: "VmHookFailed",
    IssueType.VM_LIFECYCLE_HOOK_DYNAMIC_UPDATE_FAILED: "VmHookFailed",
    IssueType.VM_PROTECTED: "VmProtected",
    IssueType.TRANSITION_FAILED: "TransitionFailed",
    IssueType.CLUSTER_TRANSITION_FAILED: "TransitionFailed",
}
"""vLCM's issue -> EAM's name of it. Datastore and network: by whether the desired state names any."""


# -- identity -------------------------------------------------------------------------------------------------------


def agency_id(cluster: ClusterId, solution: str) -> AgencyId:
    """Of a solution in a cluster."""
    return AgencyId(f"{PREFIX}{cluster}/{solution}")


def place_of(agency: AgencyId) -> tuple[ClusterId, str]:
    """The inverse: cluster and solution."""
    cluster, _, solution = agency.removeprefix(PREFIX).partition("/")
    return ClusterId(cluster), solution


def agent_place(agent: EsxAgentId) -> tuple[ClusterId, str, HostId]:
    """Cluster, solution and host of an EsxAgent."""
    agency, _, host = agent.rpartition("/")
    return *place_of(AgencyId(agency)), HostId(host)


def issue_key(host: HostId, issue_type: str) -> int:
    """Issues of vLCM have no keys; ours follow from host and type."""
    return zlib.crc32(f"{host} {issue_type}".encode()) & 0x7FFFFFFF


# -- desired state --------------------------------------------------------------------------------------------------


def spec_of(config: AgencyConfig) -> SolutionSpec:
    """An agency's configuration as a desired state. InvalidArgument for what only EAM can do."""
    if len(config.agents) != 1:
        raise InvalidArgument("System VMs have one package for all hosts of a cluster")
    entry = config.agents[0]
    hooks: dict[LifecycleState, HookConfig] = {}
    if config.hook_after_provisioning:
        hooks[LifecycleState.POST_PROVISIONING] = HookConfig(timeout=PROVISIONED_TIMEOUT)
    if config.hook_after_power_on:
        hooks[LifecycleState.POST_POWER_ON] = HookConfig(timeout=POWERED_ON_TIMEOUT)
    pool = next((pool for _, pool in config.resource_pools), None)
    folder = next((folder for _, folder in config.folders), None)
    return SolutionSpec(
        deployment_type=DeploymentType.EVERY_HOST_PINNED,
        display_name=config.name,
        display_version=entry.version or "1",
        vm_name_template=VmNameTemplate(prefix=config.agent_name, suffix=NameSuffix.COUNTER),
        ovf_resource=_resource(entry),
        ovf_descriptor_properties=dict(entry.properties),
        host_solution_spec=HostSolutionSpec(
            prefer_host_configuration=config.prefer_host_configuration or None,
            vm_networks=list(config.networks) or None,
            vm_datastores=list(config.datastores) or None,
        ),
        hook_configurations=hooks,
        vm_clone_config=CloneConfig.ALL_CLONES if config.linked_clones else CloneConfig.NO_CLONES,
        vm_storage_policy=StoragePolicy.DEFAULT,
        vm_disk_type=_DISKS.get(entry.disk_provisioning),
        vm_resource_pool=pool,
        vm_folder=folder,
        vm_resource_spec=VmResourceSpec(ovf_deployment_option=entry.deployment_option)
        if entry.deployment_option
        else None,
    )


def _resource(entry: EsxAgentConfig) -> OvfResource:
    verified = entry.ovf_url.startswith("https:")
    return OvfResource(
        location_type=LocationType.REMOTE_FILE,
        url=entry.ovf_url,
        ssl_certificate_validation=CertificateValidation.ENABLED if verified else CertificateValidation.DISABLED,
        certificate=entry.trust.pem or None if entry.trust else None,
    )


def config_of(
    solution: str, info: SolutionInfo, *, cluster: ClusterId, datacenter: DatacenterId | None
) -> AgencyConfig:
    """A desired state as vLCM shows it, as an agency's configuration."""
    where, resource = info.host_solution_info, info.ovf_resource
    entry = EsxAgentConfig(
        ovf_url=resource.url or "",
        properties=tuple(info.ovf_descriptor_properties.items()),
        trust=Trust(resource.certificate) if resource.certificate else None,
        deployment_option=(info.vm_resource_spec.ovf_deployment_option or "") if info.vm_resource_spec else "",
        disk_provisioning="" if info.vm_disk_type is DiskType.DEFAULT else info.vm_disk_type.value.lower(),
        version=info.display_version,
    )
    return AgencyConfig(
        name=solution,
        agent_name=info.vm_name_template.prefix,
        agents=(entry,),
        scope=(cluster,),
        hook_after_provisioning=LifecycleState.POST_PROVISIONING in info.hook_configurations,
        hook_after_power_on=LifecycleState.POST_POWER_ON in info.hook_configurations,
        linked_clones=info.vm_clone_config is not CloneConfig.NO_CLONES,
        networks=tuple(NetworkId(each) for each in (where.vm_networks if where else ())),
        datastores=tuple(DatastoreId(each) for each in (where.vm_datastores if where else ())),
        prefer_host_configuration=bool(where and where.prefer_host_configuration),
        resource_pools=((cluster, ResourcePoolId(info.vm_resource_pool)),) if info.vm_resource_pool else (),
        folders=((datacenter, FolderId(info.vm_folder)),) if datacenter and info.vm_folder else (),
    )


# -- what is --------------------------------------------------------------------------------------------------------


def agency(
    cluster: ClusterId,
    solution: str,
    *,
    owner: str,
    config: AgencyConfig,
    deployments: Mapping[HostId, DeploymentInfo],
    deleted: bool,
) -> Agency:
    """A solution with its deployments by host; ``deleted``: its desired state is gone, the VMs are to go."""
    identity = agency_id(cluster, solution)
    goal: GoalState = "uninstalled" if deleted else "enabled"
    agents = tuple(
        esx_agent(identity, host, each, config=config, goal=goal) for host, each in sorted(deployments.items())
    )
    disabled = any(issue.type == "AgencyDisabled" for agent in agents for issue in agent.issues)
    agents = tuple(_without(agent, "AgencyDisabled") for agent in agents)
    own = (Issue("AgencyDisabled", issue_key(HostId(""), "AgencyDisabled")),) if disabled else ()
    issues = (*own, *(issue for agent in agents for issue in agent.issues))
    colours = {agent.status for agent in agents}
    status: Status = "red" if own or "red" in colours else "yellow" if "yellow" in colours else "green"
    return Agency(
        id=identity,
        solution_id=owner,
        config=config,
        status=status,
        goal=goal,
        issues=issues,
        agents=agents,
        backend="system-vm",
    )


def esx_agent(
    agency: AgencyId, host: HostId, deployment: DeploymentInfo, *, config: AgencyConfig, goal: GoalState
) -> EsxAgent:
    """The VM of one host."""
    identity = EsxAgentId(f"{agency}/{host}")
    issues = tuple(_issue(each, identity, host, deployment, config) for each in deployment.issues)
    hook = None
    open_hook = deployment.lifecycle_hook
    if deployment.status == DeploymentStatus.IN_LIFECYCLE_HOOK and open_hook is not None:
        hook = VmHook(vm=VmId(open_hook.vm), state=_HOOKS[open_hook.lifecycle_state])
    return EsxAgent(
        id=identity,
        agency=agency,
        status=_colour(deployment),
        goal=goal,
        host=host,
        vm=VmId(deployment.vm) if deployment.vm else None,
        hook=hook,
        issues=issues,
        unapplied=is_unapplied(deployment),
    )


def is_unapplied(deployment: DeploymentInfo) -> bool:
    """The host does not have the newest desired state, and nobody has told vLCM to give it that."""
    return deployment.status in (DeploymentStatus.NOT_APPLIED, DeploymentStatus.OBSOLETE_SPEC)


def _colour(deployment: DeploymentInfo) -> Status:
    at_work = deployment.lifecycle_hook is not None or deployment.replacement_vm is not None
    match deployment.status:
        case DeploymentStatus.COMPLIANT:
            return "green"
        case DeploymentStatus.IN_PROGRESS | DeploymentStatus.IN_LIFECYCLE_HOOK:
            return "yellow"
        case DeploymentStatus.NOT_APPLIED | DeploymentStatus.OBSOLETE_SPEC:
            # The VM that is there is as well as it was; one that is missing, or being replaced, is not.
            if deployment.issues:
                return "red"
            return "yellow" if at_work or not deployment.vm else "green"
        case _:
            return "red"


def _issue(info: IssueInfo, agent: EsxAgentId, host: HostId, deployment: DeploymentInfo, config: AgencyConfig) -> Issue:
    name = _issue_name(info.type, config)
    told = [each for part in (info.notifications.errors, info.notifications.warnings) for each in part or ()]
    return Issue(
        type=name,
        key=issue_key(host, name),
        description="; ".join(each.message.default_message for each in told),
        time=_moment(told[0].time) if told else None,
        agent=agent,
        host=host,
        vm=VmId(deployment.vm) if deployment.vm else None,
    )


def _issue_name(kind: str, config: AgencyConfig) -> str:
    if kind == IssueType.VM_DATASTORE_MISSING:
        return "NoCustomAgentVmDatastore" if config.datastores else "NoAgentVmDatastore"
    if kind == IssueType.VM_NETWORK_MISSING:
        return "NoCustomAgentVmNetwork" if config.networks else "NoAgentVmNetwork"
    return _ISSUES.get(kind, str(kind))


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _without(agent: EsxAgent, issue_type: str) -> EsxAgent:
    return replace(agent, issues=tuple(each for each in agent.issues if each.type != issue_type))
