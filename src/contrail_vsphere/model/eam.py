"""ESX Agent Manager's objects as our values (facts: the eam namespace of the EAM API reference)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

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

EAM_KEY = "com.vmware.vim.eam"
"""``config.managedBy.extensionKey`` of every EsxAgent VM."""

Status = Literal["green", "yellow", "red"]
GoalState = Literal["enabled", "disabled", "uninstalled"]
HookState = Literal["provisioned", "poweredOn", "prePowerOn"]
Backend = Literal["eam", "system-vm"]
"""Who keeps the VMs of an agency: ESX Agent Manager, or vLCM as System VMs (vSphere 9.0 and later)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EamFeatures:
    """What the EAM of this vCenter can be told, and tells; the defaults are those of the newest."""

    hooks: bool = True
    """``Agent.RuntimeInfo.vmHook`` says in which hook EAM waits (6.7)."""
    places: bool = True
    """Agencies name resource pools and folders (6.9)."""
    trust: bool = True
    """The certificate of the package's URL can be pinned; before, it is not verified (8.2)."""
    sizes: bool = True
    """A size of the package can be asked for (``vmResourceConfiguration``, 8.3)."""


@dataclass(frozen=True, slots=True)
class Trust:
    """How EAM is to trust the TLS certificate of a URL (``Agent.SslTrust``, EAM 8.2)."""

    pem: str = ""
    """The certificate it must present; empty: whatever vCenter's own trust store says."""


@dataclass(frozen=True, slots=True)
class EsxAgentConfig:
    """``Agent.ConfigInfo``: what one host gets; the first entry that matches the host's version wins."""

    ovf_url: str
    properties: tuple[tuple[str, str], ...] = ()
    """OVF environment, by full property id; every userConfigurable one must be there."""
    trust: Trust | None = None
    product_line: str = ""
    host_version: str = ""
    deployment_option: str = ""
    """``vmResourceConfiguration``: an OVF DeploymentOption id (EAM 8.3)."""
    disk_provisioning: str = ""
    vib_url: str = ""
    """An offline bundle whose VIBs EAM puts on the host before the VM; empty: none."""
    vib_trust: Trust | None = None
    version: str = ""
    """The package's, for people; EAM has no place for it."""


@dataclass(frozen=True, slots=True)
class AgencyConfig:
    """``Agency.ConfigInfo``."""

    name: str
    agent_name: str
    agents: tuple[EsxAgentConfig, ...]
    scope: tuple[ClusterId, ...]
    hook_after_provisioning: bool = True
    hook_after_power_on: bool = True
    linked_clones: bool = False
    """``optimizedDeploymentEnabled``."""
    networks: tuple[NetworkId, ...] = ()
    datastores: tuple[DatastoreId, ...] = ()
    prefer_host_configuration: bool = False
    resource_pools: tuple[tuple[ClusterId, ResourcePoolId], ...] = ()
    folders: tuple[tuple[DatacenterId, FolderId], ...] = ()


@dataclass(frozen=True, slots=True)
class Issue:
    """An ``eam.issue``; ``type`` is the name on the wire, kept even where we do not know it."""

    type: str
    key: int
    description: str = ""
    time: datetime | None = None
    agent: EsxAgentId | None = None
    host: HostId | None = None
    vm: VmId | None = None
    details: tuple[tuple[str, str], ...] = ()
    """Every other field as text, for people (``downloadUrl``, ``url``, ``error`` ...)."""


@dataclass(frozen=True, slots=True)
class VmHook:
    """EAM waits in this hook until ``MarkAsAvailable``; ``vm`` may differ from the agent's VM during an upgrade."""

    vm: VmId
    state: HookState


@dataclass(frozen=True, slots=True)
class Agency:
    """An agency as last read: identity, configuration and runtime."""

    id: AgencyId
    solution_id: str
    """Key of the extension that made it, or the name of the user who did."""
    config: AgencyConfig
    status: Status
    goal: GoalState
    issues: tuple[Issue, ...] = ()
    agents: tuple[EsxAgent, ...] = ()
    backend: Backend = "eam"


@dataclass(frozen=True, slots=True)
class EsxAgent:
    """``eam.Agent``: EAM's record of one ContrailVM on one host."""

    id: EsxAgentId
    agency: AgencyId
    status: Status
    goal: GoalState
    host: HostId | None = None
    vm: VmId | None = None
    vm_power: str = "poweredOff"
    heartbeat: bool = False
    vm_ip: str = ""
    vm_name: str = ""
    hook: VmHook | None = None
    issues: tuple[Issue, ...] = field(default=())
    unapplied: bool = False
    """It is as it was before the agency's configuration changed, until somebody has it applied; never so with EAM."""
