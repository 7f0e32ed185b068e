"""Frames, and what the traffic rules of a DVPort do with one."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from contrail_vsphere.wire.soap.types import vim

IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
_RULE = vim.dvs.TrafficRule
INCOMING, OUTGOING = "incomingPackets", "outgoingPackets"
"""Directions of a rule, as the VM behind the port sees them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """An Ethernet frame as far as anybody on its way looks at it. ``vlan`` None: untagged; addresses in lower case."""

    source_mac: str
    destination_mac: str
    vlan: int | None = None
    ether_type: int = IPV4
    source_ip: str = ""
    destination_ip: str = ""
    protocol: int = 0
    """Of IP: 1 ICMP, 6 TCP, 17 UDP; 0 for none."""
    source_port: int = 0
    destination_port: int = 0
    tcp_flags: int = 0

    @property
    def to_many(self) -> bool:
        """Broadcast or multicast."""
        return bool(int(self.destination_mac[:2], 16) & 1)

    @property
    def is_ip(self) -> bool:
        """IPv4 or IPv6."""
        return self.ether_type in (IPV4, IPV6)


def passes(rules: list[Any], frame: Frame, direction: str) -> bool:
    """Whether the rules let the frame through: the first one that matches decides, and without one it may pass.

    Only Drop stops a frame; Log, UpdateTag, RateLimit, Copy and the others let it pass.
    """
    for rule in rules:
        if str(rule.direction or "both") in (direction, "both") and all(_matches(q, frame) for q in rule.qualifier):
            return type(rule.action) is not _RULE.DropAction
    return True


def _matches(qualifier: Any, frame: Frame) -> bool:
    if isinstance(qualifier, _RULE.MacQualifier):
        return (
            _mac(qualifier.sourceAddress, frame.source_mac)
            and _mac(qualifier.destinationAddress, frame.destination_mac)
            and _number(qualifier.protocol, frame.ether_type)
            and _number(qualifier.vlanId, frame.vlan or 0)
        )
    if isinstance(qualifier, _RULE.IpQualifier):
        return (
            frame.is_ip
            and _ip(qualifier.sourceAddress, frame.source_ip)
            and _ip(qualifier.destinationAddress, frame.destination_ip)
            and _number(qualifier.protocol, frame.protocol)
            and _port(qualifier.sourceIpPort, frame.source_port)
            and _port(qualifier.destinationIpPort, frame.destination_port)
            and _number(qualifier.tcpFlags, frame.tcp_flags)
        )
    return False  # system traffic is the hosts' own, never a VM's


def _negated(expression: Any, holds: bool) -> bool:
    return holds is not bool(expression.negate)


def _number(expression: Any, value: int) -> bool:
    return expression is None or expression.value is None or _negated(expression, expression.value == value)


def _mac(expression: Any, mac: str) -> bool:
    if expression is None:
        return True
    mask = _bits(expression.mask) if isinstance(expression, vim.MacRange) else (1 << 48) - 1
    return _negated(expression, _bits(expression.address) & mask == _bits(mac) & mask)


def _bits(mac: str) -> int:
    return int(mac.replace(":", "").replace("-", ""), 16)


def _ip(expression: Any, address: str) -> bool:
    if expression is None:
        return True
    if not address:
        return False
    ip = ipaddress.ip_address(address)
    if isinstance(expression, vim.IpRange):
        length = "" if expression.prefixLength is None else f"/{expression.prefixLength}"
        return _negated(expression, ip in ipaddress.ip_network(f"{expression.addressPrefix}{length}", strict=False))
    return _negated(expression, ip == ipaddress.ip_address(expression.address))


def _port(expression: Any, number: int) -> bool:
    if expression is None:
        return True
    if isinstance(expression, _RULE.IpPortRange):
        return _negated(expression, expression.startPortNumber <= number <= expression.endPortNumber)
    return _negated(expression, expression.portNumber == number)
