"""What Neutron wants of one vCenter, as values: read from its database, judged by ``plan`` and ``firewall``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from contrail_vsphere.model.traffic_filter import PortRange, Shaping


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a network that a switch can carry."""

    id: str
    physical_network: str
    vlan: int
    """0: flat."""


@dataclass(frozen=True, slots=True)
class WantedNetwork:
    """A network with its VLAN and flat segments."""

    id: str
    name: str
    admin_up: bool
    segments: tuple[Segment, ...]
    mtu: int = 0
    several: bool = False
    """Whether the network has several segments of any kind; the name of its port groups then says which."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A security group rule of one port. ``remotes``: CIDRs of the other side; none: nobody is meant (yet)."""

    ingress: bool
    version: int
    """4 or 6."""
    remotes: tuple[str, ...]
    protocol: int = -1
    ports: tuple[int, int] = (0, 65535)
    """Destination ports, of TCP, UDP and their kin."""
    icmp_type: int | None = None
    stateful: bool = True


@dataclass(frozen=True, slots=True)
class PortSecurity:
    """What may pass a port."""

    enabled: bool
    """False: everything, from any address."""
    addresses: tuple[str, ...] = ()
    """CIDRs that the port may send from: fixed addresses and allowed address pairs."""
    other_macs: bool = False
    """An allowed address pair names another MAC address."""
    rules: tuple[Rule, ...] = ()
    left_out: tuple[str, ...] = ()
    """Rules that a switch cannot carry, in words; the others hold."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What a QoS policy says of a port."""

    from_vm: Shaping | None = None
    to_vm: Shaping | None = None
    dscp: int = -1


@dataclass(frozen=True, slots=True)
class WantedPort:
    """A port that is bound to a host of this vCenter."""

    id: str
    network_id: str
    segment_id: str
    mac: str
    host: str
    admin_up: bool
    status: str
    security: PortSecurity
    details: Mapping[str, object] = field(default_factory=dict)
    """``binding:vif_details``."""
    quality: Quality = field(default_factory=Quality)
    trunk: tuple[PortRange, ...] | None = None
    """VLANs that the parent of a trunk carries tagged."""
    subports: tuple[PortSecurity, ...] = ()
    """What may pass the parent for its subports' sake."""
    parent: str = ""
    """Of a subport: the Neutron port whose card it shares."""
    problem: str = ""
    """Why the port cannot be as it should; it is closed then."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Objects by id; None for one that is gone, or that is no business of this vCenter."""

    networks: Mapping[str, WantedNetwork | None] = field(default_factory=dict)
    ports: Mapping[str, WantedPort | None] = field(default_factory=dict)
    complete: bool = False
    """Whether this is everything: what is not in it should not be."""
