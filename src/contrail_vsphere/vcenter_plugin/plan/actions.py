"""What a plan can say. Every action carries its reason in words that a person can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from contrail_vsphere.model.contrail import Address, Family
from contrail_vsphere.model.dvport import DvPort
from contrail_vsphere.model.ids import DvsId, HostId, IipId, NetworkId, ProjectId, VirtualMachineId, VmId, VmiId, VnId
from contrail_vsphere.model.inventory import Network
from contrail_vsphere.vcenter_plugin.identity import PortId


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """``lane``: actions of one lane are done in order, lanes side by side; an error ends its lane."""

    reason: str
    lane: ClassVar[str] = "local"
    deletes: ClassVar[bool] = False

    @property
    def verb(self) -> str:
        """Name of the action."""
        return type(self).__name__

    @property
    def track(self) -> str:
        """The lane of this very action."""
        return self.lane


# -- networks -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateGroup(Action):
    """A port group for a network. ``name`` as people read it."""

    lane: ClassVar[str] = "switch"
    dvs: DvsId
    name: str
    network: VnId
    fq_name: str
    virtual_macs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairGroup(Action):
    """Put right what somebody changed, or mark what is adopted.

    ``adopting``: ports of it still depend on its former VLAN and on being open, which therefore stay.
    """

    lane: ClassVar[str] = "switch"
    group: Network
    network: VnId
    fq_name: str = ""
    adopting: bool = False
    virtual_macs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowOverrides(Action):
    """Let ports of somebody else's port group have a VLAN of their own."""

    lane: ClassVar[str] = "switch"
    group: Network


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameGroup(Action):
    """``name`` as people read it."""

    lane: ClassVar[str] = "switch"
    group: NetworkId
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyGroup(Action):
    """The network is gone and no card is left."""

    lane: ClassVar[str] = "switch"
    deletes: ClassVar[bool] = True
    group: NetworkId
    network: VnId
    gone: bool
    """Because Contrail does not have the network: it is asked once more."""


# -- ports ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Action):
    """Take a VLAN for the port on the host, ``prefer`` if it is free there; remembered before anything is written."""

    port: PortId
    vmi: VmiId
    vm: VmId
    dvs: DvsId
    key: str
    host: HostId
    prefer: int | None
    keep: bool = False
    """Take ``prefer`` wherever it is free on this host: the port is in it now."""
    ahead: HostId | None = None
    """The VM is still on that host: if the VLAN must be another one, it is changed there before the VM leaves."""
    otherwise: WritePort | None = None
    """What is written to the port, which is open, if no VLAN is left for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Action):
    """Give up the port's VLAN on a host where no VRouterAgent knows it."""

    port: PortId
    host: HostId


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldVlan(Action):
    """Give nobody else the VLAN that the switch shows the port in, though nothing may pass there."""

    port: PortId
    dvs: DvsId
    key: str
    host: HostId
    vlan: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetPort(Action):
    """Nothing of the port is left anywhere."""

    port: PortId


@dataclass(frozen=True, slots=True, kw_only=True)
class RefetchPort(Action):
    """Ask the switch about the port."""

    lane: ClassVar[str] = "switch"
    dvs: DvsId
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePort(Action):
    """VLAN and block of a DVPort at once; None for both: the port group's again."""

    lane: ClassVar[str] = "switch"
    dvs: DvsId
    key: str
    version: str
    host: HostId | None
    vlan: int | None
    blocked: bool | None
    asleep: bool = False
    """The card that has the port does not run: vCenter may take the write and lose it."""
    at_once: bool = False
    """The port is open in another's VLAN: this does not wait for other writes."""

    @classmethod
    def to(
        cls,
        dv: DvPort,
        *,
        vlan: int | None,
        blocked: bool | None,
        reason: str,
        asleep: bool = False,
        at_once: bool = False,
    ) -> WritePort:
        """To a DVPort as it was read."""
        return cls(
            dvs=dv.dvs, key=dv.key, version=dv.version, host=dv.host, vlan=vlan, blocked=blocked, asleep=asleep,
            at_once=at_once, reason=reason,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureVm(Action):
    """The VM in Contrail, with its name."""

    lane: ClassVar[str] = "contrail"
    vm: VirtualMachineId
    name: str
    project: ProjectId
    annotations: tuple[tuple[str, str], ...]
    exists: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVmi(Action):
    """The interface of a card."""

    lane: ClassVar[str] = "contrail"
    vmi: VmiId
    vm: VirtualMachineId
    network: VnId
    project: ProjectId
    mac: str
    name: str
    annotations: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptVmi(Action):
    """A predecessor's interface gets our mark; nothing else of it changes."""

    lane: ClassVar[str] = "contrail"
    vmi: VmiId
    annotations: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMac(Action):
    """The card has another MAC address."""

    lane: ClassVar[str] = "contrail"
    vmi: VmiId
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateIip(Action):
    """An address for an interface; without ``address`` Contrail chooses."""

    lane: ClassVar[str] = "contrail"
    iip: IipId
    vmi: VmiId
    network: VnId
    family: Family
    address: Address | None
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmCards(Action):
    """Ask vCenter for the VM: nothing is deleted if it has other cards than we believe."""

    lane: ClassVar[str] = "contrail"
    vm: UUID
    believed: tuple[tuple[VmId, frozenset[tuple[int, NetworkId]]], ...]
    """Every VM of that instance UUID, with its cards on switches (device key, port group)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteIip(Action):
    """An address goes."""

    lane: ClassVar[str] = "contrail"
    deletes: ClassVar[bool] = True
    iip: IipId


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteVmi(Action):
    """An interface goes, after its addresses."""

    lane: ClassVar[str] = "contrail"
    deletes: ClassVar[bool] = True
    vmi: VmiId


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteVm(Action):
    """The VM goes, after its interfaces."""

    lane: ClassVar[str] = "contrail"
    deletes: ClassVar[bool] = True
    vm: VirtualMachineId


@dataclass(frozen=True, slots=True, kw_only=True)
class _AtAgent(Action):
    """Something that a host's VRouterAgent is told; a host that hangs delays no other."""

    port: PortId
    host: HostId
    address: str

    @property
    def track(self) -> str:
        """One lane per host."""
        return f"agent {self.host}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugPort(_AtAgent):
    """Plug; ``replace`` when the agent may know the port with other values."""

    values: Any
    """``contrail.vrouter_agent.VRouterPort``."""
    digest: str
    replace: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLink(_AtAgent):
    """Enable or disable a plugged port."""

    vmi: VmiId
    up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplug(_AtAgent):
    """Unplug, and give up the VLAN there."""

    vmi: VmiId
    keep_vlan: bool = False
    """The switch still has the port in that VLAN: nobody else may have it yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(Action):
    """Nothing can be done about the port (or network) now; ``state`` is what status shows, unless there is a worse one.

    ``seconds``: when to look again by itself; None: something will be heard. ``host``: the one to blame, where that is
    not the VM's.
    """

    state: str
    port: PortId | None = None
    seconds: float | None = None
    host: HostId | None = None
