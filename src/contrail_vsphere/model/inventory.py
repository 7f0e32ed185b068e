"""What vCenter holds, as far as the controllers judge by it.

One frozen value per managed object, made by ``vsphere.inventory`` from property updates; a ``None`` where vCenter has
not (yet) told a property means *unknown*, never *absent* (vCenter sends half-made objects first).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from contrail_vsphere.model.ids import (
    ClusterId,
    DatacenterId,
    DatastoreId,
    DvsId,
    FolderId,
    HostId,
    NetworkId,
    ResourcePoolId,
    VmId,
)
from contrail_vsphere.model.traffic_filter import FilterRule

ConnectionState = Literal["connected", "disconnected", "notResponding"]
PowerState = Literal["poweredOn", "poweredOff", "suspended", "standBy", "unknown"]
Heartbeat = Literal["green", "yellow", "red", "gray"]


@dataclass(frozen=True, slots=True)
class Datacenter:
    """``Datacenter``, with the folders new objects go to."""

    id: DatacenterId
    name: str
    vm_folder: FolderId
    network_folder: FolderId


@dataclass(frozen=True, slots=True)
class Cluster:
    """``ClusterComputeResource``, or the ``ComputeResource`` of a standalone host."""

    id: ClusterId
    name: str
    hosts: tuple[HostId, ...] = ()
    root_pool: ResourcePoolId | None = None
    datacenter: DatacenterId | None = None
    standalone: bool = False


@dataclass(frozen=True, slots=True)
class Host:
    """``HostSystem``."""

    id: HostId
    name: str
    cluster: ClusterId | None = None
    connection: ConnectionState | None = None
    power: PowerState | None = None
    in_maintenance: bool | None = None
    version: str = ""
    product_line: str = ""
    datastores: tuple[DatastoreId, ...] = ()
    networks: tuple[NetworkId, ...] = ()
    agent_datastore: DatastoreId | None = None
    """EsxAgentHostManager.configInfo.agentVmDatastore, as ``summary.config`` shows it."""
    agent_network: NetworkId | None = None

    @property
    def usable(self) -> bool:
        """Connected, powered on and not in maintenance: work may be done on it."""
        return self.connection == "connected" and self.in_maintenance is False and self.power != "standBy"


@dataclass(frozen=True, slots=True)
class Nic:
    """A ``VirtualEthernetCard`` of a VM."""

    key: int
    """Device key, unique within the VM; ethernet cards start at 4000."""
    mac: str
    kind: str = ""
    """Device class on the wire, e.g. ``VirtualVmxnet3``."""
    unit: int | None = None
    """``unitNumber`` on the PCI controller; tells roles apart in the guest."""
    connected: bool = False
    network: NetworkId | None = None
    """The standard network, or the distributed port group."""
    dvs_uuid: str = ""
    port_key: str = ""


@dataclass(frozen=True, slots=True)
class VirtualMachine:
    """``VirtualMachine``."""

    id: VmId
    name: str
    host: HostId | None = None
    power: PowerState | None = None
    connection: str | None = None
    """``connected``, ``disconnected``, ``orphaned``, ``inaccessible`` or ``invalid``."""
    instance_uuid: str = ""
    template: bool = False
    heartbeat: Heartbeat | None = None
    """``guestHeartbeatStatus``: what VMware Tools in the guest report."""
    ip_address: str = ""
    nics: tuple[Nic, ...] = ()
    managed_by: str = ""
    """``config.managedBy.extensionKey``: ``com.vmware.vim.eam`` for EsxAgents."""
    resource_pool: ResourcePoolId | None = None
    cpu_mhz_reserved: int = 0
    memory_mb: int = 0
    memory_mb_reserved: int = 0
    snapshots: tuple[str, ...] = ()
    """Ids of the snapshots at the root of its tree (``rootSnapshot``)."""


@dataclass(frozen=True, slots=True)
class Datastore:
    """``Datastore``; sizes in bytes."""

    id: DatastoreId
    name: str
    capacity: int = 0
    free: int = 0
    accessible: bool = True


@dataclass(frozen=True, slots=True)
class Network:
    """A standard ``Network`` or a ``DistributedVirtualPortgroup``."""

    id: NetworkId
    name: str
    dvs: DvsId | None = None
    """Set for distributed port groups; ``id`` is then also the port group's key."""
    description: str = ""
    vlan: str = ""
    """``none``, a number, or ranges such as ``1-4094`` for a trunk."""
    promiscuous: bool | None = None
    forged_transmits: bool | None = None
    mac_changes: bool | None = None
    config_version: str = ""
    uplink: bool = False
    binding: str = ""
    """``config.type``: ``earlyBinding``, ``lateBinding`` or ``ephemeral``."""
    auto_expand: bool | None = None
    blocked: bool | None = None
    """Whether its ports are blocked unless one says otherwise."""
    vlan_override: bool | None = None
    block_override: bool | None = None
    reset_at_disconnect: bool | None = None
    """``portConfigResetAtDisconnect``: a port forgets its own settings when its card leaves."""
    blobs: tuple[tuple[str, str], ...] = ()
    """``config.vendorSpecificConfig``: key and data of each blob."""
    filter_override: bool | None = None
    shaping_override: bool | None = None
    rules: tuple[FilterRule, ...] | None = None
    """Traffic filter rules for ports that have none of their own; None where there is no filter that we could read."""
    filters: tuple[str, ...] = ()
    """Keys of the traffic filters that hold them."""

    def blob(self, key: str) -> str:
        """Data of a blob; empty if there is none."""
        return next((data for name, data in self.blobs if name == key), "")


@dataclass(frozen=True, slots=True)
class Dvs:
    """``DistributedVirtualSwitch``."""

    id: DvsId
    name: str
    uuid: str = ""
    hosts: tuple[HostId, ...] = ()
    datacenter: DatacenterId | None = None


Object = Datacenter | Cluster | Host | VirtualMachine | Datastore | Network | Dvs


@dataclass(frozen=True, slots=True)
class Change:
    """One object before and after; ``before`` is None when it appeared, ``after`` when it left."""

    before: Object | None
    after: Object | None
    paths: frozenset[str] = field(default=frozenset())
    """Property paths that vCenter named; empty after a resync."""
