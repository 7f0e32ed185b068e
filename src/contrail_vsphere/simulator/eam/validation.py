"""The checks that CreateAgency and Update make before they answer: fields, scope, and a real download of each OVF.

A URL that EAM cannot fetch now is refused now; that it is no descriptor, or that a disk behind it is missing, shows
only when it is deployed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from contrail_vsphere.simulator.eam.config import entity_of, scope_of
from contrail_vsphere.simulator.eam.fetch import Fetcher, FetchError
from contrail_vsphere.simulator.vcenter.compute_resource import ComputeResource
from contrail_vsphere.simulator.vcenter.datacenter import Datacenter
from contrail_vsphere.simulator.vcenter.datastore import Datastore
from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.managed_entity import fault
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.simulator.vcenter.resource_pool import ResourcePool
from contrail_vsphere.wire.soap.fault import SoapFault
from contrail_vsphere.wire.soap.types import eam, vmodl
from contrail_vsphere.wire.vib.bundle import LARGEST_BUNDLE

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import World
    from contrail_vsphere.simulator.eam.profiles import Profile

LONGEST_NAME: Final = 70
LONGEST_NAME_WITH_UUID: Final = 43
DISK_PROVISIONINGS: Final = frozenset({"", "none", "thin", "thick"})


async def validate(config: Any, *, world: World, profile: Profile, fetcher: Fetcher) -> None:
    """Raise the SoapFault that EAM would raise for this (complete) AgencyConfigInfo; return when it would not."""
    _check_fields(config)
    for entry in config.agentConfig:
        _check_entry(entry, config)
    _check_scope(config, world)
    _check_places(config, world)
    if profile.knows("AgencyDisabled"):
        _check_enabled(config, world)
    urls = {str(entry.vibUrl): entry.vibSslTrust for entry in config.agentConfig if entry.vibUrl}
    urls |= {str(entry.ovfPackageUrl): entry.ovfSslTrust for entry in config.agentConfig if entry.ovfPackageUrl}
    for url, trust in urls.items():
        await _check_url(url, trust, fetcher=fetcher, profile=profile)


def _check_fields(config: Any) -> None:
    if not config.agencyName:
        raise fault(vmodl.fault.InvalidArgument, "agencyName must be set", invalidProperty="agencyName")
    if not config.agentConfig:
        raise fault(eam.fault.InvalidAgentConfiguration, "agentConfig must not be empty", invalidField="agentConfig")
    name = str(config.agentName or "")
    most = LONGEST_NAME_WITH_UUID if config.useUuidVmName else LONGEST_NAME
    if len(name) > most or (config.useUuidVmName and not name):
        raise fault(
            vmodl.fault.InvalidArgument, f"agentName must have 1 to {most} characters", invalidProperty="agentName"
        )
    if config.manuallyMonitored and not config.manuallyProvisioned:
        raise fault(
            vmodl.fault.InvalidArgument,
            "manuallyMonitored needs manuallyProvisioned",
            invalidProperty="manuallyMonitored",
        )


def _check_entry(entry: Any, config: Any) -> None:
    wrong = ""
    if entry.vibUrl and entry.vibName:
        wrong = "vibName"
    elif not (entry.ovfPackageUrl or entry.vibUrl or entry.vibName or config.manuallyProvisioned):
        wrong = "ovfPackageUrl"
    elif str(entry.ovfDiskProvisioning or "") not in DISK_PROVISIONINGS:
        wrong = "ovfDiskProvisioning"
    elif entry.hostVersion and not re.fullmatch(r"[0-9]+(\.[0-9]+)*(\.\*)?|\*", str(entry.hostVersion)):
        wrong = "hostVersion"
    if wrong:
        raise fault(
            eam.fault.InvalidAgentConfiguration,
            f"{wrong} is missing or not valid",
            invalidAgentConfiguration=entry,
            invalidField=wrong,
        )


def _check_scope(config: Any, world: World) -> None:
    unknown = [ref for ref in scope_of(config) if not isinstance(entity_of(world, ref), ComputeResource)]
    for item in config.resourcePools or []:
        if not isinstance(entity_of(world, item.resourcePoolId), ResourcePool):
            unknown.append(item.computeResourceId)
    if unknown:
        raise fault(eam.fault.InvalidAgencyScope, "The scope is not valid.", unknownComputeResource=unknown)
    for item in config.folders or []:
        if not isinstance(entity_of(world, item.folderId), Folder) or not isinstance(
            entity_of(world, item.datacenterId), Datacenter
        ):
            raise fault(eam.fault.InvalidAgencyScope, "A folder or datacenter is not valid.", unknownComputeResource=[])


def _check_places(config: Any, world: World) -> None:
    wanted: Iterable[tuple[Any, type]] = [
        *((ref, Network) for ref in config.agentVmNetwork or []),
        *((ref, Datastore) for ref in config.agentVmDatastore or []),
    ]
    for ref, kind in wanted:
        if not isinstance(entity_of(world, ref), kind):
            raise fault(vmodl.fault.ManagedObjectNotFound, f"{ref._moId} does not exist", obj=ref)


def _check_enabled(config: Any, world: World) -> None:
    found = [entity_of(world, ref) for ref in scope_of(config)]
    disabled = [resource.ref for resource in found if resource.disabled]
    if disabled:
        raise fault(eam.fault.DisabledClusterFault, "A cluster is disabled.", disabledComputeResource=disabled)


async def _check_url(url: str, trust: Any, *, fetcher: Fetcher, profile: Profile) -> None:
    try:
        await fetcher.read(url, trust, limit=LARGEST_BUNDLE)
    except FetchError as error:
        raise _url_fault(error, profile) from error


def _url_fault(error: FetchError, profile: Profile) -> SoapFault:
    if error.reason == "untrusted" and profile.knows("CertificateNotTrusted"):
        return fault(eam.fault.CertificateNotTrustedFault, str(error), url=error.url)
    return fault(
        eam.fault.InvalidUrl,
        str(error),
        url=error.url,
        malformedUrl=error.reason == "malformed",
        unknownHost=error.reason == "unknown-host",
        connectionRefused=error.reason in {"refused", "timeout", "untrusted"},
        responseCode=error.status,
    )
