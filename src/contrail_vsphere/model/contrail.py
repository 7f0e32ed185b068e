"""What Contrail's config API holds, as far as the controllers judge by it.

One frozen value per object, made by ``contrail.values`` from the API's JSON. A reference that points to an object which
does not exist any more is kept as it is (the API server allows that after ``ref-relax-for-delete``): readers look the
other side up and must live with not finding it. Maps are read-only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from contrail_vsphere.model.ids import IipId, ProjectId, SecurityGroupId, VirtualMachineId, VmiId, VnId

FqName = tuple[str, ...]
"""Fully qualified name: domain, project, name; one element for virtual machines and instance IPs."""
Address = IPv4Address | IPv6Address
Family = Literal["v4", "v6"]


class Annotations(Mapping[str, str]):
    """A read-only map of a few texts in a third of a dict's memory: a large site has 150,000 of them."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = tuple(text for pair in sorted(dict(pairs).items()) for text in pair)

    def __getitem__(self, key: str) -> str:
        pairs = self._pairs
        for at in range(0, len(pairs), 2):
            if pairs[at] == key:
                return pairs[at + 1]
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs[::2])

    def __len__(self) -> int:
        return len(self._pairs) // 2

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Annotations):
            return self._pairs == other._pairs
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        return f"Annotations({dict(self)!r})"


_NONE: Mapping[str, str] = Annotations()


def no_annotations() -> Mapping[str, str]:
    """The one empty map."""
    return _NONE


@dataclass(frozen=True, slots=True)
class Project:
    """``project``."""

    uuid: ProjectId
    fq_name: FqName
    display_name: str = ""
    creator: str = ""
    annotations: Mapping[str, str] = field(default_factory=no_annotations, hash=False)


@dataclass(frozen=True, slots=True)
class Pool:
    """Addresses, both ends included, that are given out by themselves."""

    first: Address
    last: Address


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet of a virtual network, out of its reference to a ``network-ipam``."""

    prefix: IPv4Network | IPv6Network
    uuid: str = ""
    """``subnet_uuid``; what writes the subnet must repeat it, or the server makes up a new one."""
    gateway: Address | None = None
    """None also for ``0.0.0.0``: a subnet without gateway."""
    name: str = ""
    dhcp: bool = True
    from_start: bool = False
    """Addresses are given out from the lowest upwards; otherwise from the highest downwards."""
    pools: tuple[Pool, ...] = ()

    @property
    def family(self) -> Family:
        """``v4`` or ``v6``."""
        return "v4" if self.prefix.version == 4 else "v6"


@dataclass(frozen=True, slots=True)
class VirtualNetwork:
    """``virtual-network``."""

    uuid: VnId
    fq_name: FqName
    parent_uuid: ProjectId
    display_name: str = ""
    subnets: tuple[Subnet, ...] = ()
    """In the order of the references, which is the order addresses are taken in."""
    external_ipam: bool = False
    """Guests bring their own addresses; whoever makes an instance-ip must say which."""
    enabled: bool = True
    """``id_perms.enable``."""
    user_visible: bool = True
    shared: bool = False
    external: bool = False
    """``router_external``."""
    network_id: int | None = None
    creator: str = ""
    description: str = ""
    """``id_perms.description``."""
    annotations: Mapping[str, str] = field(default_factory=no_annotations, hash=False)

    def subnet_of(self, address: Address) -> Subnet | None:
        """The subnet that holds an address."""
        return next((subnet for subnet in self.subnets if address in subnet.prefix), None)

    def serves(self, family: Family) -> bool:
        """Whether there is a subnet of the family."""
        return any(subnet.family == family for subnet in self.subnets)


@dataclass(frozen=True, slots=True)
class ContrailVm:
    """``virtual-machine``: has no project, only an owner."""

    uuid: VirtualMachineId
    name: str
    """The one element of its fq_name."""
    display_name: str = ""
    owner: str = ""
    """``perms2.owner``: the project that may see it, without dashes."""
    creator: str = ""
    annotations: Mapping[str, str] = field(default_factory=no_annotations, hash=False)


@dataclass(frozen=True, slots=True)
class Vmi:
    """``virtual-machine-interface``."""

    uuid: VmiId
    fq_name: FqName
    parent_uuid: ProjectId | None = None
    display_name: str = ""
    network: VnId | None = None
    """None only for what another program left without one."""
    vm: VirtualMachineId | None = None
    macs: tuple[str, ...] = ()
    """Lower case, with colons; the server stores whatever it was told."""
    security_groups: tuple[SecurityGroupId, ...] = ()
    """Sorted: the order of references means nothing."""
    port_security: bool = True
    address_pairs: tuple[str, ...] = ()
    """MAC addresses of ``allowed_address_pairs``, sorted."""
    device_owner: str = ""
    host: str = ""
    """``host_id`` of its bindings: name of the virtual-router."""
    sub_interface_vlan: int | None = None
    enabled: bool = True
    creator: str = ""
    annotations: Mapping[str, str] = field(default_factory=no_annotations, hash=False)


@dataclass(frozen=True, slots=True)
class InstanceIp:
    """``instance-ip``. Its address never changes: another address is another object."""

    uuid: IipId
    name: str
    """The one element of its fq_name, unique among all instance IPs."""
    address: Address | None = None
    """None when the server has not told one (a create's reply does not) or it cannot be read."""
    family: Family = "v4"
    network: VnId | None = None
    vmis: tuple[VmiId, ...] = ()
    """Sorted."""
    subnet_uuid: str = ""
    secondary: bool = False
    service: bool = False
    """Made for a service instance or a service chain; never the address of a VM."""
    display_name: str = ""
    creator: str = ""
    annotations: Mapping[str, str] = field(default_factory=no_annotations, hash=False)


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """``security-group``, without its rules."""

    uuid: SecurityGroupId
    fq_name: FqName
    parent_uuid: ProjectId
    display_name: str = ""
    creator: str = ""
    annotations: Mapping[str, str] = field(default_factory=no_annotations, hash=False)


ContrailObject = Project | VirtualNetwork | ContrailVm | Vmi | InstanceIp | SecurityGroup


@dataclass(frozen=True, slots=True)
class ContrailChange:
    """One object before and after; ``before`` is None when it appeared, ``after`` when it left."""

    before: ContrailObject | None
    after: ContrailObject | None
