"""What nobody documents about EAM, each as a named switch with a default.

A manager must survive both positions of every switch; random walks turn them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from contrail_vsphere.simulator.eam.profiles import MaintenanceIssue

ApiVersion = Literal["", "6.0", "6.5", "6.7", "6.8", "6.9", "7.0", "7.5", "7.6", "8.2", "8.3", "9.0.0.0"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """Positions of the switches; durations are in ``core.timing``."""

    parallel_deployments: int = 8
    """EsxAgents per compute resource that are deployed at the same time."""
    maintenance_issue: MaintenanceIssue | None = None
    """None: as the profile says."""
    maintenance_status: Literal["green", "yellow"] = "yellow"
    """Status of an EsxAgent whose host is in maintenance mode, while nothing is wrong."""
    heartbeat_lost: Literal["yellow", "ignored"] = "yellow"
    """What becomes of a green EsxAgent whose heartbeat stops."""
    user_migration: Literal["orphan", "tolerated"] = "orphan"
    """A user moved the virtual machine to another host: VmOrphaned there and VmNotDeployed here, or nothing."""
    pre_power_on_hook: bool = True
    """Whether an upgrade stops at ``prePowerOn`` (where the agency marks after provisioning)."""
    maps_all_networks: bool = True
    """The chosen network is mapped to every network of the OVF, or to the first only."""
    removal_waits_for_maintenance: bool = False
    """Deleting a virtual machine on a host in maintenance mode waits until the host leaves it."""
    unregistered_extension: Literal["destroys", "orphans"] = "destroys"
    """An extension is unregistered: its agencies are destroyed, or get the issue OrphanedAgency."""
    maintenance_deadline: float = 1800.0
    """Seconds after which EAM gives up putting a host into maintenance mode for a VIB; 0: never."""
    system_vm_set_checks_url: bool = True
    """Whether setting the desired state of System VMs is refused while the package's URL cannot be read."""
    sets_in_9_0: bool = False
    """Whether 9.0 takes solutions with CLUSTER_VM_SET, as the reference of its API says, or only 9.1."""
    folder_name: str = "ESX Agents"
    """Top-level folder that EAM makes per datacenter where the agency names none."""
    pool_name: str = "ESX Agents"
    """Nested pool that EAM makes where the agency names none; empty: the root pool is used."""
    managed_by_type: str = "host-agent"
    """``VirtualMachine.config.managedBy.type``."""
    event_prefix: str = "com.vmware.vim.eam."
    """What every ``eventTypeId`` of EAM begins with."""
    api_version: ApiVersion = ""
    """Version of EAM's API that is spoken at most (``8.2``); empty: as the profile says."""
    newer_version: Literal["answered", "refused"] = "answered"
    """A request names a version of EAM's API that is newer than what is spoken: it is answered in the newest there is,
    or InvalidRequest."""
    environment_restarts: bool = False
    """A new OVF environment of a running virtual machine: EAM restarts it, or leaves it as it is until its next
    power-on."""
    checks_manifest: bool = False
    """Whether EAM compares a package with the manifest beside its descriptor; OvfInvalidFormat where they differ."""
    event_argument_names: tuple[str, str, str, str] = ("agencyName", "agentName", "hostName", "vmName")
    """Keys of ``EventEx.arguments``."""
