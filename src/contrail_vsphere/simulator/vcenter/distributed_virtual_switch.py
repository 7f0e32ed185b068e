"""Distributed virtual switches and their port groups: state and the methods clients call on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.core.entity import managed_property, operation
from contrail_vsphere.simulator.vcenter import dvs_projection
from contrail_vsphere.simulator.vcenter.data_object import data_object
from contrail_vsphere.simulator.vcenter.folder import Folder
from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.core.world import Transaction
    from contrail_vsphere.simulator.vcenter.devices import NicState
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem
    from contrail_vsphere.simulator.vcenter.virtual_machine import VirtualMachine


@dataclass(frozen=True, slots=True, kw_only=True)
class DvPort:
    """A port that a card is connected to."""

    key: str
    vm: VirtualMachine
    nic_key: int
    cookie: int


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
        "hosts": ("config.host", "summary.hostMember", "summary.host", "summary.numHosts"),
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
        "next_port": ("config.numPorts", "summary.numPorts"),
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
        "ReconfigureDvs_Task",
        privilege="DVSwitch.Modify",
        note="Hosts, name, MTU, uplink names, port defaults, contact.",
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

    @operation("FetchDVPorts", privilege="System.Read", note="Criteria active, scope and nsxPort are not looked at.")
    def FetchDVPorts(self, call: Any, criteria: Any = None) -> list[Any]:
        from contrail_vsphere.simulator.vcenter import dvs_ports

        return dvs_ports.fetch(self, criteria)

    @operation("FetchDVPortKeys", privilege="System.Read", note="As FetchDVPorts.")
    def FetchDVPortKeys(self, call: Any, criteria: Any = None) -> list[str]:
        from contrail_vsphere.simulator.vcenter import dvs_ports

        return [port.key for port in dvs_ports.fetch(self, criteria)]

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
        return None


@dataclass(slots=True, eq=False, kw_only=True)
class DistributedVirtualPortgroup(Network):
    """A distributed port group; its key is its managed object id (the predecessors rely on it)."""

    wsdl: ClassVar[str] = "DistributedVirtualPortgroup"
    prefix: ClassVar[str] = "dvportgroup-"
    rename_event: ClassVar[Any] = vim.event.DVPortgroupRenamedEvent
    shows: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "name": ("name", "summary.name", "config.name"),
        "kind": ("config.type",),
        "num_ports": ("config.numPorts",),
        "port_keys": ("portKeys",),
        "auto_expand": ("config.autoExpand",),
        "description": ("config.description",),
        "config_version": ("config.configVersion",),
        "setting": ("config.defaultPortConfig",),
        "policy": ("config.policy",),
    }

    dvs: DistributedVirtualSwitch
    kind: str = "earlyBinding"
    """``earlyBinding``, ``lateBinding`` or ``ephemeral``."""
    num_ports: int = 0
    auto_expand: bool = True
    uplink: bool = False
    description: str = ""
    config_version: int = 0
    setting: Any
    """VMwareDVSPortSetting, never changed in place."""
    policy: Any
    """VMwareDVSPortgroupPolicy, never changed in place."""
    port_keys: tuple[str, ...] = ()
    connected: Mapping[str, DvPort] = field(default_factory=dict)
    """Port key -> who is connected; keys that are missing here are free."""
    created: datetime

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

    def backing_summary(self) -> str:
        """What ``deviceInfo.summary`` of a card says."""
        return f"DVSwitch: {self.dvs.uuid}"

    def apply_rename(self, tx: Transaction, name: str) -> None:
        """A rename is a new configuration; cards do not name the group, guests report it."""
        ManagedEntity.apply_rename(self, tx, name)
        tx.set(self, config_version=self.config_version + 1)
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
