"""Neutron's description of a port's security groups, as our values; pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from neutron_lib import constants

from contrail_vsphere.ml2.worker.desired import PortSecurity, Rule

EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
ICMPS = frozenset({1, 58})


def port_security(port: Mapping[str, Any], info: Mapping[str, Any]) -> PortSecurity:
    """``port``: as of ``get_ports``; ``info``: as of ``security_group_info_for_ports``, which Neutron's agents get."""
    if not port.get("port_security_enabled", True):
        return PortSecurity(enabled=False)
    pairs = port.get("allowed_address_pairs") or ()
    addresses = [each["ip_address"] for each in (*port["fixed_ips"], *pairs)]
    macs = {each["mac_address"].lower() for each in pairs}
    rules: list[Rule] = []
    left_out: list[str] = []
    for group in sorted(port.get("security_groups") or ()):
        for described in info["security_groups"].get(group, ()):
            try:
                rules.append(_rule(described, info["sg_member_ips"], frozenset(addresses)))
            except (KeyError, ValueError) as error:
                # What Neutron took and we cannot read allows nothing; the other rules hold.
                left_out.append(f"a rule of security group {group}: {error}")
    return PortSecurity(
        enabled=True,
        addresses=tuple(addresses),
        other_macs=bool(macs - {port["mac_address"].lower()}),
        rules=tuple(rules),
        left_out=tuple(left_out),
    )


def _rule(described: Mapping[str, Any], members: Mapping[str, Any], own: frozenset[str]) -> Rule:
    ingress = described["direction"] == "ingress"
    version = 4 if described["ethertype"] == constants.IPv4 else 6
    protocol = _protocol(described.get("protocol"), version)
    low, high = described.get("port_range_min"), described.get("port_range_max")
    is_icmp = protocol in ICMPS
    remotes = _remotes(described, members, ingress=ingress, own=own)
    return Rule(
        ingress=ingress,
        version=version,
        remotes=tuple(str(ipaddress.ip_network(each, strict=False)) for each in remotes),
        protocol=protocol,
        ports=(0, 65535) if is_icmp or low is None else (int(low), int(high if high is not None else low)),
        icmp_type=int(low) if is_icmp and low is not None else None,
        stateful=bool(described.get("stateful", True)),
    )


def _remotes(
    described: Mapping[str, Any], members: Mapping[str, Any], *, ingress: bool, own: frozenset[str]
) -> Iterator[str]:
    prefix = described.get("source_ip_prefix" if ingress else "dest_ip_prefix")
    group = described.get("remote_group_id") or described.get("remote_address_group_id")
    if group:
        yield from (ip for ip in _addresses(members.get(group, {}).get(described["ethertype"], ())) if ip not in own)
    else:
        yield str(prefix or EVERYWHERE[4 if described["ethertype"] == constants.IPv4 else 6])


def _addresses(entries: Iterable[Any]) -> list[str]:
    """Members come as (address, MAC address)."""
    return sorted({str(each[0]) for each in entries})


def _protocol(name: Any, version: int) -> int:
    """The IANA number of a name or number; IPv6's ICMP goes by several names."""
    if name in (None, "any", "0", 0):
        return -1
    number = int(name) if str(name).isdigit() else int(constants.IP_PROTOCOL_MAP[str(name)])
    return 58 if version == 6 and number == 1 else number
