"""Distributed virtual switches and their port groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from contrail_vsphere.simulator.vcenter.managed_entity import ManagedEntity
from contrail_vsphere.simulator.vcenter.network import Network
from contrail_vsphere.wire.soap.types import vim

if TYPE_CHECKING:
    from contrail_vsphere.simulator.vcenter.host_system import HostSystem


@dataclass(frozen=True, slots=True, kw_only=True)
class DvPort:
    """A port of a DVS. Free while ``vm_id`` is empty."""

    key: str
    vm_id: str = ""
    nic_key: int = 0
    cookie: int = 0


@dataclass(slots=True, eq=False, kw_only=True)
class DistributedVirtualSwitch(ManagedEntity):
    """A VMware distributed switch."""

    wsdl: ClassVar[str] = "VmwareDistributedVirtualSwitch"
    prefix: ClassVar[str] = "dvs-"
    rename_event: ClassVar[type] = vim.event.DvsRenamedEvent

    uuid: str
    hosts: tuple[HostSystem, ...] = ()
    portgroups: tuple[DistributedVirtualPortgroup, ...] = ()
    config_version: int = 1
    description: str = ""
    max_mtu: int = 1500
    next_port: int = 0
    """Port keys are unique in the whole switch and never used again."""


@dataclass(slots=True, eq=False, kw_only=True)
class DistributedVirtualPortgroup(Network):
    """A distributed port group; its key is its managed object id (the predecessors rely on it)."""

    wsdl: ClassVar[str] = "DistributedVirtualPortgroup"
    prefix: ClassVar[str] = "dvportgroup-"
    rename_event: ClassVar[type] = vim.event.DVPortgroupRenamedEvent

    dvs: DistributedVirtualSwitch
    kind: str = "earlyBinding"
    """``earlyBinding``, ``lateBinding`` or ``ephemeral``."""
    num_ports: int = 8
    auto_expand: bool = True
    uplink: bool = False
    description: str = ""
    config_version: int = 0
    setting: Any
    """VMwareDVSPortSetting, never changed in place."""
    policy: Any
    """VMwareDVSPortgroupPolicy, never changed in place."""
    ports: tuple[DvPort, ...] = ()

    @property
    def key(self) -> str:
        """Port group key."""
        return self.moid
