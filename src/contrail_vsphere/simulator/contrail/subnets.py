"""Subnets in a request: checked, normalised and completed as the API server does when a network is written."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from contrail_vsphere.simulator.contrail.answers import RefusedError, stumbled
from contrail_vsphere.simulator.contrail.ipam import NO_GATEWAY


def complete(attribute: Mapping[str, Any] | None, *, new_uuid: Callable[[], str]) -> dict[str, Any] | None:
    """The ``VnSubnetsType`` as it is stored.

    A subnet without ``subnet_uuid`` gets a new one, also in an update that repeats it. RefusedError with what the
    server says of a subnet that cannot be.
    """
    if attribute is None:
        return None
    items = [_complete(item, new_uuid=new_uuid) for item in attribute.get("ipam_subnets") or []]
    return {**attribute, "ipam_subnets": items}


def refuse_overlap(items: list[Mapping[str, Any]]) -> None:
    """400 if two subnets of one network overlap."""
    networks = [_network(item) for item in items]
    for one, other in itertools.combinations(networks, 2):
        if one.version == other.version and one.overlaps(other):
            raise RefusedError(400, f"Overlapping addresses between requested and existing: {one}, {other}")


def _network(item: Mapping[str, Any]) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    subnet = item["subnet"]
    return ipaddress.ip_network(f"{subnet['ip_prefix']}/{subnet['ip_prefix_len']}", strict=False)


def _complete(item: Mapping[str, Any], *, new_uuid: Callable[[], str]) -> dict[str, Any]:
    if not item.get("subnet"):
        return {**item, "subnet_uuid": _subnet_uuid(item, new_uuid)}
    try:
        network = _network(item)
    except (ValueError, KeyError, TypeError):
        raise RefusedError(400, f"Invalid subnet: {item.get('subnet')}") from None
    if network.num_addresses < 4:
        raise stumbled()
    made = {**item, "subnet": {"ip_prefix": str(network[0]), "ip_prefix_len": network.prefixlen}}
    from_start = bool(item.get("addr_from_start"))
    gateway, service = (network[1], network[2]) if from_start else (network[-2], network[-3])
    made["default_gateway"] = _inside(item.get("default_gateway"), network, "gateway Ip") or str(gateway)
    if made["default_gateway"] == str(service):
        service = network[1] if from_start else network[-2]
    made["dns_server_address"] = _inside(item.get("dns_server_address"), network, "DNS server Ip") or str(service)
    for pool in item.get("allocation_pools") or []:
        _inside(pool.get("start"), network, "allocation pool start")
        _inside(pool.get("end"), network, "allocation pool end")
    made["subnet_uuid"] = _subnet_uuid(item, new_uuid)
    return made


def _inside(text: Any, network: ipaddress.IPv4Network | ipaddress.IPv6Network, what: str) -> str:
    """The address, normalised; empty if none is given. 409 if it is not in the subnet."""
    if not text or text == NO_GATEWAY:
        return str(text or "")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise RefusedError(409, f"{what} {text} out of cidr: {network}") from None
    if address not in network:
        raise RefusedError(409, f"{what} {text} out of cidr: {network}")
    return str(address)


def _subnet_uuid(item: Mapping[str, Any], new_uuid: Callable[[], str]) -> str:
    given = item.get("subnet_uuid")
    if not given:
        return new_uuid()
    try:
        UUID(str(given))
    except ValueError:
        raise RefusedError(409, f"Invalid subnet-uuid {given}") from None
    return str(given)
