"""What the plugin needs of the outside worlds, as Protocols; ``vsphere`` and ``contrail`` have the real ones.

Every method that asks the outside raises errors of ``model.errors``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol
from uuid import UUID

from contrail_vsphere.contrail.vrouter_agent import VRouterPort
from contrail_vsphere.model.contrail import Address, ContrailVm, InstanceIp, VirtualNetwork, Vmi
from contrail_vsphere.model.dvport import DvPort, DvPortEdit
from contrail_vsphere.model.errors import ContrailVsphereError
from contrail_vsphere.model.ids import (
    ClusterId,
    DvsId,
    HostId,
    IipId,
    NetworkId,
    VirtualMachineId,
    VmId,
    VmiId,
    VnId,
)
from contrail_vsphere.model.inventory import Cluster, Dvs, Host, Network, VirtualMachine
from contrail_vsphere.model.port_group import GroupSpec
from contrail_vsphere.vcenter_plugin.plan.actions import AdoptVmi, CreateIip, CreateVmi, EnsureVm
from contrail_vsphere.vsphere.alarms import AlarmDefinition, Ensured


class AlarmDoor(Protocol):
    """``vsphere.alarms.Alarms``."""

    async def ensure(self, definitions: Sequence[AlarmDefinition]) -> Ensured:
        """Have them all; write nothing where they are as they should be."""
        ...

    async def raised(self, definitions: Sequence[AlarmDefinition]) -> Mapping[str, frozenset[str]]:
        """By name of a definition, the object ids on which it is up."""
        ...


class VSphereView(Protocol):
    """``vsphere.inventory.Inventory``."""

    @property
    def clusters(self) -> Mapping[ClusterId, Cluster]:
        """All clusters."""
        ...

    @property
    def hosts(self) -> Mapping[HostId, Host]:
        """All hosts."""
        ...

    @property
    def vms(self) -> Mapping[VmId, VirtualMachine]:
        """All VMs and templates."""
        ...

    @property
    def networks(self) -> Mapping[NetworkId, Network]:
        """Standard networks and port groups."""
        ...

    @property
    def dvss(self) -> Mapping[DvsId, Dvs]:
        """Distributed switches."""
        ...

    @property
    def healthy(self) -> bool:
        """All was read and vCenter answers."""
        ...

    def release(self, vm: VmId) -> None:
        """It need not be followed where it is out of reach."""
        ...


class ContrailView(Protocol):
    """``contrail.inventory.ContrailInventory``."""

    @property
    def networks(self) -> Mapping[VnId, VirtualNetwork]:
        """All virtual networks."""
        ...

    @property
    def vms(self) -> Mapping[VirtualMachineId, ContrailVm]:
        """All virtual machines."""
        ...

    @property
    def vmis(self) -> Mapping[VmiId, Vmi]:
        """All interfaces."""
        ...

    @property
    def instance_ips(self) -> Mapping[IipId, InstanceIp]:
        """All addresses."""
        ...

    @property
    def complete(self) -> bool:
        """The reading is whole and fresh: what is missing in it is gone."""
        ...


class ContrailObjects(Protocol):
    """Makes and deletes objects in Contrail; each call may be repeated. The view is told of what the replies say."""

    async def has_network(self, network: VnId) -> bool:
        """Ask now."""
        ...

    async def ensure_vm(self, action: EnsureVm) -> None:
        """Make or rename."""
        ...

    async def create_vmi(self, action: CreateVmi) -> None:
        """Make; one that is there already and the same is fine."""
        ...

    async def adopt_vmi(self, action: AdoptVmi) -> None:
        """Give a predecessor's interface our mark."""
        ...

    async def set_mac(self, vmi: VmiId, mac: str) -> None:
        """Change the MAC address."""
        ...

    async def create_iip(self, action: CreateIip) -> None:
        """Make, and learn its address."""
        ...

    async def delete_iip(self, iip: IipId) -> None:
        """Gone already is fine."""
        ...

    async def delete_vmi(self, vmi: VmiId) -> None:
        """Gone already is fine."""
        ...

    async def delete_vm(self, vm: VirtualMachineId) -> None:
        """Gone already is fine."""
        ...


class PortDoor(Protocol):
    """``vsphere.dvports.DvPorts``."""

    async def of_groups(
        self, dvs: DvsId, groups: Collection[NetworkId], *, hosts: Collection[HostId] = ()
    ) -> Sequence[DvPort]:
        """All connected ports of port groups."""
        ...

    async def of_keys(self, dvs: DvsId, keys: Sequence[str]) -> tuple[DvPort, ...]:
        """These ports; those that are gone are left out."""
        ...

    async def edit(self, dvs: DvsId, edits: Sequence[DvPortEdit]) -> tuple[ContrailVsphereError | None, ...]:
        """Change ports; an error, or None, for each."""
        ...


class GroupDoor(Protocol):
    """``vsphere.port_groups.PortGroups``."""

    async def create(self, dvs: DvsId, specs: Sequence[GroupSpec]) -> None:
        """Make them, all or none."""
        ...

    async def repair(self, group: Network, spec: GroupSpec) -> None:
        """Everything as it must be, except the name."""
        ...

    async def allow_overrides(self, group: Network) -> None:
        """Let its ports have VLANs of their own."""
        ...

    async def rename(self, group: NetworkId, name: str) -> None:
        """Rename."""
        ...

    async def destroy(self, group: NetworkId) -> None:
        """Destroy."""
        ...

    async def mark_of(self, group: NetworkId) -> UUID | None:
        """Read now what it stands for."""
        ...


class GuestDoor(Protocol):
    """``vsphere.guest_addresses.GuestAddresses``."""

    def of(self, vm: VmId) -> Mapping[int, tuple[Address, ...]]:
        """What the guest has given itself, by device key of the card."""
        ...

    def follow(self, vm: VmId, *, wanted: bool) -> None:
        """From now on, or no more."""
        ...


class MachineDoor(Protocol):
    """``vsphere.machine_search.MachineSearch``."""

    async def cards_of(self, instance: UUID) -> tuple[VmId, frozenset[tuple[int, NetworkId]]] | None:
        """Read now the VM of that instance UUID and its cards on switches; None when there is none."""
        ...

    async def follow(self, instance: UUID) -> None:
        """Have it in the view, although it may be out of reach, until it is released."""
        ...


class IntrospectDoor(Protocol):
    """``contrail.introspect.Introspect``."""

    async def forwards(self, address: str) -> bool:
        """Whether the VRouterAgent has a controller."""
        ...

    async def plugged(self, address: str) -> Mapping[UUID, tuple[UUID, int | None]]:
        """All its ports: interface -> (VM, VLAN)."""
        ...


class AgentDoor(Protocol):
    """``contrail.vrouter_agent.VRouterAgentClient``."""

    async def add(self, address: str, port: VRouterPort) -> None:
        """Plug a port that the agent does not know."""
        ...

    async def replace(self, address: str, port: VRouterPort) -> None:
        """Plug a port whatever the agent knows of it."""
        ...

    async def remove(self, address: str, port: UUID) -> None:
        """Unplug."""
        ...

    async def enable(self, address: str, port: UUID) -> None:
        """Link up."""
        ...

    async def disable(self, address: str, port: UUID) -> None:
        """Link down."""
        ...
