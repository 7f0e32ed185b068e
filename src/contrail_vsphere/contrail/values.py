"""From the config API's JSON to the values of ``model.contrail``, and which fields have to be asked for.

Answers are checked against the shapes below, which hold what we read and nothing else: fields we do not know are passed
over, a field of another type than it should have makes the object unreadable. Texts that repeat (domain, project,
creator, host) are interned: fifty thousand objects share them.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec

from contrail_vsphere.model.contrail import (
    Address,
    Annotations,
    ContrailObject,
    ContrailVm,
    FqName,
    InstanceIp,
    Pool,
    Project,
    SecurityGroup,
    Subnet,
    VirtualNetwork,
    Vmi,
    no_annotations,
)
from contrail_vsphere.model.errors import ProtocolError
from contrail_vsphere.model.ids import IipId, ProjectId, SecurityGroupId, VirtualMachineId, VmiId, VnId


class _Shape(msgspec.Struct, gc=False):
    """Base of the shapes: unknown fields are passed over."""


class _Ref(_Shape):
    uuid: UUID
    attr: Any = None


class _Pair(_Shape):
    key: str = ""
    value: str | None = None


class _Pairs(_Shape):
    key_value_pair: list[_Pair] | None = None


class _IdPerms(_Shape):
    enable: bool | None = True
    user_visible: bool | None = True
    creator: str | None = None
    description: str | None = None


class _Perms2(_Shape):
    owner: str | None = None


class _Object(_Shape):
    uuid: UUID
    fq_name: list[str]
    parent_uuid: UUID | None = None
    display_name: str | None = None
    id_perms: _IdPerms | None = None
    annotations: _Pairs | None = None


class _Network(_Object):
    network_ipam_refs: list[_Ref] | None = None
    external_ipam: bool | None = None
    is_shared: bool | None = None
    router_external: bool | None = None
    virtual_network_network_id: int | None = None


class _Vm(_Object):
    perms2: _Perms2 | None = None


class _Macs(_Shape):
    mac_address: list[str] | None = None


class _PairedAddress(_Shape):
    mac: str | None = None


class _AddressPairs(_Shape):
    allowed_address_pair: list[_PairedAddress] | None = None


class _VmiProperties(_Shape):
    sub_interface_vlan_tag: int | None = None


class _Vmi(_Object):
    virtual_network_refs: list[_Ref] | None = None
    virtual_machine_refs: list[_Ref] | None = None
    security_group_refs: list[_Ref] | None = None
    virtual_machine_interface_mac_addresses: _Macs | None = None
    virtual_machine_interface_allowed_address_pairs: _AddressPairs | None = None
    virtual_machine_interface_properties: _VmiProperties | None = None
    virtual_machine_interface_bindings: _Pairs | None = None
    virtual_machine_interface_device_owner: str | None = None
    port_security_enabled: bool | None = None


class _Iip(_Object):
    instance_ip_address: str | None = None
    instance_ip_family: str | None = None
    subnet_uuid: str | None = None
    instance_ip_secondary: bool | None = None
    service_instance_ip: bool | None = None
    service_health_check_ip: bool | None = None
    virtual_network_refs: list[_Ref] | None = None
    virtual_machine_interface_refs: list[_Ref] | None = None


class _SubnetPrefix(_Shape):
    ip_prefix: str
    ip_prefix_len: int


class _Pool(_Shape):
    start: str
    end: str


class _IpamSubnet(_Shape):
    subnet: _SubnetPrefix | None = None
    subnet_uuid: str | None = None
    subnet_name: str | None = None
    default_gateway: str | None = None
    enable_dhcp: bool | None = None
    addr_from_start: bool | None = None
    allocation_pools: list[_Pool] | None = None


class _IpamSubnets(_Shape):
    ipam_subnets: list[_IpamSubnet] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """How objects of a type are read: which fields to ask for, their shape, and what becomes of them."""

    kind: str
    """Dashed type."""
    shape: type[_Object]
    value: Callable[[Any], ContrailObject]

    @property
    def fields(self) -> tuple[str, ...]:
        """For ``fields=``; identity and parent come unasked."""
        given = {"uuid", "fq_name", "parent_uuid"}
        return tuple(name for name in self.shape.__struct_fields__ if name not in given)

    def read(self, row: Mapping[str, Any]) -> ContrailObject:
        """One object of a list. ProtocolError if it is none of this type."""
        try:
            return self.value(msgspec.convert(row, self.shape))
        except (msgspec.ValidationError, ValueError, IndexError) as error:
            raise ProtocolError(f"{self.kind} {row.get('uuid')!r:.60} cannot be read: {error}") from None


def _project(row: _Object) -> Project:
    return Project(
        uuid=ProjectId(row.uuid),
        fq_name=_fq_name(row),
        display_name=row.display_name or "",
        creator=_creator(row),
        annotations=_annotations(row),
    )


def _security_group(row: _Object) -> SecurityGroup:
    return SecurityGroup(
        uuid=SecurityGroupId(row.uuid),
        fq_name=_fq_name(row),
        parent_uuid=ProjectId(_parent(row)),
        display_name=row.display_name or "",
        creator=_creator(row),
        annotations=_annotations(row),
    )


def _network(row: _Network) -> VirtualNetwork:
    perms = row.id_perms or _IdPerms()
    return VirtualNetwork(
        uuid=VnId(row.uuid),
        fq_name=_fq_name(row),
        parent_uuid=ProjectId(_parent(row)),
        display_name=row.display_name or "",
        subnets=tuple(subnet for ref in row.network_ipam_refs or () for subnet in subnets_of(ref.attr)),
        external_ipam=bool(row.external_ipam),
        enabled=perms.enable is not False,
        user_visible=perms.user_visible is not False,
        shared=bool(row.is_shared),
        external=bool(row.router_external),
        network_id=row.virtual_network_network_id,
        creator=_creator(row),
        description=perms.description or "",
        annotations=_annotations(row),
    )


def _vm(row: _Vm) -> ContrailVm:
    return ContrailVm(
        uuid=VirtualMachineId(row.uuid),
        name=sys.intern(row.fq_name[-1]),
        display_name=sys.intern(row.display_name or ""),
        owner=sys.intern((row.perms2.owner if row.perms2 else None) or ""),
        creator=_creator(row),
        annotations=_annotations(row),
    )


def _vmi(row: _Vmi) -> Vmi:
    macs, pairs = row.virtual_machine_interface_mac_addresses, row.virtual_machine_interface_allowed_address_pairs
    allowed = pairs.allowed_address_pair if pairs else None
    properties = row.virtual_machine_interface_properties
    return Vmi(
        uuid=VmiId(row.uuid),
        fq_name=_fq_name(row),
        parent_uuid=None if row.parent_uuid is None else ProjectId(_shared(row.parent_uuid)),
        display_name=row.display_name or "",
        network=VnId(_shared(row.virtual_network_refs[0].uuid)) if row.virtual_network_refs else None,
        vm=VirtualMachineId(row.virtual_machine_refs[0].uuid) if row.virtual_machine_refs else None,
        macs=tuple(_mac(mac) for mac in (macs.mac_address if macs else None) or ()),
        security_groups=_groups(tuple(ref.uuid for ref in row.security_group_refs or ())),
        port_security=row.port_security_enabled is not False,
        address_pairs=tuple(sorted(_mac(pair.mac) for pair in allowed or () if pair.mac)),
        device_owner=sys.intern(row.virtual_machine_interface_device_owner or ""),
        host=sys.intern(_pairs(row.virtual_machine_interface_bindings).get("host_id", "")),
        sub_interface_vlan=(properties.sub_interface_vlan_tag if properties else None) or None,
        enabled=row.id_perms is None or row.id_perms.enable is not False,
        creator=_creator(row),
        annotations=_annotations(row),
    )


def _instance_ip(row: _Iip) -> InstanceIp:
    address = _address(row.instance_ip_address)
    family = row.instance_ip_family or (f"v{address.version}" if address else "v4")
    return InstanceIp(
        uuid=IipId(row.uuid),
        name=row.fq_name[-1],
        address=address,
        family="v6" if family == "v6" else "v4",
        network=VnId(_shared(row.virtual_network_refs[0].uuid)) if row.virtual_network_refs else None,
        vmis=tuple(sorted(VmiId(ref.uuid) for ref in row.virtual_machine_interface_refs or ())),
        subnet_uuid=sys.intern(row.subnet_uuid or ""),
        secondary=bool(row.instance_ip_secondary),
        service=bool(row.service_instance_ip or row.service_health_check_ip),
        display_name=row.display_name or "",
        creator=_creator(row),
        annotations=_annotations(row),
    )


def subnets_of(attr: Any) -> tuple[Subnet, ...]:
    """The subnets in the ``attr`` of a reference to a network-ipam; flat entries without prefix left out."""
    if attr is None:
        return ()
    entries = msgspec.convert(attr, _IpamSubnets).ipam_subnets or ()
    return tuple(_subnet(entry, entry.subnet) for entry in entries if entry.subnet is not None)


def _subnet(entry: _IpamSubnet, prefix: _SubnetPrefix) -> Subnet:
    gateway = _address(entry.default_gateway)
    return Subnet(
        prefix=ipaddress.ip_network(f"{prefix.ip_prefix}/{prefix.ip_prefix_len}", strict=False),
        uuid=entry.subnet_uuid or "",
        gateway=None if gateway is None or gateway.is_unspecified else gateway,
        name=entry.subnet_name or "",
        dhcp=entry.enable_dhcp is not False,
        from_start=bool(entry.addr_from_start),
        pools=tuple(
            Pool(ipaddress.ip_address(pool.start), ipaddress.ip_address(pool.end))
            for pool in entry.allocation_pools or ()
        ),
    )


READINGS: Mapping[str, Reading] = MappingProxyType(
    {
        reading.kind: reading
        for reading in (
            Reading("project", _Object, _project),
            Reading("virtual-network", _Network, _network),
            Reading("security-group", _Object, _security_group),
            Reading("virtual-machine", _Vm, _vm),
            Reading("virtual-machine-interface", _Vmi, _vmi),
            Reading("instance-ip", _Iip, _instance_ip),
        )
    }
)
"""By dashed type, parents before children and referred before referring."""

TYPES: Mapping[type[Any], str] = MappingProxyType(
    {
        Project: "project",
        VirtualNetwork: "virtual-network",
        SecurityGroup: "security-group",
        ContrailVm: "virtual-machine",
        Vmi: "virtual-machine-interface",
        InstanceIp: "instance-ip",
    }
)
"""Dashed type of a value's class."""

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def _mac(text: str) -> str:
    """Lower case with colons where it is a MAC address; the server checks none, so anything can come."""
    plain = text.strip().lower().replace("-", ":")
    return sys.intern(plain) if _MAC.fullmatch(plain) else text


def _address(text: str | None) -> Address | None:
    try:
        return ipaddress.ip_address(text) if text else None
    except ValueError:
        return None


def _fq_name(row: _Object) -> FqName:
    return (*(sys.intern(part) for part in row.fq_name[:-1]), row.fq_name[-1])


def _parent(row: _Object) -> UUID:
    if row.parent_uuid is None:
        raise ValueError("it has no parent")
    return row.parent_uuid


def _creator(row: _Object) -> str:
    return sys.intern((row.id_perms.creator if row.id_perms else None) or "")


def _annotations(row: _Object) -> Mapping[str, str]:
    pairs = _pairs(row.annotations)
    return Annotations(pairs.items()) if pairs else no_annotations()


def _pairs(pairs: _Pairs | None) -> dict[str, str]:
    found = (pairs.key_value_pair if pairs else None) or ()
    # Values too: an instance UUID is in the annotations of a VM and of all its interfaces, and is the VM's name.
    return {sys.intern(pair.key): sys.intern(pair.value or "") for pair in found}


@functools.lru_cache(maxsize=4096)
def _shared(uuid: UUID) -> UUID:
    """The same object for all that refer to the same project, network or security group."""
    return uuid


@functools.lru_cache(maxsize=1024)
def _groups(uuids: tuple[UUID, ...]) -> tuple[SecurityGroupId, ...]:
    return tuple(sorted(SecurityGroupId(uuid) for uuid in uuids))
