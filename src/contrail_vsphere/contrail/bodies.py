"""From the values of ``model.contrail`` to the bodies that create them.

Two rules of the API are kept here, once: every reference carries ``to`` beside ``uuid`` (with the uuid alone the server
stumbles), and every object gets a uuid of ours, so that a create can be looked for after its answer was lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contrail_vsphere.model.contrail import ContrailVm, FqName, InstanceIp, Project, SecurityGroup, Vmi

Body = dict[str, Any]


def reference(to: FqName, uuid: object = None) -> Body:
    """One reference."""
    return {"to": list(to)} if uuid is None else {"to": list(to), "uuid": str(uuid)}


def key_values(pairs: Mapping[str, str]) -> Body | None:
    """The ``annotations`` property; None for no annotation."""
    if not pairs:
        return None
    return {"key_value_pair": [{"key": key, "value": value} for key, value in sorted(pairs.items())]}


def _common(uuid: object, fq_name: FqName, value: Any) -> Body:
    return {
        "uuid": str(uuid),
        "fq_name": list(fq_name),
        "display_name": value.display_name or None,
        "id_perms": {"enable": True, "user_visible": True, "creator": value.creator or None},
        "annotations": key_values(value.annotations),
    }


def project(value: Project) -> Body:
    """Its uuid is also its owner; a create without one would make the owner "None"."""
    return {**_common(value.uuid, value.fq_name, value), "parent_type": "domain"}


def network_ipam(fq_name: FqName, *, uuid: object, creator: str) -> Body:
    """A network-ipam with the server's defaults."""
    perms = {"enable": True, "user_visible": True, "creator": creator}
    return {"uuid": str(uuid), "fq_name": list(fq_name), "parent_type": "project", "id_perms": perms}


def security_group(value: SecurityGroup) -> Body:
    """The group ``default``: everything goes out, its own members come in; IPv4 and IPv6."""
    inside = {"security_group": ":".join(value.fq_name)}
    local = {"security_group": "local"}
    ports = [{"start_port": 0, "end_port": 65535}]
    rules = []
    for ethertype, prefix in (("IPv4", "0.0.0.0"), ("IPv6", "::")):  # noqa: S104 - everywhere, as a prefix
        everywhere = {"subnet": {"ip_prefix": prefix, "ip_prefix_len": 0}}
        for source, target in ((inside, local), (local, everywhere)):
            rules.append(
                {
                    "direction": ">",
                    "protocol": "any",
                    "ethertype": ethertype,
                    "src_addresses": [source],
                    "src_ports": ports,
                    "dst_addresses": [target],
                    "dst_ports": ports,
                }
            )
    common = _common(value.uuid, value.fq_name, value)
    return {**common, "parent_type": "project", "security_group_entries": {"policy_rule": rules}}


def virtual_machine(value: ContrailVm) -> Body:
    """Owned by ``value.owner`` (without dashes), or by whoever we are."""
    perms = {"owner": value.owner, "owner_access": 7, "global_access": 0, "share": []} if value.owner else None
    return {**_common(value.uuid, (value.name,), value), "perms2": perms}


def interface(value: Vmi, *, network: FqName, security_groups: Mapping[Any, FqName]) -> Body:
    """A VMI in a project; ``security_groups``: names by uuid, of those in the value."""
    return {
        **_common(value.uuid, value.fq_name, value),
        "parent_type": "project",
        "port_security_enabled": value.port_security,
        "virtual_machine_interface_mac_addresses": {"mac_address": list(value.macs)},
        "virtual_machine_interface_device_owner": value.device_owner or None,
        "virtual_machine_interface_bindings": _bindings(value.host),
        "virtual_network_refs": [reference(network, value.network)],
        "virtual_machine_refs": [reference((str(value.vm),), value.vm)] if value.vm else None,
        "security_group_refs": [reference(security_groups[group], group) for group in value.security_groups] or None,
    }


def instance_ip(value: InstanceIp, *, network: FqName, interfaces: Mapping[Any, FqName]) -> Body:
    """Without an address the server takes a free one of the family."""
    return {
        **_common(value.uuid, (value.name,), value),
        "instance_ip_address": None if value.address is None else str(value.address),
        "instance_ip_family": value.family,
        "instance_ip_secondary": value.secondary or None,
        "subnet_uuid": value.subnet_uuid or None,
        "virtual_network_refs": [reference(network, value.network)],
        "virtual_machine_interface_refs": [reference(interfaces[vmi], vmi) for vmi in value.vmis],
    }


def _bindings(host: str) -> Body | None:
    return {"key_value_pair": [{"key": "host_id", "value": host}]} if host else None
