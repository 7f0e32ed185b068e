"""Distributed virtual switches and their port groups: state and the methods clients call on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import managed_property, operation
from contrail_vsphere.simulator.vcenter import dvs_projection
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.dvs_table import PortTable
from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity, fault, found
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.wire.soap.types import vim, vmodl

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.devices import NicState
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What a switch knows of a member host besides the host itself."""

    uplink_keys: tuple[str, ...] = ()
    """One port per uplink name, in that order."""
    max_ports: int = 512
    """Size of the host's proxy switch: ports of VMs on that host."""
    vendor: tuple[Any, ...] = ()
    """KeyedOpaqueBlob."""
    in_sync: bool = True


@dataclass(slots=True, eq=False, kw_only=True)
class DistributedVirtualSwitch(ManagedEntity):
    """A VMware distributed switch."""

    wsdl: ClassVar[str] = "VmwareDistributedVirtualSwitch"
    prefix: ClassVar[str] = "dvs-"
    argument_class: ClassVar[Any] = vim.event.DvsEventArgument
    argument_name: ClassVar[str] = "dvs"
    rename_event: ClassVar[Any] = vim.event.DvsRenamedEvent
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "name": ("name", "config.name", "summary.name"),
        "hosts": ("config.host", "runtime", "summary.hostMember", "summary.host", "summary.numHosts"),
        "members": ("config.host", "runtime"),
        "portgroups": (
            "portgroup",
            "summary.portgroupName",
            "config.uplinkPortgroup",
            "config.numPorts",
            "summary.numPorts",
        ),
        "config_version": ("config.configVersion",),
        "description": ("config.description", "summary.description"),
        "max_mtu": ("config.maxMtu",),
        "max_ports": ("config.maxPorts",),
        "contact": ("config.contact", "summary.contact"),
        "setting": ("config.defaultPortConfig",),
        "uplink_names": ("config.uplinkPortPolicy",),
        "pvlans": ("config.pvlanConfig",),
        "vendor": ("config.vendorSpecificConfig",),
        "policy": ("config.policy",),
        "extension_key": ("config.extensionKey",),
        "ip_address": ("config.switchIpAddress",),
        "discovery": ("config.linkDiscoveryProtocolConfig",),
        "ipfix": ("config.ipfixConfig",),
        "health": ("config.healthCheckConfig",),
        "lacp_version": ("config.lacpApiVersion",),
        "multicast": ("config.multicastFilteringMode",),
        "default_proxy_ports": ("config.defaultProxySwitchMaxNumPorts",),
        "resource_management": ("config.networkResourceManagementEnabled",),
    }

    uuid: str
    hosts: tuple[HostSystem, ...] = ()
    portgroups: tuple[DistributedVirtualPortgroup, ...] = ()
    config_version: int = 1
    description: str = ""
    max_mtu: int = 1500
    max_ports: int = 2**31 - 1
    contact: tuple[str, str] = ("", "")
    """Name and contact."""
    setting: Any = None
    """VMwareDVSPortSetting that new port groups start from, never changed in place."""
    uplink_names: tuple[str, ...] = ("Uplink 1", "Uplink 2")
    version: str = "8.0.3"
    created: datetime
    next_port: int = 0
    """Port keys are unique in the whole switch and never used again."""
    ports: PortTable = field(default_factory=PortTable, repr=False)
    members: Mapping[str, Member] = field(default_factory=dict)
    """By the host's id."""
    pvlans: tuple[Any, ...] = ()
    """VMwareDVSPvlanMapEntry."""
    vendor: tuple[Any, ...] = ()
    """KeyedOpaqueBlob."""
    policy: Any = field(default_factory=dvs_projection.default_switch_policy)
    """DVSPolicy."""
    extension_key: str = ""
    ip_address: str = ""
    discovery: Any = field(default_factory=dvs_projection.default_discovery)
    """LinkDiscoveryProtocolConfig."""
    ipfix: Any = field(default_factory=dvs_projection.default_ipfix)
    """VMwareIpfixConfig."""
    health: tuple[Any, ...] = field(default_factory=dvs_projection.default_health)
    """DVSHealthCheckConfig, one of each kind."""
    lacp_version: str = "multipleLag"
    multicast: str = "legacyFiltering"
    default_proxy_ports: int = 512
    resource_management: bool = False

    @property
    def uplink_group(self) -> DistributedVirtualPortgroup | None:
        """The group that its uplink ports are in."""
        return next((group for group in self.portgroups if group.uplink), None)

    def siblings(self) -> Iterator[ManagedEntity]:
        """Names of one network folder are different."""
        return iter(self.parent.children if isinstance(self.parent, Folder) else ())

    def apply_rename(self, tx: Transaction, name: str) -> None:
        """A rename is a new configuration."""
        ManagedEntity.apply_rename(self, tx, name)
        tx.set(self, config_version=self.config_version + 1)

    async def destroy(self, *, user: str = "", chain: int | None = None) -> None:
        """Take the switch out with its port groups; refused while a VM uses one."""
        from contrail_vsphere.simulator.vcenter import dvs_life

        await dvs_life.destroy(self.world, self, user=user, chain=chain)

    # -- API ----------------------------------------------------------------------------------------------------

    @operation(
        "ReconfigureDvs_Task", privilege="DVSwitch.Modify", note="Port mirroring and resource pools are not kept."
    )
    def ReconfigureDvs_Task(self, call: Any, spec: Any) -> Any:
        from contrail_vsphere.simulator.vcenter import dvs_life

        return self.start_task(
            call,
            "reconfigure",
            lambda handle: dvs_life.reconfigure(self.world, self, spec, user=handle.user, chain=handle.chain),
        )

    @operation("AddDVPortgroup_Task", privilege="DVPortgroup.Create")
    def AddDVPortgroup_Task(self, call: Any, spec: list[Any]) -> Any:
        from contrail_vsphere.simulator.vcenter import dvs_life

        async def work(handle: Any) -> None:
            await dvs_life.add_portgroups(self.world, self, spec, user=handle.user, chain=handle.chain)

        return self.start_task(call, "addPortgroups", work)

    @operation("CreateDVPortgroup_Task", privilege="DVPortgroup.Create")
    def CreateDVPortgroup_Task(self, call: Any, spec: Any) -> Any:
        from contrail_vsphere.simulator.vcenter import dvs_life

        async def work(handle: Any) -> Any:
            made = await dvs_life.add_portgroups(self.world, self, [spec], user=handle.user, chain=handle.chain)
            return made[0]

        return self.start_task(call, "createPortgroup", work)

    @operation("FetchDVPorts", privilege="System.Read")
    def FetchDVPorts(self, call: Any, criteria: Any = None) -> list[Any]:
        from contrail_vsphere.simulator.vcenter import dvs_fetch

        return dvs_fetch.values(self, criteria, version=getattr(call, "version", ""))

    @operation("FetchDVPortKeys", privilege="System.Read")
    def FetchDVPortKeys(self, call: Any, criteria: Any = None) -> list[str]:
        from contrail_vsphere.simulator.vcenter import dvs_fetch

        return [port.key for port in dvs_fetch.select(self, criteria)]

    @operation("RefreshDVPortState", privilege="System.Read")
    def RefreshDVPortState(self, call: Any, portKeys: list[str] | None = None) -> None:
        from contrail_vsphere.simulator.vcenter import dvs_port_config

        dvs_port_config.refresh(self, portKeys or [], user=call.user)

    @operation("ReconfigureDVPort_Task", privilege="DVSwitch.PortConfig")
    def ReconfigureDVPort_Task(self, call: Any, port: list[Any]) -> Any:
        from contrail_vsphere.simulator.vcenter import dvs_port_config

        return self.start_task(
            call,
            "reconfigurePort",
            lambda handle: dvs_port_config.reconfigure(self, port, user=handle.user, chain=handle.chain),
        )

    @operation("MoveDVPort_Task", privilege="DVSwitch.Modify", note="Free ports only, from group to group.")
    def MoveDVPort_Task(self, call: Any, portKey: list[str], destinationPortgroupKey: str | None = None) -> Any:
        from contrail_vsphere.simulator.vcenter import dvs_port_config

        return self.start_task(
            call,
            "movePort",
            lambda handle: dvs_port_config.move(
                self, portKey, destinationPortgroupKey or "", user=handle.user, chain=handle.chain
            ),
        )

    @operation("LookupDvPortGroup", privilege="System.Read")
    def LookupDvPortGroup(self, call: Any, portgroupKey: str) -> DistributedVirtualPortgroup:
        group = next((group for group in self.portgroups if group.moid == portgroupKey), None)
        if group is None:
            raise fault(vim.fault.NotFound, f"There is no port group '{portgroupKey}' on '{self.name}'.")
        return group

    @operation("QueryUsedVlanIdInDvs", privilege="System.View")
    def QueryUsedVlanIdInDvs(self, call: Any) -> list[int]:
        from contrail_vsphere.simulator.vcenter import dvs_fetch

        return dvs_fetch.used_vlans(self)

    @operation("RectifyDvsHost_Task", privilege="System.Read")
    def RectifyDvsHost_Task(self, call: Any, hosts: list[Any] | None = None) -> Any:
        from contrail_vsphere.simulator.vcenter import dvs_members
        from contrail_vsphere.simulator.vcenter.host_system import HostSystem

        wanted = [found(self, host, HostSystem) for host in hosts or []] or list(self.hosts)
        stranger = next((host for host in wanted if host not in self.hosts), None)
        if stranger is not None:
            raise fault(vim.fault.NotFound, f"Host '{stranger.name}' is not a member of '{self.name}'.")
        return self.start_task(
            call,
            "rectifyHost",
            lambda handle: dvs_members.rectify(self.world, [self], wanted, user=handle.user, chain=handle.chain),
        )

    @operation("UpdateDVSHealthCheckConfig_Task", privilege="DVSwitch.Modify", note="Kept; nothing is ever unhealthy.")
    def UpdateDVSHealthCheckConfig_Task(self, call: Any, healthCheckConfig: list[Any]) -> Any:
        from contrail_vsphere.simulator.vcenter import dvs_life

        return self.start_task(
            call,
            "updateHealthCheckConfig",
            lambda handle: dvs_life.set_health_checks(
                self.world, self, healthCheckConfig, user=handle.user, chain=handle.chain
            ),
        )

    @operation("MergeDvs_Task", privilege="DVSwitch.Modify", note="Refused, as vCenter has since 6.0.")
    def MergeDvs_Task(self, call: Any, dvs: Any) -> Any:
        raise fault(vmodl.fault.NotSupported, "Merging distributed switches is not supported.")

    @operation("EnableNetworkResourceManagement", privilege="DVSwitch.ResourceManagement")
    def EnableNetworkResourceManagement(self, call: Any, enable: bool) -> None:
        with self.world.commit(call.user) as tx:
            tx.set(self, resource_management=bool(enable), config_version=self.config_version + 1)

    # -- properties ---------------------------------------------------------------------------------------------

    @managed_property("uuid")
    def _uuid(self) -> str:
        return self.uuid

    @managed_property("config")
    def _config(self) -> Any:
        return dvs_projection.switch_config(self)

    @managed_property("summary")
    def _summary(self) -> Any:
        return dvs_projection.switch_summary(self)

    @managed_property("capability")
    def _capability(self) -> Any:
        return dvs_projection.switch_capability()

    @managed_property("portgroup")
    def _portgroup(self) -> list[Any]:
        return list(self.portgroups)

    @managed_property("networkResourcePool")
    def _network_resource_pool(self) -> list[Any]:
        return []

    @managed_property("runtime")
    def _runtime(self) -> Any:
        return dvs_projection.switch_runtime(self)


@dataclass(slots=True, eq=False, kw_only=True)
class DistributedVirtualPortgroup(Network):
    """A distributed port group; its key is its managed object id (the predecessors rely on it)."""

    wsdl: ClassVar[str] = "DistributedVirtualPortgroup"
    prefix: ClassVar[str] = "dvportgroup-"
    rename_event: ClassVar[Any] = vim.event.DVPortgroupRenamedEvent
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "name": ("name", "summary.name", "config.name"),
        "kind": ("config.type",),
        "auto_expand": ("config.autoExpand",),
        "description": ("config.description",),
        "config_version": ("config.configVersion",),
        "setting": ("config.defaultPortConfig",),
        "policy": ("config.policy",),
        "port_name_format": ("config.portNameFormat",),
        "scope": ("config.scope",),
        "vendor": ("config.vendorSpecificConfig",),
        "resource_pool": ("config.vmVnicNetworkResourcePoolKey",),
    }

    dvs: DistributedVirtualSwitch
    kind: str = "earlyBinding"
    """``earlyBinding``, ``lateBinding`` or ``ephemeral``."""
    auto_expand: bool = True
    uplink: bool = False
    description: str = ""
    config_version: int = 0
    setting: Any
    """VMwareDVSPortSetting, never changed in place."""
    policy: Any
    """VMwareDVSPortgroupPolicy, never changed in place."""
    base_ports: int = 0
    """How many ports somebody asked for; a group that grew by itself has more."""
    port_name_format: str = ""
    scope: tuple[ManagedEntity, ...] = ()
    """Where entities must be that connect to it; empty: anywhere."""
    vendor: tuple[Any, ...] = ()
    """KeyedOpaqueBlob."""
    resource_pool: str = ""
    """Key of the VM network resource pool."""
    created: datetime

    @property
    def num_ports(self) -> int:
        """Ports it has now."""
        return self.dvs.ports.count(self)

    @property
    def port_keys(self) -> tuple[str, ...]:
        """Keys of its ports, lowest first."""
        return tuple(self.dvs.ports.of_group(self))

    @property
    def key(self) -> str:
        """Port group key."""
        return self.moid

    def event_places(self) -> Iterator[ManagedEntity]:
        """The switch besides."""
        yield self
        yield self.dvs
        yield from self.ancestors()

    def nic_backing(self, nic: NicState) -> Any:
        """Backing of a card on this port group."""
        return data_object(
            vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo,
            port=data_object(
                vim.dvs.PortConnection,
                switchUuid=self.dvs.uuid,
                portgroupKey=self.moid,
                portKey=nic.port_key or None,
                connectionCookie=nic.connection_cookie or None,
            ),
        )

    def check_unused(self) -> None:
        """Raise ResourceInUse while anything is connected to one of its ports."""
        if self.vms or self.dvs.ports.free_count(self) < self.num_ports:
            message = f"The resource '{self.moid}' is in use."
            raise fault(vim.fault.ResourceInUse, message, type=type(self.ref), name=self.name)

    def leave(self, tx: Transaction) -> None:
        """Its ports go with it."""
        from contrail_vsphere.simulator.vcenter import dvs_ports

        dvs_ports.remove_ports(tx, self, self.port_keys)
        Network.leave(self, tx)

    def backing_summary(self) -> str:
        """What ``deviceInfo.summary`` of a card says."""
        return f"DVSwitch: {self.dvs.uuid}"

    def apply_rename(self, tx: Transaction, name: str) -> None:
        """A rename is a new configuration."""
        self.apply_new_name(tx, name)
        tx.set(self, config_version=self.config_version + 1)

    def apply_new_name(self, tx: Transaction, name: str) -> None:
        """Inside a commit: cards do not name the group, guests report it."""
        ManagedEntity.apply_rename(self, tx, name)
        tx.touch(self.dvs, "summary.portgroupName")
        for vm in self.vms:
            tx.touch(vm, "guest.net")

    async def destroy(self, *, user: str = "", chain: int | None = None) -> None:
        """Take the port group out; refused while a card is connected."""
        from contrail_vsphere.simulator.vcenter import dvs_life

        await dvs_life.destroy_portgroup(self.world, self, user=user, chain=chain)

    @operation("ReconfigureDVPortgroup_Task", privilege="DVPortgroup.Modify")
    def ReconfigureDVPortgroup_Task(self, call: Any, spec: Any) -> Any:
        from contrail_vsphere.simulator.vcenter import dvs_life

        return self.start_task(
            call,
            "reconfigure",
            lambda handle: dvs_life.reconfigure_portgroup(self.world, self, spec, user=handle.user, chain=handle.chain),
        )

    @managed_property("key")
    def _key(self) -> str:
        return self.moid

    @managed_property("config")
    def _config(self) -> Any:
        return dvs_projection.portgroup_config(self)

    @managed_property("portKeys")
    def _port_keys(self) -> list[str]:
        return list(self.port_keys)
