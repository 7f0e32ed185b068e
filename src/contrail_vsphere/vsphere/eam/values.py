"""Between the ``eam`` types on the wire and ``model.eam``: both directions in one place.

An issue type that neither we nor pyVmomi know keeps its name and its base fields; every field beyond those that
judgement needs becomes text for people.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from contrail_vsphere.model.eam import Agency, AgencyConfig, EamFeatures, EsxAgent, EsxAgentConfig, Issue, Trust, VmHook
from contrail_vsphere.model.errors import InvalidArgument, ProtocolError
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
from contrail_vsphere.wire.soap.metadata import properties_of
from contrail_vsphere.wire.soap.types import eam, vim, vmodl, wsdl_name
from contrail_vsphere.wire.soap.values import build
from contrail_vsphere.wire.soap.versions import includes, version_id

_SHOWN_ELSEWHERE = frozenset(
    ("key", "description", "time", "agent", "host", "vm", "dynamicType", "dynamicProperty", "agency", "agencyName",
     "solutionId", "solutionName", "agentName", "hostName")
)  # fmt: skip
_OF_EVERY_FAULT = frozenset(("msg", "faultCause", "faultMessage", "dynamicType", "dynamicProperty"))
_CAUSES = 4
"""Causes of causes that are told; the wire sets no bound."""
_LONGEST = 500
"""Characters of one fault's text."""


# -- configuration, outwards ------------------------------------------------------------------------------------------


def apply_config(config: AgencyConfig, wire: Any) -> Any:
    """Write ``config`` into an ``Agency.ConfigInfo``, leaving what we do not speak of as EAM has it.

    ``Update`` takes the whole configuration; a field left out may be cleared (``vmStoragePolicies`` is).
    """
    wire.agencyName = config.name
    wire.agentName = config.agent_name
    wire.agentConfig = [_agent_config(each) for each in config.agents]
    wire.scope = eam.Agency.ComputeResourceScope(
        computeResource=[_compute_resource(cluster) for cluster in config.scope]
    )
    wire.manuallyMarkAgentVmAvailableAfterProvisioning = config.hook_after_provisioning
    wire.manuallyMarkAgentVmAvailableAfterPowerOn = config.hook_after_power_on
    wire.optimizedDeploymentEnabled = config.linked_clones
    wire.agentVmNetwork = [_network(each) for each in config.networks]
    wire.agentVmDatastore = [vim.Datastore(each) for each in config.datastores]
    wire.preferHostConfiguration = config.prefer_host_configuration
    wire.resourcePools = [
        eam.Agency.VMResourcePool(computeResourceId=_compute_resource(cluster), resourcePoolId=vim.ResourcePool(pool))
        for cluster, pool in config.resource_pools
    ]
    wire.folders = [
        eam.Agency.VMFolder(datacenterId=vim.Datacenter(datacenter), folderId=vim.Folder(folder))
        for datacenter, folder in config.folders
    ]
    return wire


def _compute_resource(moid: ClusterId) -> Any:
    """Clusters are domain-c..., the compute resources of standalone hosts domain-s...."""
    return vim.ComputeResource(moid) if moid.startswith("domain-s") else vim.ClusterComputeResource(moid)


def _network(moid: NetworkId) -> Any:
    return vim.dvs.DistributedVirtualPortgroup(moid) if moid.startswith("dvportgroup-") else vim.Network(moid)


def _agent_config(config: EsxAgentConfig) -> Any:
    wire = eam.Agent.ConfigInfo(ovfPackageUrl=config.ovf_url)
    if config.product_line:
        wire.productLineId = config.product_line
    if config.host_version:
        wire.hostVersion = config.host_version
    if config.properties:
        wire.ovfEnvironment = eam.Agent.OvfEnvironmentInfo(
            ovfProperty=[eam.Agent.OvfEnvironmentInfo.OvfProperty(key=k, value=v) for k, v in config.properties]
        )
    if config.trust is not None and config.trust.pem:
        wire.ovfSslTrust = eam.Agent.PinnedPemCertificate(sslCertificate=config.trust.pem)
    if config.deployment_option:
        wire.vmResourceConfiguration = config.deployment_option
    if config.disk_provisioning:
        wire.ovfDiskProvisioning = config.disk_provisioning
    if config.vib_url:
        wire.vibUrl = config.vib_url
    if config.vib_trust is not None and config.vib_trust.pem:
        wire.vibSslTrust = eam.Agent.PinnedPemCertificate(sslCertificate=config.vib_trust.pem)
    return wire


def features_of(version: str) -> EamFeatures:
    """What an EAM of that version knows, by pyVmomi's tables."""

    def has(cls: Any, name: str) -> bool:
        return includes(version, next(prop.version for prop in properties_of(cls) if prop.name == name))

    return EamFeatures(
        hooks=has(eam.Agent.RuntimeInfo, "vmHook"),
        places=has(eam.Agency.ConfigInfo, "resourcePools"),
        trust=has(eam.Agent.ConfigInfo, "ovfSslTrust"),
        sizes=has(eam.Agent.ConfigInfo, "vmResourceConfiguration"),
    )


def check_version(config: AgencyConfig, version: str) -> None:
    """InvalidArgument when that EAM version cannot carry a field: it would be dropped without a word."""
    for cls, used in (
        (eam.Agency.ConfigInfo, {"resourcePools": bool(config.resource_pools), "folders": bool(config.folders)}),
        (
            eam.Agent.ConfigInfo,
            {
                "vmResourceConfiguration": any(each.deployment_option for each in config.agents),
                "ovfDiskProvisioning": any(each.disk_provisioning for each in config.agents),
            },
        ),
    ):
        since = {prop.name: prop.version for prop in properties_of(cls)}
        for name in (name for name, wanted in used.items() if wanted):
            if not includes(version, since[name]):
                raise InvalidArgument(
                    f"EAM {version_id(version)} has no {name}; it came with EAM {version_id(since[name])}",
                    hint="leave it out for this vCenter",
                )


# -- inwards ----------------------------------------------------------------------------------------------------------


def agency_config(wire: Any) -> AgencyConfig:
    """``Agency.ConfigInfo`` as ours; flags that are unset take EAM's defaults."""
    scope = getattr(wire.scope, "computeResource", None) or ()
    optimized = wire.optimizedDeploymentEnabled
    return AgencyConfig(
        name=wire.agencyName or "",
        agent_name=wire.agentName or wire.agencyName or "",
        agents=tuple(_esx_agent_config(each) for each in wire.agentConfig or ()),
        scope=tuple(ClusterId(each._moId) for each in scope),
        hook_after_provisioning=bool(wire.manuallyMarkAgentVmAvailableAfterProvisioning),
        hook_after_power_on=bool(wire.manuallyMarkAgentVmAvailableAfterPowerOn),
        linked_clones=True if optimized is None else bool(optimized),
        networks=tuple(NetworkId(each._moId) for each in wire.agentVmNetwork or ()),
        datastores=tuple(DatastoreId(each._moId) for each in wire.agentVmDatastore or ()),
        prefer_host_configuration=bool(wire.preferHostConfiguration),
        resource_pools=tuple(
            (ClusterId(each.computeResourceId._moId), ResourcePoolId(each.resourcePoolId._moId))
            for each in wire.resourcePools or ()
        ),
        folders=tuple(
            (DatacenterId(each.datacenterId._moId), FolderId(each.folderId._moId)) for each in wire.folders or ()
        ),
    )


def _esx_agent_config(wire: Any) -> EsxAgentConfig:
    environment = wire.ovfEnvironment
    trust, vib_trust = wire.ovfSslTrust, wire.vibSslTrust
    return EsxAgentConfig(
        ovf_url=wire.ovfPackageUrl or "",
        properties=tuple((each.key, each.value) for each in (environment.ovfProperty if environment else None) or ()),
        trust=None if trust is None else Trust(pem=getattr(trust, "sslCertificate", "") or ""),
        product_line=wire.productLineId or "",
        host_version=wire.hostVersion or "",
        deployment_option=wire.vmResourceConfiguration or "",
        disk_provisioning=wire.ovfDiskProvisioning or "",
        vib_url=wire.vibUrl or "",
        vib_trust=None if vib_trust is None else Trust(pem=getattr(vib_trust, "sslCertificate", "") or ""),
    )


def agency(identity: AgencyId, *, solution_id: str, config: Any, runtime: Any, agents: Iterable[EsxAgent]) -> Agency:
    """One agency from its parts as read."""
    return Agency(
        id=identity,
        solution_id=solution_id,
        config=agency_config(config),
        status=runtime.status,
        goal=runtime.goalState,
        issues=issues(runtime.issue),
        agents=tuple(agents),
    )


def esx_agent(identity: EsxAgentId, agency_id: AgencyId, runtime: Any) -> EsxAgent:
    """``Agent.RuntimeInfo`` as ours."""
    hook = runtime.vmHook
    return EsxAgent(
        id=identity,
        agency=agency_id,
        status=runtime.status,
        goal=runtime.goalState,
        host=HostId(runtime.host._moId) if runtime.host is not None else None,
        vm=VmId(runtime.vm._moId) if runtime.vm is not None else None,
        vm_power=str(runtime.vmPowerState or "poweredOff"),
        heartbeat=bool(runtime.receivingHeartBeat),
        vm_ip=runtime.vmIp or "",
        vm_name=runtime.vmName or "",
        hook=None if hook is None else VmHook(vm=VmId(hook.vm._moId), state=hook.vmState),
        issues=issues(runtime.issue),
    )


def unreadable(cls: Any, error: ProtocolError) -> Any:
    """Stands for a runtime that EAM sent but nobody can read: red, with that as its only issue."""
    issue = build(eam.issue.Issue, key=-1, description=str(error))
    issue.__dict__["_unknown_type"] = "Unreadable"
    return build(cls, status="red", goalState="enabled", issue=[issue])


def issues(wire: Iterable[Any] | None) -> tuple[Issue, ...]:
    """Issues in the order EAM lists them."""
    return tuple(_issue(each) for each in wire or ())


def _issue(wire: Any) -> Issue:
    name = wsdl_name(wire)
    return Issue(
        type=name.rsplit(":", 1)[-1],
        key=int(wire.key),
        description=wire.description or "",
        time=wire.time,
        agent=_moid(wire, "agent", EsxAgentId),
        host=_moid(wire, "host", HostId),
        vm=_moid(wire, "vm", VmId),
        details=tuple(
            (field, _text(value))
            for field, value in sorted(vars(wire).items())
            if field not in _SHOWN_ELSEWHERE and not field.startswith("_") and not _unset(value)
        ),
    )


def _moid(wire: Any, field: str, kind: Any) -> Any:
    value = getattr(wire, field, None)
    return None if value is None else kind(value._moId)


def _unset(value: Any) -> bool:
    """References must not be compared with anything but references: pyVmomi's ``==`` raises."""
    return value is None or (isinstance(value, str | list) and not value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(_text(each) for each in value)
    if isinstance(value, vmodl.LocalizedMethodFault):
        return _fault(value.fault, said=value.localizedMessage or "")
    if isinstance(value, vmodl.MethodFault):
        return _fault(value)
    moid = getattr(value, "_moId", None)
    if moid is not None:
        return str(moid)
    return str(value) if isinstance(value, str | int | float | bool) else wsdl_name(value)


def _fault(fault: Any, *, said: str = "", depth: int = 0) -> str:
    """A fault's type and all it says: message, fields of its own, further messages, and what caused it."""
    if fault is None:
        return said
    fields = {name: each for name, each in sorted(vars(fault).items()) if not name.startswith("_")}
    own = [
        each if name == "reason" else f"{name} {each}"
        for name, each in fields.items()
        if name not in _OF_EVERY_FAULT and isinstance(each, str | int) and each != ""
    ]
    more = [str(each.message) for each in fields.get("faultMessage") or () if each.message]
    text = ", ".join(dict.fromkeys(str(part) for part in (said, fields.get("msg"), *own, *more) if part))
    told = f"{wsdl_name(fault)}: {text}" if text else wsdl_name(fault)
    cause = fields.get("faultCause")
    if cause is not None and depth < _CAUSES:
        told += " (caused by " + _fault(cause.fault, said=cause.localizedMessage or "", depth=depth + 1) + ")"
    return told if len(told) <= _LONGEST else f"{told[: _LONGEST - 1]}…"
