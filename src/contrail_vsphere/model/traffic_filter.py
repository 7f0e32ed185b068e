"""Traffic filter rules of a DVPort or port group, and the ports and groups that carry them.

The filter is stateless and takes the first rule that matches. ``incoming`` is what the VM behind the port receives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from contrail_vsphere.model.ids import DvsId, HostId, NetworkId, VmId

Direction = Literal["incoming", "outgoing", "both"]
ARP = 0x0806
PortRange = tuple[int, int]


@dataclass(frozen=True, slots=True, order=True)
class FilterRule:
    """One rule. With an ``ether_type`` it looks at the Ethernet header alone, else at IP; empty fields match all."""

    direction: Direction
    accept: bool
    source: str = ""
    """A CIDR; ``0.0.0.0/0`` is all of IPv4, empty is all of IPv4 and IPv6."""
    destination: str = ""
    protocol: int = -1
    """Of IP; -1: any."""
    source_ports: PortRange = (0, 65535)
    destination_ports: PortRange = (0, 65535)
    ether_type: int = -1
    """-1: an IP rule; 0: any frame."""
    dscp: int = -1
    """What an accepted packet is marked with; -1: as it is."""


DROP_IP = FilterRule("both", accept=False)
DROP_OTHER = FilterRule("both", accept=False, ether_type=0)
PASS_ARP = FilterRule("both", accept=True, ether_type=ARP)
CLOSED = (DROP_IP, DROP_OTHER)
"""Nothing passes: what a port group says for ports that have no rules of their own."""


@dataclass(frozen=True, slots=True)
class Shaping:
    """How much one direction of a port may carry."""

    average: int
    """Bits per second."""
    peak: int
    burst: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class FilteredPort:
    """``DistributedVirtualPort`` of FetchDVPorts, with the settings that carry a Neutron port."""

    dvs: DvsId
    key: str
    group: NetworkId
    version: str = ""
    name: str = ""
    """The Neutron port's id, where it is ours."""
    blocked: bool | None = None
    """The port's own setting; None while it has the port group's."""
    rules: tuple[FilterRule, ...] | None = None
    """The port's own rules; None while it has the port group's; empty: the filter is off."""
    forged_transmits: bool | None = None
    from_vm: Shaping | None = None
    """The port's own limits, what the VM sends and what it gets; None while it has the port group's."""
    to_vm: Shaping | None = None
    trunk: tuple[PortRange, ...] | None = None
    """VLANs that the port carries tagged; None while it has the port group's VLAN."""
    filters: tuple[str, ...] = ()
    """Keys of the traffic filters that hold its own rules."""
    vm: VmId | None = None
    nic: int | None = None
    host: HostId | None = None


@dataclass(frozen=True, slots=True)
class FilteredPortEdit:
    """One port's part of ReconfigureDVPort_Task; fields as of ``FilteredPort``."""

    key: str
    version: str
    name: str
    blocked: bool | None = None
    rules: tuple[FilterRule, ...] | None = None
    forged_transmits: bool | None = None
    from_vm: Shaping | None = None
    to_vm: Shaping | None = None
    trunk: tuple[PortRange, ...] | None = None
    filters: tuple[str, ...] = ()
    """Keys of the filters that the port has now: the first is replaced, others go."""
    filter_stays: bool = False
    """The port has these rules: the task does not carry them."""


@dataclass(frozen=True, slots=True)
class FilteredGroupSpec:
    """A port group as it should be."""

    name: str
    mark: str
    """Data of the blob that says what it stands for."""
    description: str
    vlan: int
    """0: untagged."""
    blocked: bool = False
    """Whether its ports are blocked, all of them (the network is down)."""
    filtered: bool = True
    """Whether a port without rules of its own is closed."""
    fixed_ports: int = 0
    """Ports that are booked by key stay; 0: the group grows and shrinks by itself."""
