"""A solution in one cluster: desired state that takes effect host by host, when somebody applies it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.eam.agency import Agency
from contrail_vsphere.simulator.eam.situation import HOOKS
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.wire.soap.types import eam, vim
from contrail_vsphere.wire.system_vm import codec
from contrail_vsphere.wire.system_vm.spec import (
    DEFAULT_HOOK_TIMEOUT,
    CertificateValidation,
    CloneConfig,
    DiskType,
    LifecycleState,
    NameSuffix,
    SolutionSpec,
)

if TYPE_CHECKING:
    from contrail_vsphere.simulator.eam.esx_agent import EsxAgent
    from contrail_vsphere.simulator.vcenter.compute_resource import ComputeResource
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem

STATES: Mapping[str, LifecycleState] = {
    "provisioned": LifecycleState.POST_PROVISIONING,
    "poweredOn": LifecycleState.POST_POWER_ON,
}
"""EAM's word for a hook -> vLCM's."""


@dataclass(slots=True, eq=False, kw_only=True)
class SystemVmSolution(Agency):
    """State of a solution; ``config`` is its desired state in EAM's terms, ``document`` in vLCM's own."""

    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    cluster: ComputeResource
    key: str
    """Identifier of the solution."""
    document: str
    """JSON of the SolutionSpec."""
    revision: int = 1
    """Counts the desired states, so that a host knows whether its own is the newest."""
    deleted: bool = False
    """The desired state is gone; the VMs go when that is applied."""
    known: tuple[str, SolutionSpec | None] = field(default=("", None), init=False, repr=False)

    @property
    def spec(self) -> SolutionSpec:
        """The desired state."""
        if self.known[0] != self.document or self.known[1] is None:
            self.known = (self.document, codec.decode(SolutionSpec, self.document.encode()))
        found = self.known[1]
        assert found is not None  # noqa: S101 - set above
        return found

    @property
    def needs_apply(self) -> bool:
        return True

    @property
    def has_pre_power_on(self) -> bool:
        return False

    @property
    def is_over(self) -> bool:
        return self.deleted and not self.agents

    @property
    def wanted_hosts(self) -> tuple[HostSystem, ...]:
        """Hosts get a VM by an apply only."""
        return tuple(agent.host for agent in self.agents)

    def requires_agent_on(self, host: HostSystem) -> bool:
        return any(agent.host is host and not agent.leaving for agent in self.agents)

    def hook_is_over(self, agent: EsxAgent) -> bool:
        if agent.hook_since is None:
            return False
        return (self.world.clock.now() - agent.hook_since).total_seconds() >= self.hook_timeout(agent)

    def hook_timeout(self, agent: EsxAgent) -> int:
        """Seconds of the hook that the EsxAgent is in."""
        state = STATES.get(HOOKS.get(agent.phase, ""))
        hook = (self.spec.hook_configurations or {}).get(state) if state is not None else None
        return hook.timeout if hook is not None and hook.timeout is not None else DEFAULT_HOOK_TIMEOUT

    def is_newest(self, agent: EsxAgent) -> bool:
        """Whether the newest desired state was applied to the EsxAgent's host."""
        return agent.applied_revision == self.revision and (not self.deleted or agent.dismissed)


def config_of(spec: SolutionSpec, cluster: ComputeResource) -> Any:
    """The desired state as an AgencyConfigInfo, which the EsxAgents understand."""
    resource, where = spec.ovf_resource, spec.host_solution_spec
    trust: Any = None
    if resource.certificate:
        trust = eam.Agent.PinnedPemCertificate(sslCertificate=resource.certificate)
    elif resource.ssl_certificate_validation is CertificateValidation.DISABLED:
        trust = eam.Agent.AnyCertificate()
    properties = [
        eam.Agent.OvfEnvironmentInfo.OvfProperty(key=key, value=value)
        for key, value in (spec.ovf_descriptor_properties or {}).items()
    ]
    disks = {DiskType.THIN: "thin", DiskType.THICK: "thick"}
    entry = data_object(
        eam.Agent.ConfigInfo,
        ovfPackageUrl=resource.url,
        ovfSslTrust=trust,
        ovfEnvironment=eam.Agent.OvfEnvironmentInfo(ovfProperty=properties),
        ovfDiskProvisioning=disks.get(spec.vm_disk_type) if spec.vm_disk_type is not None else None,
        vmResourceConfiguration=spec.vm_resource_spec.ovf_deployment_option if spec.vm_resource_spec else None,
    )
    hooks = spec.hook_configurations or {}
    pool = eam.Agency.VMResourcePool(
        resourcePoolId=vim.ResourcePool(spec.vm_resource_pool), computeResourceId=cluster.ref
    )
    return data_object(
        eam.Agency.ConfigInfo,
        agencyName=spec.display_name,
        agentName=spec.vm_name_template.prefix,
        useUuidVmName=spec.vm_name_template.suffix is NameSuffix.UUID,
        agentConfig=[entry],
        scope=eam.Agency.ComputeResourceScope(computeResource=[cluster.ref]),
        manuallyMarkAgentVmAvailableAfterProvisioning=LifecycleState.POST_PROVISIONING in hooks,
        manuallyMarkAgentVmAvailableAfterPowerOn=LifecycleState.POST_POWER_ON in hooks,
        optimizedDeploymentEnabled=spec.vm_clone_config is not CloneConfig.NO_CLONES,
        preferHostConfiguration=bool(where and where.prefer_host_configuration),
        agentVmNetwork=[vim.Network(item) for item in (where and where.vm_networks) or []],
        agentVmDatastore=[vim.Datastore(item) for item in (where and where.vm_datastores) or []],
        resourcePools=[pool] if spec.vm_resource_pool else [],
        folders=_folders(spec, cluster),
    )


def _folders(spec: SolutionSpec, cluster: ComputeResource) -> list[Any]:
    datacenter = next((item for item in cluster.ancestors() if item.wsdl == "Datacenter"), None)
    if not spec.vm_folder or datacenter is None:
        return []
    return [eam.Agency.VMFolder(folderId=vim.Folder(spec.vm_folder), datacenterId=datacenter.ref)]
