"""What a plan for a VM is made from: one value that holds all that is seen of it, in every world at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from contrail_vsphere.model.contrail import ContrailVm, InstanceIp, VirtualNetwork, Vmi
from contrail_vsphere.model.dvport import DvPort
from contrail_vsphere.model.ids import DvsId, HostId, NetworkId, VmId, VmiId
from contrail_vsphere.model.inventory import VirtualMachine
from contrail_vsphere.vcenter_plugin.books.records import PortRecord
from contrail_vsphere.vcenter_plugin.desired import WantedPort
from contrail_vsphere.vcenter_plugin.identity import Identity, PortId


@dataclass(frozen=True, slots=True)
class HostSight:
    """A host as the plugin sees it."""

    id: HostId
    name: str
    address: str = ""
    """Of its VRouterAgent; empty: the HostDirectory has none."""
    forwards: bool = False
    reachable: bool = False
    """The VRouterAgent answered when it was last asked."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PortSight:
    """One port with all that is known of it."""

    id: PortId
    wanted: WantedPort | None = None
    """None: the card is gone, or is not ours any more."""
    missing: str = ""
    """The card is in a port group of ours, but what it needs is not known."""
    lost: bool = False
    """What is ``missing`` is the network itself."""
    place: tuple[DvsId, str] | None = None
    """Switch and key of the DVPort that the card has, else of the recorded one."""
    dv: DvPort | None = None
    """What is known of it."""
    fresh: bool = False
    """``dv`` was read since anything about the port was heard."""
    at: HostId | None = None
    """The host that ``dv`` is at, whether its VM runs or not."""
    taken: bool = False
    """The VLAN that ``dv`` shows is another port's there."""
    left: DvPort | None = None
    """The recorded DVPort, where the card has another one now."""
    left_doubtful: bool = False
    """It was written, or heard of, since it was read."""
    record: PortRecord | None = None
    vmi: Vmi | None = None
    """The interface that stands for the card, or could be adopted for it."""
    iips: tuple[InstanceIp, ...] = ()
    iip_taken: bool = False
    """The id that contrail-vcenter-manager would derive for its address is another interface's (``compat_ids``)."""
    network: VirtualNetwork | None = None
    gone_for: float = 0.0
    """Seconds since the card was last seen."""
    elsewhere: WantedPort | None = None
    """The card is there, but another plugin's: of that host, or of that switch."""
    rivals: tuple[VmiId, ...] = ()
    """Other interfaces with its MAC address in its network."""


@dataclass(frozen=True, slots=True)
class MachineSight:
    """One VM, by instance UUID, with everything its ports are judged by."""

    id: UUID
    name: str
    ports: tuple[PortSight, ...]
    contrail_vm: ContrailVm | None = None
    other_vmis: bool = False
    """Contrail has interfaces of this VM that are none of ``ports``."""
    hosts: Mapping[HostId, HostSight] = field(default_factory=dict)
    gone_for: float = 0.0
    blind: str = ""
    """Why absence proves nothing now; empty when all that is missing is really gone."""
    destination: HostId | None = None
    """Where it is on its way to."""
    destination_for: float = 0.0
    """Seconds for which that is believed."""
    abroad: tuple[HostId, frozenset[int]] | None = None
    """Where it is on its way to, and VLANs that it cannot have there: of ports that another plugin serves, or all."""
    cards: tuple[tuple[VmId, frozenset[tuple[int, NetworkId]]], ...] = ()
    """Every VM that vCenter shows with this instance UUID, with its cards on switches (device key, port group)."""
    asleep: frozenset[tuple[VmId, int]] = frozenset()
    """Cards (VM, device key) that are not connected, or whose VM does not run."""
    twins: tuple[str, ...] = ()
    """Other VMs that vCenter shows with the same instance UUID."""


@dataclass(frozen=True, slots=True)
class PortPolicy:
    """How ports are treated."""

    identity: Identity
    linger: float = 10.0
    """Seconds after which the objects of a card that is gone are deleted; a VM that is registered again keeps them."""
    adopt: bool = True
    """Objects of the predecessors are taken over."""
    spread: bool = False
    """Other plugins give VLANs out too, unseen: begin at a place of the port's own, so that moves rarely collide."""
    writes_contrail: bool = True
    """False where another orchestrator makes the objects (vcenter-as-compute)."""


def vmi_id(port: PortSight, wanted: WantedPort, policy: PortPolicy) -> VmiId:
    """The interface that stands, or will stand, for the card."""
    if port.vmi is not None:
        return port.vmi.uuid
    if port.record is not None:
        return port.record.vmi
    return policy.identity.vmi(port.id, wanted.mac)


def switch_cards(vm: VirtualMachine) -> tuple[VmId, frozenset[tuple[int, NetworkId]]]:
    """Its cards on distributed switches; a template has none that count."""
    nics = () if vm.template else vm.nics
    return vm.id, frozenset((nic.key, nic.network) for nic in nics if nic.dvs_uuid and nic.network)


def sleeping_cards(vm: VirtualMachine) -> Iterator[tuple[VmId, int]]:
    """Its cards that do not run."""
    return ((vm.id, nic.key) for nic in vm.nics if vm.power != "poweredOn" or not nic.connected)
