"""Agency configurations: what an update changes, which entry fits a host, which datastore and network it gives.

Rules of the EAM API reference (AgencyConfigInfo, AgentConfigInfo): the first match wins, everywhere.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from contrail_vsphere.simulator.eam.issues import Draft
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.wire.soap.types import eam

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World
    from contrail_vsphere.simulator.vcenter.datastore import Datastore
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
    from contrail_vsphere.simulator.vcenter.network import Network

P = TypeVar("P", bound="ManagedEntity")


@dataclass(frozen=True, slots=True)
class Package:
    """What of an entry decides whether a virtual machine must be replaced: EAM compares this, never the content."""

    url: str
    option: str = ""

    @classmethod
    def of(cls, entry: Any) -> Package | None:
        """None for an entry without a virtual machine."""
        if entry is None or not entry.ovfPackageUrl:
            return None
        return cls(str(entry.ovfPackageUrl), str(entry.vmResourceConfiguration or ""))


@dataclass(frozen=True, slots=True)
class Deployed:
    """From what a virtual machine was made, and with which OVF properties it was last configured."""

    package: Package
    properties: tuple[tuple[str, str], ...]


def properties_of(entry: Any) -> tuple[tuple[str, str], ...]:
    """The OVF environment of an entry, sorted by property id."""
    environment = entry.ovfEnvironment
    found = (environment.ovfProperty if environment is not None else None) or []
    return tuple(sorted((str(item.key), str(item.value or "")) for item in found))


def merged(old: Any, new: Any) -> Any:
    """The configuration after ``Update(new)``: what is unset stays as it was.

    Storage policies stand inside the entries, which are replaced as a whole: not sent again, they are gone.
    """
    values = {
        info.name: getattr(new, info.name)
        if getattr(new, info.name) is not None and getattr(new, info.name) != []
        else getattr(old, info.name)
        for info in eam.Agency.ConfigInfo._GetPropertyList()
    }
    return data_object(eam.Agency.ConfigInfo, **values)


def scope_of(config: Any) -> list[Any]:
    """References to the compute resources in scope."""
    scope = config.scope
    return list(getattr(scope, "computeResource", None) or []) if scope is not None else []


def with_scope(config: Any, refs: list[Any]) -> Any:
    """The configuration with these compute resources in scope."""
    values = {info.name: getattr(config, info.name) for info in eam.Agency.ConfigInfo._GetPropertyList()}
    values["scope"] = data_object(eam.Agency.ComputeResourceScope, computeResource=refs)
    return data_object(eam.Agency.ConfigInfo, **values)


def vcls_config(cluster: Any) -> Any:
    """What of the internal configuration of a vCLS agency the public API shows."""
    scope = data_object(eam.Agency.ComputeResourceScope, computeResource=[cluster.ref])
    entry = data_object(eam.Agent.ConfigInfo)
    name = f"vCLS-{cluster.moid}"
    return data_object(eam.Agency.ConfigInfo, agencyName=name, agentName="vCLS", scope=scope, agentConfig=[entry])


def entry_for(config: Any, host: HostSystem) -> Any:
    """The first entry that fits the host's product line and version, or None.

    Versions may end in a wildcard, as ``8.*``; an unset line or version fits any host.
    """
    for entry in config.agentConfig or []:
        line, version = str(entry.productLineId or ""), str(entry.hostVersion or "")
        if line and line != host.product_line:
            continue
        if version and not fnmatch.fnmatchcase(host.version, version):
            continue
        return entry
    return None


@dataclass(frozen=True, slots=True)
class Selection:
    """Where a virtual machine goes; ``problems`` are the issues to raise where there is no such place."""

    datastore: Datastore | None = None
    network: Network | None = None
    problems: tuple[Draft, ...] = ()


def select(config: Any, host: HostSystem, *, resolve: Callable[[Any], ManagedEntity | None]) -> Selection:
    """Datastore and network for the host.

    The agency's lists come first unless it prefers the host's own agent settings or has no list; a preferred host
    configuration that is unset falls back to the list.
    """
    prefer = bool(config.preferHostConfiguration)
    datastore, no_datastore = _choose(
        "Datastore",
        own=host.agent_datastore,
        custom=[resolve(ref) for ref in config.agentVmDatastore or []],
        present=host.datastores,
        prefer_own=prefer,
    )
    network, no_network = _choose(
        "Network",
        own=host.agent_network,
        custom=[resolve(ref) for ref in config.agentVmNetwork or []],
        present=host.networks,
        prefer_own=prefer,
    )
    return Selection(datastore, network, tuple(draft for draft in (no_datastore, no_network) if draft is not None))


def _choose(
    what: str, *, own: P | None, custom: list[Any], present: Iterable[P], prefer_own: bool
) -> tuple[P | None, Draft | None]:
    here = {item.moid: item for item in present}
    if (prefer_own or not custom) and own is not None and own.moid in here:
        return own, None
    for candidate in custom:
        if candidate is not None and candidate.moid in here:
            return here[candidate.moid], None
    if not custom:
        return None, Draft(f"NoAgentVm{what}")
    known = [item for item in custom if item is not None]
    fields: Mapping[str, Any] = {
        f"customAgentVm{what}": [item.ref for item in known],
        f"customAgentVm{what}Name": [item.name for item in known],
    }
    return None, Draft(f"NoCustomAgentVm{what}", fields)


def folder_for(config: Any, datacenter: ManagedEntity) -> Any:
    """Reference to the folder that the agency names for a datacenter, or None."""
    for item in config.folders or []:
        if item.datacenterId._moId == datacenter.moid:
            return item.folderId
    return None


def pool_for(config: Any, compute_resource: ManagedEntity) -> Any:
    """Reference to the resource pool that the agency names for a compute resource, or None."""
    for item in config.resourcePools or []:
        if item.computeResourceId._moId == compute_resource.moid:
            return item.resourcePoolId
    return None


def entity_of(world: World, ref: Any) -> Any:
    """The entity behind a reference, or None. Ids alone decide: clients may name a base type."""
    return world.get(ref._moId) if ref is not None else None
